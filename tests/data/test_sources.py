"""Finding sources, their options, and the embedded digits."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from platform.core.errors import UserError
from platform.core.plugins import UnknownPlugin
from platform.core.registry import SOURCES
from platform.data import sources
from platform.data.sources.source import Source
from tests.data.conftest import opened

NAMES = ["cifar10", "cifar100", "csv", "digits", "fashion_mnist", "image_folder", "parquet", "stl10", "svhn"]
PLUGIN = '''
import numpy as np
from platform.data.sources.source import Reading, Source, Split
from pydantic import Field

class Stripes(Source):
    """stripes: made for a test."""

    class Options(Source.Options):
        count: int = Field(20, ge=4, description="images")

    def read(self):
        labels = np.arange(self.options.count) % 2
        images = np.zeros((len(labels), 1, 4, 4), np.uint8)
        images[labels == 1, :, ::2] = 200
        half = len(labels) // 2
        return Reading(Split(images[:half], labels[:half]), Split(images[half:], labels[half:]), ("plain", "striped"))
'''


def test_names_are_found_by_place():
    assert SOURCES.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_source_explains_itself(name):
    source = SOURCES.get(name)
    assert issubclass(source, Source) and source.summary().startswith(f"{name}: ")
    assert source.Options.model_config.get("extra") == "forbid"
    assert all(field.description for field in source.Options.model_fields.values())
    assert source.local is (name in ("csv", "image_folder", "parquet"))


def test_listing_and_options_import_nothing_heavy():
    """A sweep file is checked in under a second: torchvision and scikit-learn are imported where data are read."""
    for name in NAMES:
        tree = ast.parse(Path(sources.__path__[0], f"{name}.py").read_text())
        tops = {a.name.split(".")[0] for n in tree.body if isinstance(n, ast.Import) for a in n.names}
        tops |= {(n.module or "").split(".")[0] for n in tree.body if isinstance(n, ast.ImportFrom)}
        assert tops.isdisjoint({"torch", "torchvision", "sklearn", "pyarrow", "scipy", "pandas"}), name


def test_an_unknown_source_offers_the_nearest():
    with pytest.raises(UnknownPlugin) as caught:
        SOURCES.get("cifar_10")
    assert caught.value.near == "cifar10"
    with pytest.raises(UserError, match="did you mean: digits") as caught_open:
        opened("digit")
    assert caught_open.value.problems[0].key == "data.source"
    for hidden in ("source", "base", "_torchvision", "__init__", "../store"):
        with pytest.raises(LookupError):
            SOURCES.get(hidden)


def test_options_are_checked_all_at_once():
    with pytest.raises(UserError) as caught:
        opened("parquet", pth="x", image_size="big")
    problems = {p.key: p for p in caught.value.problems}
    assert set(problems) == {"data.path", "data.pth", "data.image_size"}
    assert "did you mean: path" in problems["data.pth"].hint
    assert "'big'" in problems["data.image_size"].message


def test_a_source_of_ones_own_is_one_file(tmp_path: Path):
    file = tmp_path / "stripes.py"
    file.write_text(PLUGIN)
    data = opened(str(file), count=12)
    assert data.name == "stripes" and data.train.images.shape == (6, 1, 4, 4) and data.class_names[1] == "striped"
    file.write_text(PLUGIN.replace("200", "100"))
    assert opened(str(file), count=12).train.images.max() == 100  # changed code is not answered from the cache
    with pytest.raises(UserError, match="greater than or equal to 4"):
        opened(str(file), count=2)


@pytest.mark.parametrize(
    "text, said",
    [
        ("import nowhere_to_be_found", "nowhere_to_be_found"),
        ("x = 1", "exactly one subclass"),
        (PLUGIN + "\nclass Two(Stripes): pass", "Stripes, Two"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_broken_plugin_is_shown_by_its_own_lines(tmp_path: Path, text, said):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        opened(str(file))
    assert said in str(caught.value) and "mine.py" in str(caught.value)
    assert "plugins.py" not in str(caught.value)


def test_entry_points_are_found(monkeypatch):
    class Entry:
        name, value = "from_afar", "somewhere:Digits"

        def load(self) -> type[Source]:
            return SOURCES.get("digits")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Entry()] if group == "kurabe.sources" else [])
    assert "from_afar" in SOURCES.names()
    assert SOURCES.get("from_afar") is SOURCES.get("digits")


def test_digits():
    from sklearn.datasets import load_digits

    data = opened("digits", seed=1)
    assert data.train.images.shape == (1437, 1, 8, 8) and data.test.images.shape == (360, 1, 8, 8)
    assert data.class_names == tuple("0123456789") and not data.augment.flip
    assert np.bincount(data.test.labels).min() >= 34  # stratified: between 174 and 183 of each in 1,797
    assert (data.train.true_labels == data.train.labels).all()
    assert opened("digits", seed=2).sha256 == data.sha256  # the split is the same whatever the seed
    raw: Any = load_digits()
    rows = [int(name.split("/")[1]) for split in (data.train, data.test) for name in split.ids]
    assert sorted(rows) == list(range(1797))
    np.testing.assert_array_equal(
        np.concatenate([data.train.images, data.test.images])[:, 0], np.rint(raw.images[rows] / 16 * 255)
    )
    np.testing.assert_array_equal(np.concatenate([data.train.labels, data.test.labels]), raw.target[rows])
