"""The torchvision sources on miniature files in the very formats torchvision reads, and without a network."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets as tv

from platform.core.errors import UserError
from tests.data.conftest import opened

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Every request goes to a port nobody listens on: it fails as on a machine without network."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(folder: Path, known: type[tv.CIFAR10], classes: int, per_file: int, monkeypatch) -> np.ndarray:
    """Pickles as in the real archive, with the md5 torchvision expects of them. Returns the training rows [N, 3072]."""
    folder.mkdir(parents=True, exist_ok=True)
    key = "labels" if known is tv.CIFAR10 else "fine_labels"
    rows: dict[str, np.ndarray] = {}

    def write(name: str) -> list[str]:
        rows[name] = RNG.integers(0, 256, (per_file, 3072), dtype=np.uint8)
        labels = [i % classes for i in range(per_file)]
        (folder / name).write_bytes(pickle.dumps({"data": rows[name], key: labels}, protocol=2))
        return [name, md5(folder / name)]

    monkeypatch.setattr(known, "train_list", [write(name) for name, _ in known.train_list])
    monkeypatch.setattr(known, "test_list", [write(name) for name, _ in known.test_list])
    meta = folder / known.meta["filename"]
    meta.write_bytes(pickle.dumps({known.meta["key"]: [f"class {i}" for i in range(classes)]}, protocol=2))
    monkeypatch.setattr(known, "meta", {**known.meta, "md5": md5(meta)})
    return np.concatenate([rows[name] for name, _ in known.train_list])


@pytest.mark.parametrize("name, known, classes", [("cifar10", tv.CIFAR10, 10), ("cifar100", tv.CIFAR100, 100)])
def test_cifar(name, known, classes, cache_folder, monkeypatch):
    rows = write_cifar(cache_folder / "downloads" / known.base_folder, known, classes, 100, monkeypatch)
    data = opened(name)
    assert data.num_classes == classes and data.augment.flip and data.augment.pad == 4
    assert len(data.test) == 100 and (data.train.true_labels == data.train.labels).all()
    assert (data.train.images == rows.reshape(-1, 3, 32, 32)).all()  # the archive's own order: channel, row, column
    assert data.train.labels[:12].tolist() == [i % classes for i in range(12)]


def test_an_archive_put_into_place_is_unpacked_without_network(cache_folder, tmp_path, monkeypatch):
    write_cifar(tmp_path / tv.CIFAR10.base_folder, tv.CIFAR10, 10, 20, monkeypatch)
    downloads = cache_folder / "downloads"
    downloads.mkdir(parents=True)
    with tarfile.open(downloads / tv.CIFAR10.filename, "w:gz") as archive:
        archive.add(tmp_path / tv.CIFAR10.base_folder, tv.CIFAR10.base_folder)
    monkeypatch.setattr(tv.CIFAR10, "tgz_md5", md5(downloads / tv.CIFAR10.filename))
    assert len(opened("cifar10").train) == 100


def test_damaged_downloads_are_said(cache_folder, monkeypatch):
    folder = cache_folder / "downloads" / tv.CIFAR10.base_folder
    write_cifar(folder, tv.CIFAR10, 10, 20, monkeypatch)
    file = folder / "data_batch_3"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(UserError, match="damaged") as caught:
        opened("cifar10")
    assert str(file) in str(caught.value) and "delete them" in str(caught.value)


def write_stl(folder: Path, name: str, count: int, labelled: bool) -> tuple[np.ndarray, list[list[str]]]:
    """Column-major bytes, labels from 1, as in stl10_binary. Returns the images [N, 3, row, column]."""
    images = RNG.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
    images.transpose(0, 1, 3, 2).tofile(folder / f"{name}_X.bin")
    entries = [[f"{name}_X.bin", md5(folder / f"{name}_X.bin")]]
    if labelled:
        (np.arange(count) % 10 + 1).astype(np.uint8).tofile(folder / f"{name}_y.bin")
        entries.append([f"{name}_y.bin", md5(folder / f"{name}_y.bin")])
    return images, entries


def test_stl10(cache_folder, monkeypatch):
    folder = cache_folder / "downloads" / tv.STL10.base_folder
    folder.mkdir(parents=True)
    (folder / "class_names.txt").write_text("\n".join(f"class {i}" for i in range(10)))
    train, train_list = write_stl(folder, "train", 20, True)
    unlabelled, unlabelled_list = write_stl(folder, "unlabeled", 15, False)
    _, test_list = write_stl(folder, "test", 10, True)
    monkeypatch.setattr(tv.STL10, "train_list", train_list + unlabelled_list)
    monkeypatch.setattr(tv.STL10, "test_list", test_list)
    data = opened("stl10")
    assert (data.train.images == train).all() and data.extra is not None and (data.extra == unlabelled).all()
    assert data.train.labels.tolist() == [i % 10 for i in range(20)] and data.augment.pad == 12
    small = opened("stl10", image_size=32, limit=10)
    assert small.image_shape == (3, 32, 32) and small.extra is not None and len(small.extra) == 10
    assert opened("stl10", unlabelled=False).extra is None


def test_svhn(cache_folder, monkeypatch):
    from scipy.io import savemat

    downloads = cache_folder / "downloads"
    downloads.mkdir(parents=True)
    splits, images = {}, {}
    for split, count in (("train", 30), ("test", 10), ("extra", 12)):
        images[split] = RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        file = downloads / f"{split}_32x32.mat"
        savemat(file, {"X": images[split], "y": (np.arange(count) % 10 + 1).reshape(-1, 1).astype(np.uint8)})
        splits[split] = ["http://nowhere/" + file.name, file.name, md5(file)]
    monkeypatch.setattr(tv.SVHN, "split_list", splits)
    data = opened("svhn")
    assert not data.augment.flip and data.extra is None
    assert (data.train.images == images["train"].transpose(3, 2, 0, 1)).all()
    assert data.train.labels[:11].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]  # the file's 10 is the digit 0
    extra = opened("svhn", extra=True).extra
    assert extra is not None and (extra == images["extra"].transpose(3, 2, 0, 1)).all()


def write_idx(path: Path, array: np.ndarray, zipped: bool = False) -> None:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(head + array.tobytes()) if zipped else head + array.tobytes())


def test_fashion_mnist(cache_folder, monkeypatch):
    """From the zipped files the offline message asks for."""
    raw, images, resources = cache_folder / "downloads" / "FashionMNIST" / "raw", {}, []
    for part, count in (("train", 30), ("t10k", 20)):
        images[part] = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(raw / f"{part}-images-idx3-ubyte.gz", images[part], zipped=True)
        write_idx(raw / f"{part}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8), zipped=True)
        resources += [(f.name, md5(f)) for f in sorted(raw.glob(f"{part}-*.gz"))]
    monkeypatch.setattr(tv.FashionMNIST, "resources", resources)
    data = opened("fashion_mnist")
    assert data.image_shape == (1, 28, 28) and data.augment.flip and len(data.test) == 20
    assert (data.train.images[:, 0] == images["train"]).all() and data.class_names[9] == "Ankle boot"


@pytest.mark.parametrize(
    "name, said",
    [
        ("cifar10", ["cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", "https://www.cs.toronto.edu"]),
        ("cifar100", ["cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"]),
        ("stl10", ["stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb"]),
        ("svhn", ["train_32x32.mat", "test_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"]),
        ("fashion_mnist", ["t10k-labels-idx1-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "FashionMNIST/raw"]),
    ],
)
def test_offline_says_which_file_to_put_where(name, said, cache_folder):
    with pytest.raises(UserError, match="cannot be downloaded") as caught:
        opened(name)
    text = str(caught.value)
    assert all(part in text for part in [*said, str(cache_folder / "downloads")])
    assert caught.value.problems[0].key == "data.source"
