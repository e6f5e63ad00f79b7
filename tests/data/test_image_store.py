"""The store: decoded once, opened fast, whole or not there, and clear about what it cannot do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from platform.core.errors import UserError
from platform.data import decode as decoding
from platform.data import image_store
from tests.data.conftest import opened, pixels, png

ROOT = Path(__file__).parents[2]
CLASSES = {"train": {"ant": 6, "bee": 5}, "test": {"ant": 2, "bee": 3}}


def cache_folders(cache: Path) -> list[Path]:
    return [f for f in (cache / "images").iterdir() if f.is_dir()]


def snapshot(dataset: Any) -> tuple[Any, ...]:
    return (dataset.sha256, dataset.train.images.tobytes(), dataset.train.labels.tolist(), dataset.train.ids)


def test_pixels_arrive_unchanged(folders):
    folder = folders(**CLASSES)
    data = opened("image_folder", path=folder, image_size=None)
    assert data.train.images.shape == (11, 3, 8, 8) and data.train.images.dtype == np.uint8
    assert data.class_names == ("ant", "bee") and data.test.labels.tolist() == [0, 0, 1, 1, 1]
    for i, name in enumerate(data.train.ids):
        with Image.open(folder / name) as image:
            assert (data.train.images[i] == np.asarray(image).transpose(2, 0, 1)).all()


def test_memory_map_is_shared_and_read_only(folders):
    data = opened("image_folder", path=folders(**CLASSES))
    assert isinstance(data.train.images, np.memmap)
    with pytest.raises(ValueError):
        data.train.images[0] = 0


def test_second_open_decodes_nothing(folders, monkeypatch):
    folder = folders(**CLASSES)
    first = snapshot(opened("image_folder", path=folder))

    def never(*args: Any) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(image_store, "decode", never)
    assert snapshot(opened("image_folder", path=folder)) == first


def test_second_open_of_many_files_reads_none_of_them(folders, monkeypatch):
    folder = folders(ant=30, bee=30)
    first = snapshot(opened("image_folder", path=folder))
    read = []
    real = image_store.cache.hash_file
    monkeypatch.setattr(image_store.cache, "hash_file", lambda path: read.append(path.suffix) or real(path))
    assert snapshot(opened("image_folder", path=folder)) == first
    assert ".png" not in read
    (folder / "ant" / "000.png").write_bytes(png(pixels(999)))
    assert snapshot(opened("image_folder", path=folder)) != first
    assert read.count(".png") == 1


def test_same_content_elsewhere_is_the_same_key(folders, cache_folder, tmp_path):
    folder = folders(**CLASSES)
    opened("image_folder", path=folder)
    folder.rename(tmp_path / "moved")
    opened("image_folder", path=tmp_path / "moved")
    assert len(cache_folders(cache_folder)) == 1


def test_a_changed_image_or_option_is_another_key(folders, cache_folder):
    folder = folders(**CLASSES)
    first = opened("image_folder", path=folder).sha256
    (folder / "train" / "ant" / "000.png").write_bytes(png(pixels(999)))
    second = opened("image_folder", path=folder).sha256
    third = opened("image_folder", path=folder, image_size=4).sha256
    assert len({first, second, third}) == 3 and len(cache_folders(cache_folder)) == 3


@pytest.mark.parametrize("name", ["train.npy", "labels.npz", "ids.json", "meta.json"])
def test_a_truncated_cache_is_rebuilt(folders, cache_folder, name):
    folder = folders(**CLASSES)
    first = snapshot(opened("image_folder", path=folder))
    damaged = cache_folders(cache_folder)[0] / name
    damaged.write_bytes(damaged.read_bytes()[:-10])
    assert snapshot(opened("image_folder", path=folder)) == first
    damaged.unlink()
    assert snapshot(opened("image_folder", path=folder)) == first
    assert [f.name for f in cache_folders(cache_folder)] == [damaged.parent.name]


def test_what_a_killed_process_left_is_cleared(folders, cache_folder):
    folder = folders(**CLASSES)
    first = snapshot(opened("image_folder", path=folder))
    final = cache_folders(cache_folder)[0]
    final.rename(final.parent / f".{final.name}.abc.tmp")  # killed before the rename
    assert snapshot(opened("image_folder", path=folder)) == first
    assert cache_folders(cache_folder) == [final]


@pytest.mark.slow
def test_processes_at_once_agree(folders, cache_folder):
    folder = folders(ant=40, bee=40)
    code = (
        "import sys; from platform.data import open_dataset; from platform.core.spec import DataSettings\n"
        f"d = open_dataset(DataSettings(source='image_folder', path={str(folder)!r}), progress=True)\n"
        "print(d.sha256, d.train.images.sum())"
    )
    options: dict[str, Any] = dict(cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running = [subprocess.Popen([sys.executable, "-c", code], **options) for _ in range(3)]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], answers
    assert len({out for out, _ in answers}) == 1
    assert sum("decoding" in err for _, err in answers) == 1  # the others waited for the one
    assert len(cache_folders(cache_folder)) == 1


# -- images that are none --


def damage(folder: Path) -> list[str]:
    (folder / "train" / "ant" / "001.png").write_text("not an image")
    (folder / "train" / "bee" / "002.png").write_bytes(png(pixels(1))[:40])
    (folder / "test" / "bee" / "000.png").write_bytes(b"")
    return ["train/ant/001.png", "train/bee/002.png", "test/bee/000.png"]


def test_unreadable_images_stop_the_run_and_are_listed(folders, cache_folder):
    folder = folders(**CLASSES)
    names = damage(folder)
    with pytest.raises(UserError) as caught:
        opened("image_folder", path=folder)
    text = str(caught.value)
    assert "3 of 16 images cannot be read" in text and "data.on_bad_image=skip" in text
    assert all(name in text for name in names)
    assert cache_folders(cache_folder) == []


def test_unreadable_images_are_skipped_and_counted(folders):
    folder = folders(**CLASSES)
    names = damage(folder)
    data = opened("image_folder", path=folder, on_bad_image="skip", image_size=None)
    assert len(data.train) == 9 and len(data.test) == 4
    assert not set(names) & {*data.train.ids, *data.test.ids}
    assert data.train.labels.tolist() == [0] * 5 + [1] * 4
    for i, name in enumerate(data.train.ids):  # rows after a gap are still the right ones
        with Image.open(folder / name) as image:
            assert (data.train.images[i] == np.asarray(image).transpose(2, 0, 1)).all()
    assert any("3 unreadable images" in note and names[0] in note for note in data.notes)


def test_a_long_list_is_cut_with_its_count(folders):
    folder = folders(ant=30, bee=30)
    for i in range(25):
        (folder / "ant" / f"{i:03}.png").write_text("no")
    with pytest.raises(UserError) as caught:
        opened("image_folder", path=folder)
    assert str(caught.value).count(": not an image") == 20 and "and 5 more" in str(caught.value)


def test_no_readable_image_at_all(folders):
    folder = folders(ant=3)
    for file in folder.rglob("*.png"):
        file.write_text("no")
    choices: list[dict[str, Any]] = [{}, {"on_bad_image": "skip"}, {"on_bad_image": "skip", "image_size": None}]
    for settings in choices:
        with pytest.raises(UserError):
            opened("image_folder", path=folder, **settings)


# -- shapes and colours --


def test_different_shapes_ask_for_a_size(folders):
    folder = folders(ant=4, bee=4)
    (folder / "bee" / "003.png").write_bytes(png(pixels(5, 6, 10)))
    with pytest.raises(UserError) as caught:
        opened("image_folder", path=folder, image_size=None)
    assert caught.value.problems[0].key == "data.image_size"
    assert "003.png: 10 x 6 pixels" in str(caught.value)
    assert opened("image_folder", path=folder, image_size=7).image_shape == (3, 7, 7)


def test_resizing_keeps_the_aspect_and_cuts_the_centre(tmp_path):
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 255  # the centre square
    (tmp_path / "images" / "a").mkdir(parents=True)
    for i in range(4):
        (tmp_path / "images" / "a" / f"{i}.png").write_bytes(png(wide))
    data = opened("image_folder", path=tmp_path / "images", image_size=10)
    assert (data.train.images == 255).all()


def test_gray_stays_gray_unless_one_image_has_colour(folders):
    folder = folders(channels=1, train={"ant": 100, "bee": 100}, test={"ant": 2})
    assert opened("image_folder", path=folder).image_shape == (1, 32, 32)
    (folder / "train" / "ant" / "002.png").write_bytes(png(pixels(1)))  # not among those looked at first
    data = opened("image_folder", path=folder, image_size=None)
    assert data.image_shape == (3, 8, 8)
    assert (data.train.images[0][0] == data.train.images[0][2]).all()
    assert opened("image_folder", path=folder, channels="gray").image_shape == (1, 32, 32)


def test_sixteen_bit_gray_is_scaled_not_clipped():
    deep = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
    image = Image.fromarray(deep)
    assert decoding._pixels(image, None, True).tolist() == [[[0, 1, 128, 255]]]


def test_photographs_are_turned_as_their_camera_says(tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    for i in range(4):
        Image.fromarray(pixels(i, 4, 8)).save(tmp_path / "images" / "a" / f"{i}.png", exif=exif)
    assert opened("image_folder", path=tmp_path / "images", image_size=None).image_shape == (3, 8, 4)


# -- what a disk refuses --


def test_a_full_disk_while_writing_is_said_and_leaves_nothing(folders, cache_folder, monkeypatch):
    folder = folders(**CLASSES)

    def full(*args: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(decoding.os, "pwrite", full)
    with pytest.raises(UserError, match="the disk is full") as caught:
        opened("image_folder", path=folder)
    assert "KURABE_CACHE" in str(caught.value)
    assert not any(f.is_dir() for f in (cache_folder / "images").iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_really_full_disk(folders, tmp_path, monkeypatch):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        monkeypatch.setenv("KURABE_CACHE", str(small))
        folder = folders(height=64, width=64, ant=10, bee=10)
        for size in (64, None):  # known beforehand; found while writing
            with pytest.raises(UserError, match="the disk is full"):
                opened("image_folder", path=folder, image_size=size)
    finally:
        subprocess.run(["umount", small], check=True)


def test_no_write_permission(short_tmp):
    """In a process without root's rights, which has no limits to test."""
    short_tmp.chmod(0o755)  # the process must reach the images
    folder, shut = short_tmp / "images", short_tmp / "shut"
    (folder / "ant").mkdir(parents=True)
    for i in range(4):
        (folder / "ant" / f"{i}.png").write_bytes(png(pixels(i)))
    shut.mkdir(mode=0o555)
    code = (
        "import os, sys; from platform.data import open_dataset; from platform.core.spec import DataSettings\n"
        "from platform.core.errors import UserError\n"
        "import PIL.PngImagePlugin, numpy, platform.data.image_store, platform.data.sources.image_folder\n"
        "if os.geteuid() == 0: os.seteuid(65534)\n"
        f"try: open_dataset(DataSettings(source='image_folder', path={str(folder)!r}))\n"
        "except UserError as error: print(error); sys.exit(2)"
    )
    environment = {**os.environ, "KURABE_CACHE": str(shut)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    assert "no write permission" in done.stdout and "KURABE_CACHE" in done.stdout


def test_a_cache_path_that_is_a_file(folders, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KURABE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="a part of the path is a file"):
        opened("image_folder", path=folders(**CLASSES))


# -- limits, progress --


def test_limit_is_stratified_and_seeded(folders):
    folder = folders(train={"ant": 60, "bee": 30}, test={"ant": 20, "bee": 20})
    first, again, other = (opened("image_folder", seed, path=folder, limit=15) for seed in (1, 1, 2))
    assert np.bincount(first.train.labels).tolist() == [10, 5] and len(first.test) == 15
    assert first.train.ids == again.train.ids and first.train.ids != other.train.ids
    assert any("limited to 15" in note for note in first.notes)
    assert len(opened("image_folder", path=folder, limit=1000).train) == 90


def test_progress_without_a_terminal_is_lines(folders, capfd):
    folder = folders(**CLASSES)
    opened("image_folder", path=folder, progress=True)
    err = capfd.readouterr().err
    assert "decoding image_folder: 16 images" in err and "16 of 16" in err and "\r" not in err
    opened("image_folder", path=folder, progress=True)
    opened("image_folder", path=folder, image_size=4)
    assert capfd.readouterr().err == ""
