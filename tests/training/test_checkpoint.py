"""Checkpoints: atomic, and clear about files that are none."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest
import torch

from platform.core.errors import UserError
from platform.training import checkpoint

CPU = torch.device("cpu")


def test_round_trip(tmp_path: Path):
    path = tmp_path / "a.pt"
    checkpoint.write(path, "key", {"weights": torch.arange(3), "beside": {"reports": [{"score": float("nan")}]}})
    content = checkpoint.read(path, "key", CPU)
    assert content["weights"].tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_half_a_file(tmp_path: Path, share: float):
    path = tmp_path / "a.pt"
    checkpoint.write(path, "key", {"weights": torch.zeros(1000)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="only half of one") as caught:
        checkpoint.read(path, "key", CPU)
    assert str(path) in str(caught.value) and "delete it" in str(caught.value)


def test_one_flipped_bit_is_refused(tmp_path: Path):
    """torch.load takes most of them: it does not check the sums that its format has."""
    path, chance = tmp_path / "a.pt", random.Random(0)
    checkpoint.write(path, "key", {"weights": torch.arange(3000.0), "beside": {"reports": [{"score": 0.5}] * 40}})
    whole = path.read_bytes()
    for _ in range(200):
        place = chance.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
        with pytest.raises(UserError, match="checksum|not a checkpoint") as caught:
            checkpoint.read(path, "key", CPU)
        assert str(path) in str(caught.value) and "delete it" in str(caught.value)


def test_the_checksum_goes_with_a_second_name_and_a_copy(tmp_path: Path):
    checkpoint.write(tmp_path / "a.pt", "key", {"weights": torch.zeros(10)})
    os.link(tmp_path / "a.pt", tmp_path / "a@3.pt")
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes())
    for name in ("a@3.pt", "b.pt"):
        assert checkpoint.read(tmp_path / name, "key", CPU)["weights"].tolist() == [0.0] * 10


def test_a_checkpoint_without_a_checksum_is_refused(tmp_path: Path):
    torch.save({"kurabe": checkpoint.FORMAT, "key": "key", "step": 1}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="it has no checksum"):
        checkpoint.read(tmp_path / "a.pt", "key", CPU)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": 1}, "not a checkpoint of a trial"),
        ([1, 2], "not a checkpoint of a trial"),
        ({"kurabe": 999, "key": "key"}, "format 999; this version reads 1"),
        ({"kurabe": checkpoint.FORMAT, "key": "other"}, "checkpoint of trial other, not of key"),
    ],
)
def test_foreign_files(tmp_path: Path, content: object, message: str):
    path = tmp_path / "a.pt"
    torch.save(content, path)
    with pytest.raises(UserError, match=message):
        checkpoint.read(path, "key", CPU)


def test_no_file(tmp_path: Path):
    with pytest.raises(UserError, match="no such checkpoint"):
        checkpoint.read(tmp_path / "none.pt", "key", CPU)


def test_a_checkpoint_cannot_run_code(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"kurabe": checkpoint.FORMAT, "key": "key", "trap": Trap()}, tmp_path / "a.pt")
    with pytest.raises(UserError):
        checkpoint.read(tmp_path / "a.pt", "key", CPU)
    assert not (tmp_path / "sprung").exists()


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.pt"
    checkpoint.write(path, "key", {"step": 1})

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        checkpoint.write(path, "key", {"step": 2})
    assert checkpoint.read(path, "key", CPU)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be written"):
        checkpoint.write(tmp_path / "none" / "a.pt", "key", {})
