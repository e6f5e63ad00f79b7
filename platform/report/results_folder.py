"""results/NAME: the table as files, written while the sweep runs; leaderboard and figures at its end."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platform.core.events import Event, SweepEnded, SweepStarted, TrialEnded
from platform.core.redaction import redact_command, scrub
from platform.core.row import Row, SweepInfo
from platform.report import pareto, trial_tables
from platform.report.leaderboard import leaderboard
from platform.report.prediction_files import keep_winners, write_predictions
from platform.report.sweep_text import sweep_yaml

TRIALS_SECONDS = 2.0  # at least so long between two rewritings during a sweep
CURVES_SECONDS = 15.0
SHARE = 0.02  # of the driver's time, at most

_log = logging.getLogger(__name__)


class ResultsListener:
    """Keeps `folder` (results/NAME) current. Must come before the listener that uploads these files at the end.

    Rows of an earlier session stay in the files until SweepEnded brings the whole table. doing: is told what takes
    long at the end. hurried: whether a signal ended the sweep; whoever sent it waits for seconds only, so that figures
    and report, which take more, are left to the run that goes on.
    """

    def __init__(
        self,
        folder: Path | str,
        doing: Callable[[str], None] = lambda text: None,
        hurried: Callable[[], bool] = lambda: False,
    ) -> None:
        self.folder = Path(folder)
        self._doing, self._hurried = doing, hurried
        self._info: SweepInfo | None = None
        self._trials: dict[tuple[str, str], dict[str, Any]] = {}
        self._curves: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._paces = (_Pace(TRIALS_SECONDS, self._write_trials), _Pace(CURVES_SECONDS, self._write_curves))

    def handle(self, event: Event) -> None:
        match event:
            case SweepStarted(info, rows):
                self._sweep_started(info)
                for row in rows:  # as the ledger has them: the files may be damaged
                    self._take(row)
            case TrialEnded(row):
                self._trial_ended(row)
            case SweepEnded(rows):
                self._sweep_ended(rows)
            case _:
                pass

    def _sweep_started(self, info: SweepInfo) -> None:
        self._info = info
        self.folder.mkdir(parents=True, exist_ok=True)
        trial_tables.replace_text(self.folder / "sweep.yaml", sweep_yaml(info))
        facts = scrub(info.provenance) | {"command": redact_command(info.command)}
        text = json.dumps(facts, indent=2, default=str, ensure_ascii=False) + "\n"
        trial_tables.replace_text(self.folder / "provenance.json", text)
        for record in trial_tables.read_trials(self.folder / "trials.csv"):
            self._trials[record["key"], record["study"]] = record
        for record in trial_tables.read_curves(self.folder / "curves.parquet"):
            self._curves.setdefault((record["key"], record["study"]), []).append(record)

    def _trial_ended(self, row: Row) -> None:
        self._take(row)
        write_predictions(self.folder, row)
        for pace in self._paces:
            pace.write_if_due()

    def _sweep_ended(self, rows: list[Row]) -> None:
        """Write the whole table, then the leaderboard and the figures."""
        assert self._info is not None
        old = self._curves
        self._trials, self._curves = {}, {}
        ordered = sorted(rows, key=self._place)
        for row in ordered:
            self._take(row)
            if not row.reports and (kept := old.get((row.key, row.study))):
                self._curves[row.key, row.study] = kept
        self._write_trials()
        self._write_curves()
        trial_tables.replace_text(self.folder / "leaderboard.md", leaderboard(self._info, ordered))
        keep_winners(self._info, ordered, self.folder)
        if pareto.asked_for(self._info):
            pareto.write(self._info, ordered, self.folder / "pareto.csv")
        if self._hurried():
            return
        self._doing("drawing figures")
        self._draw(ordered)
        self._write_report(ordered)

    def _draw(self, rows: list[Row]) -> None:
        """Draw the figures; where that fails, log the reason and keep the other files."""
        from platform.report.figures import draw_all

        assert self._info is not None
        try:
            draw_all(self._info, rows, self.folder / "figures")
        except Exception:
            _log.exception("the figures of %s could not be drawn", self.folder)

    def _write_report(self, rows: list[Row]) -> None:
        """Write report.html; where that fails, log the reason and keep the other files: the sweep is over and sound.

        Not where the environment says KURABE_REPORT=off: drawing it takes seconds.
        """
        from platform.report.html.report_page import write_report
        from platform.report.judge.comparison import of_sweep
        from platform.report.judge.judgement import judge

        assert self._info is not None
        if os.environ.get("KURABE_REPORT") == "off":
            return
        try:
            write_report(judge(of_sweep(self._info, rows)), self.folder)
        except Exception as error:
            _log.warning("report.html could not be written, everything else was: %s: %s", type(error).__name__, error)
            _log.debug("report.html", exc_info=True)

    def _place(self, row: Row) -> tuple[int, int]:
        assert self._info is not None
        studies = self._info.studies
        return (studies.index(row.study) if row.study in studies else len(studies), row.number)

    def _take(self, row: Row) -> None:
        identity = (row.key, row.study)
        self._trials[identity] = trial_tables.trial_record(row) | {"outcome": row.outcome or "preempted"}
        if row.reports:
            self._curves[identity] = trial_tables.curve_records(row)
        error = self.folder / "errors" / f"{row.key}.txt"
        if row.error:
            error.parent.mkdir(exist_ok=True)
            trial_tables.replace_text(error, row.error.rstrip() + "\n")
        else:
            error.unlink(missing_ok=True)  # of an attempt before this one

    def _write_trials(self) -> None:
        trial_tables.write_trials(self.folder / "trials.csv", self._trials.values())

    def _write_curves(self) -> None:
        records = [record for curve in self._curves.values() for record in curve]
        trial_tables.write_curves(self.folder / "curves.parquet", records)


class _Pace:
    """Calls `write` at most every `seconds`, and less often where it takes long."""

    def __init__(self, seconds: float, write: Callable[[], None]) -> None:
        self.seconds, self.write = seconds, write
        self.next = 0.0

    def write_if_due(self) -> None:
        start = time.monotonic()
        if start < self.next:
            return
        try:
            self.write()
        except OSError as error:  # a full disk: the end of the sweep tries again and raises
            _log.warning("cannot write results: %s", error)
        took = time.monotonic() - start
        self.next = time.monotonic() + max(self.seconds, took / SHARE)
