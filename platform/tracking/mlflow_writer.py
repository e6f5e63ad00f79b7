"""MLflow shows rows to people: one experiment per sweep, one parent run per study, one child run per trial.

Only the driver writes. The listener turns what happens into events and returns; a thread delivers them in batches, so
that training never waits for a server or for a locked database.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from platform.core.errors import UserError
from platform.core.events import Event, SweepEnded, SweepStarted, TrialEnded, TrialReported, TrialStarted
from platform.core.row import Row, SweepInfo, winner
from platform.core.uri import DEFAULT, absolute, problem, redact, scrub, sqlite_path
from platform.tracking import connection, events
from platform.tracking.buffer import Buffer
from platform.tracking.delivery import Delivery, wait_seconds

FLUSH_SECONDS = 1.0
FLUSH_EVENTS = 80  # some 1,000 metrics at 13 a report
CHUNK_EVENTS = 2_000
CLOSE_SECONDS = 60.0  # how long the end of a sweep waits for a store that takes events
GIVE_UP_SECONDS = 10.0  # and for one that does not

_log = logging.getLogger(__name__)


class MlflowListener:
    """Writes a sweep into `uri`; what cannot be delivered waits in `folder` for the next run of the same command.

    `notify` is called, from the writer's thread, with one line for the person at the screen.
    """

    def __init__(
        self, uri: str = DEFAULT, folder: Path | str = "results", notify: Callable[[str], None] | None = None
    ) -> None:
        self.shown = redact(uri)
        self.uri = absolute(uri)
        self.folder = Path(folder)
        self.notify = notify or _log.warning
        self.delivered = 0  # events
        self._buffer = Buffer(self.folder)
        self._delivery: Delivery | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Condition()
        self._closing, self._closed_at = False, 0.0
        self._stop = threading.Event()
        self._failures = 0
        self._seen: set[str] = set()
        self._info: SweepInfo | None = None
        if wrong := problem(uri):
            raise UserError(wrong)

    def prepare(self, timeout: float = 8.0) -> None:
        """Before anything starts: make or migrate the database, or see that the server answers. Raises UserError."""
        connection.prepare(self.uri, timeout)

    def links(self) -> list[str]:
        """Where a browser finds this sweep's runs, sorted by score; nothing before MLflow has it."""
        page = self._delivery.page if self._delivery is not None else ""
        server = self.shown.replace("***@", "") if self.shown.startswith("http") else "http://127.0.0.1:5000"
        return [f"{server.rstrip('/')}/{page}"] if page else []

    # -- what the runner calls ---------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        match event:
            case SweepStarted(info):
                self._sweep_started(info)
            case TrialStarted(row):
                self._trial_started(row)
            case TrialReported(row, report):
                self._trial_reported(row, report)
            case TrialEnded(row):
                self._trial_ended(row)
            case SweepEnded(rows):
                self._sweep_ended(rows)
            case _:
                pass

    def _sweep_started(self, info: SweepInfo) -> None:
        file = sqlite_path(self.uri)
        artifacts = file.parent / "mlflow_artifacts" / info.name if file is not None else None
        self._info = info
        self._delivery = Delivery(self.uri, info.name, artifacts, info.id)
        resolved, provenance = connection.as_yaml(scrub(info.resolved)), connection.as_json(scrub(info.provenance))
        for study in info.studies:
            self._put(events.open_study(info, study))
            run = events.study_id(study)
            self._put({"run": run, "do": "text", "file": "sweep.yaml", "text": resolved})
            self._put({"run": run, "do": "text", "file": "provenance.json", "text": provenance})
        if info.studies:
            self._put(events.page(info))
        self._thread = threading.Thread(target=self._write, name="mlflow-writer", daemon=True)
        self._thread.start()
        atexit.register(self._keep)

    def _trial_started(self, row: Row) -> None:
        """A row that goes on brings its earlier evaluations: a killed driver may not have delivered them."""
        self._seen.add(row.key)
        self._put(events.open_trial(row))
        for event in events.curve(row):
            self._put(event)

    def _trial_reported(self, row: Row, report: dict[str, float]) -> None:
        self._put(events.log_report(row, report))

    def _trial_ended(self, row: Row) -> None:
        if row.key not in self._seen:  # answered without being run: from the ledger, or failed before its start
            self._seen.add(row.key)
            self._put(events.whole_row(row))
        else:
            self._put(events.close_trial(row))

    def _sweep_ended(self, rows: list[Row]) -> None:
        """Bring everything to MLflow, rows of earlier sessions included, or into the file for the next run."""
        info = self._info
        if info is None:
            return
        for row in rows:
            if row.key not in self._seen or (self._delivery is not None and row.key in self._delivery.lost):
                self._seen.add(row.key)
                self._put(events.whole_row(row))
        for study in info.studies:
            self._close_study(info, study, [row for row in rows if row.study == study])
        self.close()

    def close(self) -> None:
        """Deliver what waits, as long as the store takes it; keep the rest in the file."""
        with self._wake:
            self._closing, self._closed_at = True, time.monotonic()
            self._wake.notify()
        if self._thread is not None and self._thread.is_alive():
            try:
                self._thread.join(CLOSE_SECONDS)
            finally:
                self._stop.set()
        if self._thread is not None:
            self._thread.join(GIVE_UP_SECONDS)
        self._keep()
        if (file := sqlite_path(self.uri)) is not None and file.exists():
            connection.fold_log(file)

    # -- events ------------------------------------------------------------------------------------------------------

    def _close_study(self, info: SweepInfo, study: str, rows: list[Row]) -> None:
        method = study.rpartition("/")[0] or study
        run = events.study_id(study)
        for path in (info.folder / "leaderboard.md", info.folder / "trials.csv", info.folder / "figures" / method):
            target = "figures" if path.parent.name == "figures" else ""
            for file in sorted(path.glob("*.png")) if target else [path]:
                self._put({"run": run, "do": "file", "path": str(file.absolute()), "folder": target})
        most = info.trials_per_study
        ended = study in info.complete or (most is not None and len(rows) >= most)
        ended = ended and all(row.outcome not in (None, "preempted") for row in rows)
        best = winner(rows, info.maximise)
        self._put(events.close_study(study, "FINISHED" if ended else "KILLED", best))

    def _put(self, event: events.Event) -> None:
        try:
            self._buffer.put(event)
        except OSError as error:  # memory full and disk full: the event is still in memory
            _log.warning("cannot write %s: %s", self._buffer.path, error)
        if len(self._buffer) >= FLUSH_EVENTS:
            with self._wake:
                self._wake.notify()

    # -- the writer's thread -----------------------------------------------------------------------------------------

    def _write(self) -> None:
        connection.silence()
        while not self._stop.is_set():
            with self._wake:
                if not self._closing:
                    self._wake.wait(FLUSH_SECONDS)
            closing = self._closing
            error = self._flush()
            if error is None:
                if closing and self._buffer.empty:
                    return
                continue
            self._say_once(error)
            if closing and time.monotonic() - self._closed_at > GIVE_UP_SECONDS:
                return
            self._pause(wait_seconds(self._failures))

    def _flush(self) -> BaseException | None:
        """Deliver all that waits; the answer is the error that stopped it."""
        assert self._delivery is not None
        while not self._stop.is_set() and (taken := self._buffer.take(CHUNK_EVENTS)):
            dropped = self._delivery.dropped
            left = self._delivery.deliver(taken)
            self._buffer.give_back(left)
            self.delivered += len(taken) - len(left)
            if self._delivery.dropped > dropped:
                run, reason = next(reversed(self._delivery.lost.items()))
                self.notify(f"MLflow refused {self._delivery.dropped - dropped} entries of {run}: {redact(reason)}")
            if left:
                self._failures += 1
                return self._delivery.error
            self._recovered()
        self._buffer.forget_delivered()
        return None

    def _recovered(self) -> None:
        if self._failures:
            self.notify(f"MLflow at {self.shown} answers again; what had to wait is being delivered.")
        self._failures = 0

    def _say_once(self, error: BaseException) -> None:
        if self._failures == 1:
            reason = redact(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__
            self.notify(
                f"MLflow at {self.shown} does not take entries ({reason[:200]}). "
                "Training goes on; they are kept and delivered later."
            )

    def _pause(self, seconds: float) -> None:
        """Between two attempts; the end of the sweep cuts a long one short."""
        if self._closing:
            self._stop.wait(min(seconds, 1.0))
            return
        end = time.monotonic() + seconds
        with self._wake:
            while not self._closing and (rest := end - time.monotonic()) > 0:
                self._wake.wait(rest)

    def _keep(self) -> None:
        """What was not delivered goes to the file in the results folder. Runs at most once with something to say."""
        atexit.unregister(self._keep)
        if self._buffer.empty:
            return
        count = self._buffer.save()
        self.notify(
            f"{count} entries did not reach MLflow at {self.shown}; they are kept in {self._buffer.path} and are "
            "delivered when the same command runs again."
        )
