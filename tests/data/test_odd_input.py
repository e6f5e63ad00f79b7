"""Data that are not what they seem: labels that are ids, files that are none, names that are no text, false images."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from platform.core.errors import UserError
from platform.core.spec import LabelSettings
from platform.data import decode
from platform.data.label_plan import make_plan
from tests.data.conftest import opened, pixels, png
from tests.data.test_sources_local import problem, write_csv, write_parquet


def table(folder: Path, labels: list[Any], **columns: list[Any]) -> Path:
    """A CSV of images with these labels and further columns."""
    rows = [
        ",".join(map(str, (f"{i}.png", *values)))
        for i, values in enumerate(zip(labels, *columns.values(), strict=True))
    ]
    return write_csv(folder, ",".join(["path", "label", *columns]), rows)


# -- labels --


def test_one_big_label_is_one_class_and_no_range_is_made(tmp_path):
    path = table(tmp_path / "d", [0, 7, 100_000_000] * 10)
    tracemalloc.start()
    data = opened("csv", path=path, image_size=8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.class_names == ("0", "7", "100000000") and peak < 50e6
    assert sorted(set(data.train.labels.tolist())) == [0, 1, 2]
    by_id = dict(zip(data.train.ids, data.train.labels.tolist(), strict=True))
    assert all(label == int(name.removesuffix(".png")) % 3 for name, label in by_id.items())


def test_numbers_are_ordered_by_size_and_words_by_the_alphabet(tmp_path):
    assert opened("csv", path=table(tmp_path / "n", [10, 9, 2] * 10)).class_names == ("2", "9", "10")
    assert opened("csv", path=table(tmp_path / "w", ["10", "9", "b"] * 10)).class_names == ("10", "9", "b")
    exact = 2**53
    path = write_parquet(tmp_path / "p.parquet", [exact, exact + 1] * 10)
    data = opened("parquet", path=path)
    assert data.class_names == (str(exact), str(exact + 1)) and set(data.train.labels.tolist()) == {0, 1}


def test_further_columns_are_read_with_the_same_classes(tmp_path):
    path = write_parquet(tmp_path / "p.parquet", [10, 20] * 10, worse=[20, 20] * 10, other=[0, 1] * 10)
    data = opened("parquet", path=path)
    plan = make_plan(data, LabelSettings(noise="column:worse", val=2), {"noise": 0, "split": 0})
    assert set(plan.given.tolist()) == {1} and set(plan.true.tolist()) == {0, 1}  # type: ignore[union-attr]
    assert "other" not in data.train.columns  # 0 and 1 are no classes here, and not positions by chance
    path = write_parquet(tmp_path / "q.parquet", [0, 1] * 10, ids=pa.array([2**63 + 5] * 20, pa.uint64()))
    assert opened("parquet", path=path).train.columns == {}


@pytest.mark.parametrize("labels", [range(20), [f"2024-01-{i:02}" for i in range(1, 21)], [i / 7 for i in range(20)]])
def test_as_many_classes_as_images_is_a_question(tmp_path, labels):
    path = table(tmp_path / "d", list(labels) * 2)
    key, text = problem("csv", path=path)
    assert key == "data.label_column" and "20 labels in column 'label' for 40 images" in text
    assert "the first: " in text and "data.classes=20" in text
    assert len(opened("csv", path=path, classes=20).class_names) == 20
    key, text = problem("csv", path=path, classes=19)
    assert key == "data.classes" and "19 classes are stated, there are 20" in text
    assert len(opened("csv", path=table(tmp_path / "e", list(labels) * 10)).class_names) == 20


def test_dates_of_a_parquet_file_and_a_folder_for_each_image_are_asked_about(tmp_path, folders):
    import datetime

    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=i) for i in range(12)]
    path = write_parquet(tmp_path / "a.parquet", days * 2)
    assert "12 labels in column 'label' for 24 images" in problem("parquet", path=path)[1]
    assert opened("parquet", path=path, classes=12).class_names[0] == "2024-01-01"
    folder = folders(**{f"c{i}": 1 for i in range(11)})
    key, text = problem("image_folder", path=folder)
    assert key == "data.path" and "11 class folders for 11 images" in text
    assert len(opened("image_folder", path=folder, classes=11).class_names) == 11


def test_all_labels_are_kept_unless_fewer_are_asked_for(folders):
    data = opened("image_folder", path=folders(cat=30, dog=20))
    plan = make_plan(data, LabelSettings(), {"noise": 0, "split": 0})
    assert sorted([*plan.labelled, *plan.val]) == list(range(len(data.train)))
    plan = make_plan(data, LabelSettings(per_class=2), {"noise": 0, "split": 0})
    assert len(plan.labelled) == 4


# -- files that are none --


@pytest.fixture
def never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a special file is opened: a named pipe would wait for ever."""
    real = open

    def watched(file: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, (str, Path)) and os.path.exists(file):
            assert os.path.isfile(file) or os.path.isdir(file), f"{file} was opened"
            assert not str(file).startswith("/proc/kmsg"), f"{file} was opened"
        return real(file, *args, **kwargs)

    monkeypatch.setattr("builtins.open", watched)


SPECIAL = {
    "fifo": "a named pipe",
    "/dev/zero": "a device",
    "/proc/kmsg": "a file of the kernel",
    "nul": "NUL character",
}


def special(kind: str, place: Path) -> Path:
    """A file of that kind at `place`, or its own name."""
    if kind == "fifo":
        os.mkfifo(place)
    elif kind != "nul":
        place.symlink_to(kind)
    return place


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "/proc/kmsg"])
def test_special_files_among_images_are_bad_images(folders, never_opened, kind):
    folder = folders(cat=20, dog=20)
    special(kind, folder / "cat" / "zzz.png")
    key, text = problem("image_folder", path=folder)
    assert key == "data.on_bad_image" and "cat/zzz.png: " + SPECIAL[kind] in text
    data = opened("image_folder", path=folder, on_bad_image="skip")
    assert len(data.train) + len(data.test) == 40 and any("1 unreadable image" in note for note in data.notes)


@pytest.mark.parametrize("kind", list(SPECIAL))
def test_special_files_as_rows_of_a_table(tmp_path, never_opened, kind):
    path = write_csv(tmp_path / "d", "path,label", [f"{i}.png,{i % 2}" for i in range(20)])
    name = {"fifo": "zzz.png", "nul": "a\0b.png"}.get(kind, kind)
    if kind == "fifo":
        special(kind, tmp_path / "d" / name)
    path.write_text(path.read_text() + f"{name},1\n")
    key, text = problem("csv", path=path)
    assert key == "data.on_bad_image" and SPECIAL[kind] in text
    data = opened("csv", path=path, on_bad_image="skip")
    assert len(data.train) + len(data.test) == 20


@pytest.mark.parametrize("source", ["csv", "parquet", "image_folder"])
@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "/proc/kmsg"])
def test_special_files_as_the_data(tmp_path, never_opened, source, kind):
    path = special(kind, tmp_path / "table")
    key, text = problem(source, path=path)
    assert key == "data.path" and str(path) in text
    assert SPECIAL[kind] in text or "not a folder" in text


def test_a_named_pipe_among_parquet_files(tmp_path, never_opened):
    write_parquet(tmp_path / "train-0.parquet", [0, 1] * 5)
    os.mkfifo(tmp_path / "train-1.parquet")
    key, text = problem("parquet", path=tmp_path)
    assert key == "data.path" and "train-1.parquet" in text and "a named pipe" in text


# -- names --


def test_names_that_are_not_utf_8_are_kept_as_escapes(folders, tmp_path):
    folder = folders(cat=10, dog=10)
    os.rename(folder / "dog", os.fsencode(folder) + b"/d\xffg")
    os.rename(os.fsencode(folder) + b"/cat/000.png", os.fsencode(folder) + b"/cat/\xfe\x1b[31m.png")
    data = opened("image_folder", path=folder)
    again = opened("image_folder", path=folder)
    names = [*data.train.ids, *data.test.ids]
    assert data.class_names == again.class_names == ("cat", "d\\xffg")
    assert "cat/\\xfe\\x1b[31m.png" in names and "\n".join([*names, *data.notes, *data.class_names]).encode()
    os.rename(os.fsencode(folder) + b"/cat", os.fsencode(folder) + b"/d\\xffg")
    assert "two classes are called 'd\\xffg'" in problem("image_folder", path=folder)[1]


def test_an_unreadable_image_with_such_a_name_is_named(folders):
    folder = folders(cat=10, dog=10)
    with open(os.fsencode(folder) + b"/cat/\xfe.png", "w") as file:
        file.write("no image")
    text = problem("image_folder", path=folder)[1]
    assert "cat/\\xfe.png: not an image" in text and text.encode()


@pytest.mark.parametrize("source", ["csv", "parquet", "image_folder"])
@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "~nobody-of-that-name/x"])
def test_paths_that_can_be_none(source, path):
    assert problem(source, path=path)[0] == "data.path"


def test_names_of_columns(tmp_path):
    path = table(tmp_path / "d", [0, 1] * 10, **{"n" * 5000: [0] * 20})
    assert "no name that can be kept" in problem("csv", path=path)[1]
    path.write_text("path,label,label\na.png,0,1\n")
    assert "two columns are called 'label'" in problem("csv", path=path)[1]


# -- parquet --


@pytest.mark.parametrize("value", ["[no json", '["a", 5]', '["a", "\\ud800', "[" * 5000])
def test_metadata_that_are_no_list_of_names(tmp_path, value):
    path = write_parquet(tmp_path / "a.parquet", [0, 1] * 10, {"class_names": value})
    key, text = problem("parquet", path=path)
    assert key == "data.class_names" and "metadata 'class_names'" in text
    assert opened("parquet", path=path, class_names=("a", "b")).class_names == ("a", "b")
    path = write_parquet(tmp_path / "b.parquet", [0, 1] * 10, {"huggingface": value.removeprefix("[")})
    assert "metadata 'huggingface'" in problem("parquet", path=path)[1]


def test_shards_of_different_types_or_columns(tmp_path):
    write_parquet(tmp_path / "train-0.parquet", [0, 1] * 5)
    write_parquet(tmp_path / "train-1.parquet", ["a", "b"] * 5)
    key, text = problem("parquet", path=tmp_path)
    assert key == "data.path" and "column 'label' holds string, in train-0.parquet it holds int64" in text
    write_parquet(tmp_path / "train-1.parquet", [0, 1] * 5, more=[1] * 10)
    assert "different columns" in problem("parquet", path=tmp_path)[1]
    write_parquet(tmp_path / "test.parquet", [0, 1], more=[1] * 2)
    (tmp_path / "train-1.parquet").unlink()
    assert len(opened("parquet", path=tmp_path).test) == 2


def test_values_that_python_cannot_hold(tmp_path):
    text = pa.Array.from_buffers(
        pa.utf8(), 2, [None, pa.py_buffer(struct.pack("<3i", 0, 1, 2)), pa.py_buffer(b"\xff\xfe")]
    )
    path = write_parquet(tmp_path / "a.parquet", [0, 1], worse=text)
    assert "column 'worse' holds a value that cannot be read" in problem("parquet", path=path)[1]
    far = pa.array([2**30, 5], pa.int32()).cast(pa.date32())
    images = [png(pixels(i)) for i in range(2)]
    pq.write_table(pa.table({"image": images, "label": far}), tmp_path / "b.parquet")
    assert "column 'label' holds a value that cannot be read" in problem("parquet", path=tmp_path / "b.parquet")[1]
    double = pa.Table.from_arrays([pa.array(images), pa.array([0, 1]), pa.array([0, 1])], ["image", "label", "label"])
    pq.write_table(double, tmp_path / "c.parquet")
    assert "two columns are called 'label'" in problem("parquet", path=tmp_path / "c.parquet")[1]


def test_more_rows_than_are_read(tmp_path, monkeypatch):
    import platform.data.sources.parquet as parquet

    path = write_parquet(tmp_path / "a.parquet", [0, 1] * 10)
    monkeypatch.setattr(parquet, "MOST_ROWS", 19)
    assert "it says that it has 20 rows, at most 19" in problem("parquet", path=path)[1]


# -- images --


def test_only_known_decoders_are_asked(folders, monkeypatch):
    folder = folders(cat=10, dog=10)
    (folder / "cat" / "page.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    )
    asked = []
    real = Image.open
    monkeypatch.setattr(
        Image, "open", lambda *args, formats=None: asked.append(formats) or real(*args, formats=formats)
    )
    assert "cat/page.png: not an image" in problem("image_folder", path=folder)[1]
    assert asked and all(formats and not set(formats) - set(decode.FORMATS) for formats in asked)
    assert "EPS" not in decode.FORMATS


def bomb(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that says to hold that many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "words"), [((8193, 8193), "8,193 x 8,193 pixels; at most"), ((60000, 60000), "more pixels than")]
)
def test_an_image_that_says_to_be_huge_is_refused(folders, size, words):
    folder = folders(cat=10, dog=10)
    (folder / "cat" / "bomb.png").write_bytes(bomb(*size))
    text = problem("image_folder", path=folder)[1]
    assert "cat/bomb.png: " in text and words in text


def test_large_images_are_decoded_a_few_at_a_time(monkeypatch, tmp_path):
    """256 of them at once, as small ones are, would take gigabytes."""
    blocks = []
    real = decode.NpyFile.put
    monkeypatch.setattr(
        decode.NpyFile, "put", lambda self, row, images: blocks.append(images.nbytes) or real(self, row, images)
    )
    monkeypatch.setattr(decode, "_CHUNK_BYTES", 8 * 8 * 3 * 5)
    images = [png(pixels(i)) for i in range(40)]
    decode.decode(images, [str(i) for i in range(40)], tmp_path / "a.npy", None, "auto", lambda _: None)
    assert max(blocks) == 8 * 8 * 3 * 5
    assert (np.load(tmp_path / "a.npy")[39] == pixels(39).transpose(2, 0, 1)).all()


def test_an_error_cancels_what_has_not_begun():
    from platform.data.threads import in_threads

    begun = []

    def work(start: int) -> None:
        begun.append(start)
        raise UserError("no")

    with pytest.raises(UserError):
        in_threads(work, range(1000), 1)
    assert len(begun) < 1000
