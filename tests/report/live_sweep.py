"""python -m tests.report.live_sweep FOLDER [--kill]: a sweep without training, for tests of the screen.

It goes on to its end as soon as FOLDER/go_on exists; with --kill, the process ends as a second Ctrl-C would end it.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path

from platform.core.events import SweepEnded, SweepStarted, TrialEnded
from platform.report.screen import ScreenListener
from tests.report.fake_sweep import TRACEBACK, FakeSweep


def main(folder: Path) -> None:
    sweep = FakeSweep(folder / "digits", methods=["supervised", "fixmatch", "layermatch"], studies=3, trials=4)
    screen = ScreenListener()
    screen.handle(SweepStarted(sweep.info))
    rows = sweep.rows()
    for number, row in enumerate(rows[:20]):
        sweep.start(row, screen)
        for report in sweep.reports(row)[: 2 if number >= 18 else None]:
            sweep.report(row, report, screen)
        if number < 18:
            sweep.end(row, screen)
    print("a line that something prints")
    warnings.warn("a line on stderr", stacklevel=1)
    screen.notice("MLflow does not answer")
    (folder / "ready").touch()
    while not (folder / "go_on").exists():
        time.sleep(0.05)
    if "--kill" in sys.argv:
        screen.abandon()
        os._exit(1)
    for row in rows[18:]:
        if row.outcome is None:
            row.outcome, row.error = "failed", TRACEBACK
            screen.handle(TrialEnded(row))
    screen.doing("drawing figures")
    time.sleep(0.2)
    screen.handle(SweepEnded(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
