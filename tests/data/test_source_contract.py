"""What the author of a data source is told where it breaks its contract: words, never a traceback alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from platform.core.errors import Problem, UserError
from tests.data.conftest import opened

HEAD = """
import numpy as np
from platform.data.sources.source import LocalOptions, Reading, Source, Split

images, labels = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2


class Mine(Source):
    '''mine: twenty images.'''

"""
READ = HEAD + "    def read(self):\n        return "


def problem(folder: Path, source: str) -> Problem:
    file = folder / "mine.py"
    file.write_text(source)
    with pytest.raises(UserError) as caught:
        opened(str(file))
    (found,) = caught.value.problems
    return found


def test_without_read(tmp_path: Path):
    found = problem(tmp_path, HEAD + "    pass\n")
    assert found.message == "Mine does not define read()" and found.key == "data.source"
    assert "python -m platform.check" in found.hint


def test_no_test_part_that_nobody_draws(tmp_path: Path):
    found = problem(tmp_path, READ + "Reading(Split(images, labels), None, ('a', 'b'))\n")
    assert "returns test=None: define drawn_test() and return True there" in found.message


@pytest.mark.parametrize("fraction", ["", "    class Options(Source.Options):\n        test_fraction: float = 0.5\n\n"])
def test_a_drawn_test_part_needs_no_option(tmp_path: Path, fraction: str):
    drawn = "    def drawn_test(self):\n        return True\n\n    def read(self):\n        "
    text = HEAD + fraction + drawn + "return Reading(Split(images, labels), None, ('a', 'b'))\n"
    (tmp_path / "mine.py").write_text(text)
    data = opened(str(tmp_path / "mine.py"))
    assert (len(data.train), len(data.test)) == ((10, 10) if fraction else (16, 4))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("None", "returns a NoneType, not a Reading"),
        ("(images, labels)", "returns a tuple, not a Reading"),
        ("Reading(images, images, ('a', 'b'))", "returns train: a ndarray, not a Split"),
        ("Reading(Split(images, labels), Split(images, labels), 'ab')", "class_names='ab', not a tuple of words"),
        ("Reading(Split(images, labels), Split(images, labels), (0, 1))", "class_names=(0, 1), not a tuple of words"),
        ("Reading(Split(images, labels), Split(images, labels), ())", "its labels go from 0 to 1: there are 0 classes"),
        (
            "Reading(Split(images / 255, labels), Split(images, labels), ('a', 'b'))",
            "its images are float64 [20, 8, 8], not uint8 [N, C, H, W] or [N, H, W]",
        ),
        ("Reading(Split(5, labels), Split(images, labels), ('a', 'b'))", "its images are a int, not a sequence"),
        (
            "Reading(Split(images, list(labels)), Split(images, labels), ('a', 'b'))",
            "its labels are a list, not an array [N] of whole numbers",
        ),
        (
            "Reading(Split(images, labels * 1.0), Split(images, labels), ('a', 'b'))",
            "its labels are a float64 [20], not an array [N] of whole numbers",
        ),
        ("Reading(Split(images, labels[1:]), Split(images, labels), ('a', 'b'))", "its labels are 19 for 20 images"),
        (
            "Reading(Split(images, labels), Split(images, labels + 1), ('a', 'b'))",
            "returns test: its labels go from 1 to 2: there are 2 classes",
        ),
        (
            "Reading(Split(images, labels, ids=['x']), Split(images, labels), ('a', 'b'))",
            "it has 1 ids for 20 images",
        ),
    ],
)
def test_what_read_returns(tmp_path: Path, returned: str, said: str):
    assert said in problem(tmp_path, READ + returned + "\n").message


def test_an_error_of_its_own_is_shown_with_its_lines(tmp_path: Path):
    found = problem(tmp_path, READ + "{}['images']\n")
    assert found.message == "Mine.read() fails"
    assert "mine.py" in found.hint and "KeyError: 'images'" in found.hint and "image_store" not in found.hint


@pytest.mark.parametrize("method", ["files(self)", "drawn_test(self)", "prepare(self)", "augment(self, image_shape)"])
def test_an_error_elsewhere_too(tmp_path: Path, method: str):
    good = "Reading(Split(images, labels), Split(images, labels), ('a', 'b'))\n"
    found = problem(tmp_path, READ + good + f"\n    def {method}:\n        return 1 / 0\n")
    assert found.message.endswith("mine.py fails") and "ZeroDivisionError" in found.hint


def test_an_image_that_cannot_be_fetched(tmp_path: Path):
    lazy = "class Lazy(list):\n    def __getitem__(self, i):\n        raise OSError('the tape is torn')\n\n\n"
    text = READ.replace("class Mine", lazy + "class Mine")
    found = problem(tmp_path, text + "Reading(Split(Lazy(images), labels), Split(images, labels), ('a', 'b'))\n")
    assert "the tape is torn" in str(found)
