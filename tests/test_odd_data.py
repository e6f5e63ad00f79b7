"""Odd data through the door: special files, names that are not UTF-8, and a signal while something hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.runner.door import ROOT, sweep
from tests.test_bad_input import GOOD, images

pytestmark = pytest.mark.slow


def space(tmp_path: Path, folder: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(GOOD.replace("{source: digits, limit: 300}", f"{{source: image_folder, path: '{folder}'}}"))
    return path


def test_a_named_pipe_among_images_is_refused_at_once(tmp_path):
    folder = images(tmp_path / "images")
    os.mkfifo(folder / "a" / "pipe.png")
    done = sweep(space(tmp_path, folder), "--results", tmp_path / "r", KURABE_CACHE=str(tmp_path / "c"), timeout=60)
    assert done.returncode == 2 and "a/pipe.png: a named pipe, not a regular file" in done.stderr, done.stderr
    assert "nothing was started" in done.stderr and not (tmp_path / "r").exists()


@pytest.mark.parametrize("word", ["SPACE", "--results", "data.limit=\udcff"])
def test_words_that_are_not_utf_8_are_refused_before_anything_starts(tmp_path, word):
    path = tmp_path / ("sp\udcffce.yaml" if word == "SPACE" else "space.yaml")
    path.write_text(GOOD)
    more = {"SPACE": [], "--results": ["--results", str(tmp_path / "\udcfe")]}.get(word, [word])
    done = sweep(path, "--dry-run", "--no-calibration", *more)
    assert done.returncode == 2 and "not UTF-8" in done.stderr and "nothing was started" in done.stderr
    assert "\\xff" in done.stderr or "\\xfe" in done.stderr


HANGS = {
    "a thread that decodes": "import platform.data.decode as there; there._open = hang",
    "a thread that hashes": "import platform.data.cache as there; there.hash_file = hang",
    "the main thread": "from platform.data.sources.image_folder import ImageFolder; ImageFolder.read = hang",
}
DOOR = """
import hashlib, os, sys
from pathlib import Path

def hang(*_):  # without the interpreter's lock, as a read that gets no answer
    Path(sys.argv[1]).touch()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)

{patch}
from platform.sweep import main
os._exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("where", HANGS)
def test_a_signal_ends_a_sweep_whose_data_do_not_answer(tmp_path, where, number):
    path, mark = space(tmp_path, images(tmp_path / "images")), tmp_path / "hangs"
    words = [sys.executable, "-c", DOOR.format(patch=HANGS[where]), mark, path, "--results", tmp_path / "r"]
    environment = os.environ | {"KURABE_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(list(map(str, words)), cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        while not mark.exists():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(number)
        _, told = process.communicate(timeout=8)  # 2 seconds, and this machine's noise
    finally:
        process.kill()
    assert process.returncode == 128 + number and "Traceback" not in told
    assert "interrupted" in told or "ended by a signal" in told


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_sweep_over_files_whose_names_are_not_text(tmp_path):
    """Ledger, leaderboard, MLflow and the screen get them as escapes; HTML and backticks stay what they are."""
    from mlflow import MlflowClient

    folder = images(tmp_path / "images")
    os.rename(folder / "b", os.fsencode(folder) + b"/b\xff<script>`x`[red]")
    os.rename(folder / "a" / "0.png", os.fsencode(folder) + b"/a/\xfe\n=1.png")
    with open(os.fsencode(folder) + b"/a/\xfd<b>`no image`.png", "w") as file:
        file.write("no image")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    words = [space(tmp_path, folder), "--results", tmp_path / "r", f"tracking={uri}", "data.on_bad_image=skip"]
    done = sweep(*words, "labels={per_class: 4}", KURABE_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr
    board = (tmp_path / "r" / "bad-input" / "leaderboard.md").read_text(encoding="utf-8")
    assert "1 unreadable images were left out: a/\\\\xfd&lt;b&gt;\\`no image\\`.png" in board
    assert len(pd.read_csv(tmp_path / "r" / "bad-input" / "trials.csv")) == 1
    client = MlflowClient(uri)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert runs and all(run.info.status == "FINISHED" for run in runs)
