"""A terminal that is resized while a sweep runs: tmux, which wraps its lines anew. Skipped where that is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TMUX = shutil.which("tmux")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(TMUX is None, reason="tmux is not installed")]


class Terminal:
    """A terminal of 80 x 30 that runs a fake sweep; `text` is all of it, the scrollback included."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        words = [sys.executable, "-m", "tests.report.live_sweep", str(folder), *options]
        self.tmux("new-session", "-d", "-x", "80", "-y", "30", "-c", str(ROOT))
        self.tmux("send-keys", "exec sh", "Enter")
        self.tmux(
            "send-keys",
            f"PS1=; unset COLUMNS LINES; clear; echo before; {' '.join(words)}; touch {folder}/ended",
            "Enter",
        )
        self.until((folder / "ready").exists)

    def tmux(self, *words: str) -> str:
        command = [str(TMUX), "-S", str(self.folder / "socket"), "-f", "/dev/null", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not true():
            assert time.monotonic() < end, self.text()
            time.sleep(0.05)

    def resize(self, width: int, height: int) -> None:
        self.tmux("resize-window", "-x", str(width), "-y", str(height))
        self.until(lambda: any(line.endswith("time left") and len(line) == width for line in self.text().splitlines()))

    def text(self) -> str:
        return self.tmux("capture-pane", "-p", "-S", "-")

    def end(self) -> str:
        (self.folder / "go_on").touch()
        self.until((self.folder / "ended").exists)
        time.sleep(0.2)
        return self.text()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    subprocess.run([str(TMUX), "-S", str(tmp_path / "socket"), "kill-server"], check=False, capture_output=True)


def test_a_resized_terminal_has_one_copy_of_the_view_and_none_at_the_end(folder: Path) -> None:
    terminal = Terminal(folder)
    terminal.until(lambda: "trials done" in terminal.text())
    for width, height in ((60, 24), (130, 20), (70, 20), (120, 40)):
        terminal.resize(width, height)
    live = terminal.text()
    assert live.count("trials done") == live.count("18 of 36 done") == live.count("hyper-parameters") == 1
    assert "MLflow does not answer" in live and "a line that something prints" in live
    after = terminal.end()
    assert "trials done" not in after and "18 of 36 done" not in after and after.strip().startswith("before")
    assert after.count("a line that something prints") == after.count("a line on stderr\n") == 1
    assert after.count("MLflow does not answer") == 1 and "No sure difference: fixmatch" in after


def test_a_process_that_is_killed_gives_the_terminal_back(folder: Path) -> None:
    terminal = Terminal(folder, "--kill")
    terminal.until(lambda: "trials done" in terminal.text())
    assert terminal.tmux("display", "-p", "#{alternate_on} #{cursor_flag}").split() == ["1", "0"]
    assert "before" in terminal.end()
    assert terminal.tmux("display", "-p", "#{alternate_on} #{cursor_flag}").split() == ["0", "1"]
