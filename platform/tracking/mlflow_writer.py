"""MLflow shows rows to people: one experiment per sweep, one parent run per study, one child run per trial.

The judgement (leaderboard, differences, verdict) is the report's: the runner hands it in as a function.

Only the driver writes. The listener notes which rows have something new and returns; a thread delivers what MLflow
lacks of them, so that training never waits for a server or for a locked database. Nothing is kept for MLflow alone:
what it missed is in the ledger, whose rows come with the next run of the same command.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from platform.core.errors import UserError
from platform.core.events import Event, SweepEnded, SweepStarted, TrialEnded, TrialReported, TrialStarted
from platform.core.headlines import Headlines, Judge
from platform.core.row import Row, SweepInfo, winner
from platform.core.uri import DEFAULT, SecretUri, problem, sqlite_path
from platform.tracking import connection
from platform.tracking.delivery import Delivery, passes, wait_seconds
from platform.tracking.experiment_page import ExperimentPage
from platform.tracking.logged_model import TrainedModel
from platform.tracking.run_content import Artifact
from platform.tracking.study_content import StudyContent, settings_files
from platform.tracking.undelivered import Undelivered

FLUSH_SECONDS = 1.0
FLUSH_EVENTS = 80  # some 1,000 metrics at 13 a report
JUDGE_SECONDS = 15.0  # at least so long between two judgements of a sweep that runs
CLOSE_SECONDS = 60.0  # how long the end of a sweep waits for a store that takes entries
MODEL_SECONDS = 3.0  # and more for each winner that becomes a model
GIVE_UP_SECONDS = 10.0  # and for one that does not

_log = logging.getLogger(__name__)


class MlflowListener:
    """Writes a sweep into `uri`; what cannot be delivered now is delivered by the next run of the same command.

    folder: of the sweep, where its ledger lies. `notify` is called, from the writer's thread, with one line for the
    person at the screen. judge: gives the headlines of the view Methods. models: gives the winner of a study as a
    network. Both are called from the writer's thread as well.
    """

    def __init__(
        self,
        uri: str | SecretUri = DEFAULT,
        folder: Path | str = "results",
        notify: Callable[[str], None] | None = None,
        judge: Judge | None = None,
        models: Callable[[Row], TrainedModel | None] | None = None,
    ) -> None:
        self._uri = SecretUri(uri) if isinstance(uri, str) else uri
        self.shown = self._uri.public
        self._address = self._uri.reveal()
        self.folder = Path(folder)
        self.notify = notify or _log.warning
        self._judge, self._models = judge, models
        self._undelivered = Undelivered()
        self._delivery: Delivery | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Condition()
        self._closing, self._closed_at = False, 0.0
        self._stop = threading.Event()
        self._failures = 0
        self._refused: set[str] = set()  # runs of which MLflow refused something for good
        self._reported_undelivered = False
        self._settings: tuple[Artifact, ...] = ()
        self._info: SweepInfo | None = None
        self._login: dict[str, str | None] | None = None  # the environment as it was before
        self._away = ""  # why the store could not be reached before the sweep
        self._version = ""  # of the MLflow that shows the pages
        self._page: ExperimentPage | None = None
        self._news = False  # a trial has ended since the last judgement
        self._ended = False  # the sweep has, and its whole table is being noted
        self._judged_at = 0.0
        if wrong := problem(self.shown):
            raise UserError(wrong)

    def prepare(self, timeout: float = 8.0) -> None:
        """Before anything starts: make or migrate the database, or see that the server answers.

        One that is away delays nothing: what it misses is delivered later. Raises UserError where no waiting helps.
        """
        self._away = connection.prepare(self._uri, timeout)
        self._version = connection.version_of_pages(self._uri, timeout)

    def links(self) -> list[str]:
        """Addresses of this sweep's methods for a browser, as a table and as charts; empty before MLflow has it."""
        server = self.shown if self._uri.is_server else "http://127.0.0.1:5000"
        pages = self._delivery.links if self._delivery is not None else []
        return [f"{server.rstrip('/')}/{page}" for page in pages]

    # -- what the runner calls ---------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        match event:
            case SweepStarted(info, rows):
                self._sweep_started(info, rows)
            case TrialStarted(row):
                self._undelivered.note_row(row)
            case TrialEnded(row):
                self._undelivered.note_row(row)
                self._news = True
            case TrialReported(row, report):
                self._undelivered.note_report(row, report)
            case SweepEnded(rows):
                self._sweep_ended(rows)
            case _:
                return
        if self._undelivered.events >= FLUSH_EVENTS:
            with self._wake:
                self._wake.notify()

    def _sweep_started(self, info: SweepInfo, rows: list[Row]) -> None:
        """Begin with the studies and the rows that have ended; a row that goes on is delivered once it has started."""
        file = sqlite_path(self._address)
        artifacts = file.parent / "mlflow_artifacts" / info.name if file is not None else None
        self._info = info
        self._delivery = Delivery(self._address, info, artifacts, self._version)
        self._page = ExperimentPage(info)
        self._settings = settings_files(info)
        for study in info.studies:
            self._undelivered.note_study(StudyContent(info, study, self._settings))
        for row in rows:
            self._undelivered.note_row(row, waits=row.outcome is not None)
        self._undelivered.note_winners(_winners(info, rows).keys())
        self._say_at_start()
        self._login = connection.log_in(self._uri.login())
        self._thread = threading.Thread(target=self._write, name="mlflow-writer", daemon=True)
        self._thread.start()
        atexit.register(self._report_undelivered)

    def _sweep_ended(self, rows: list[Row]) -> None:
        """Deliver everything, rows of earlier sessions included, or leave it to the next run."""
        info = self._info
        if info is None:
            return
        for row in rows:
            self._undelivered.note_row(row)
        for row in self._undelivered.rows_without_outcome():
            self._undelivered.note_row(replace(row, outcome="preempted"))
        with self._wake:
            self._ended = True
        found = self._judgement(info, rows)
        self._page = ExperimentPage(info, found)
        self._undelivered.note_winners(_winners(info, rows).keys())
        for study in info.studies:
            self._close_study(info, study, [row for row in rows if row.study == study], found)
        self.close()

    def close(self) -> None:
        """Deliver what waits, as long as the store takes it."""
        with self._wake:
            if not self._closing:
                self._closing, self._closed_at = True, time.monotonic()
            self._wake.notify()
        if self._thread is not None and self._thread.is_alive():
            try:
                models = len(self._info.studies) if self._info is not None and self._models is not None else 0
                self._thread.join(CLOSE_SECONDS + MODEL_SECONDS * models)
            finally:
                self._stop.set()
        if self._thread is not None:
            self._thread.join(GIVE_UP_SECONDS)
        self._report_undelivered()
        if self._login is not None:
            connection.log_out(self._login)
        self._login = None
        if (file := sqlite_path(self._address)) is not None and file.exists():
            connection.fold_log(file)

    def _say_at_start(self) -> None:
        if self._uri.has_secret:
            how = connection.LOGIN if self._uri.is_server else "give it as the database's driver reads one"
            self.notify(
                f"The login of {self.shown} is kept in no file and no printed command. To go on with one of these, "
                f"{how}; or type the whole tracking=URI again."
            )
        if self._away:
            self._failures = 1
            self._report_failure(self._away)

    def _close_study(self, info: SweepInfo, study: str, rows: list[Row], found: Headlines) -> None:
        method = study.rpartition("/")[0] or study
        paths = [(info.folder / name, "") for name in ("leaderboard.md", "report.html", "trials.csv")]
        figures = [*info.folder.glob("figures/*.png"), *(info.folder / "figures" / method).glob("*.png")]
        paths += [(path, "figures") for path in sorted(figures)]
        files = tuple(Artifact(str(path.absolute()), folder) for path, folder in paths)
        most = info.trials_per_study
        ended = study in info.complete or (most is not None and len(rows) >= most)
        ended = ended and all(row.outcome not in (None, "preempted") for row in rows)
        status = "FINISHED" if ended else "KILLED"
        self._note_study(info, study, rows, found, self._settings + files, status)

    def _note_study(
        self,
        info: SweepInfo,
        study: str,
        rows: Sequence[Row],
        found: Headlines,
        files: tuple[Artifact, ...] = (),
        status: str = "RUNNING",
    ) -> None:
        """rows: of the study."""
        ended = sum(row.outcome not in (None, "preempted") for row in rows)
        numbers = found.by_study.get(study, {})
        best = winner(rows, info.maximise)
        content = StudyContent(info, study, files, status, best, numbers, ended, self._models)
        self._undelivered.note_study(content)

    def _judgement(self, info: SweepInfo, rows: Sequence[Row]) -> Headlines:
        """Headlines of these rows; empty where there is no judge, or it fails: the runs are shown all the same."""
        if self._judge is None:
            return Headlines()
        try:
            return self._judge(info, rows)
        except Exception:
            _log.exception("the headlines of %s could not be made", info.name)
            return Headlines()

    # -- the writer's thread -----------------------------------------------------------------------------------------

    def _write(self) -> None:
        connection.silence()
        while not self._stop.is_set():
            with self._wake:
                if not self._closing and self._undelivered.events < FLUSH_EVENTS:
                    self._wake.wait(FLUSH_SECONDS)
            closing = self._closing
            if self._news and not self._ended and time.monotonic() - self._judged_at > JUDGE_SECONDS:
                self._bring_up_to_date()
            error = self._flush()
            if error is None:
                if closing and not len(self._undelivered):
                    return
                continue
            self._report_failure(self._reason(error))
            if closing and time.monotonic() - self._closed_at > GIVE_UP_SECONDS:
                return
            self._pause(wait_seconds(self._failures))

    def _bring_up_to_date(self) -> None:
        """Note the headlines of the trials that have ended so far, and the winners so far."""
        assert self._info is not None
        self._news = False
        info, rows = self._info, self._undelivered.rows()
        found = self._judgement(info, rows)
        with self._wake:
            if not self._ended:  # else the whole table is noted
                self._note_headlines(info, rows, found)
        self._judged_at = time.monotonic()

    def _note_headlines(self, info: SweepInfo, rows: Sequence[Row], found: Headlines) -> None:
        self._page = ExperimentPage(info, found)
        self._undelivered.note_winners(_winners(info, rows).keys())
        for study in info.studies:
            self._note_study(info, study, [row for row in rows if row.study == study], found)

    def _flush(self) -> BaseException | None:
        """Deliver what waits now. Returns the error that stopped it."""
        assert self._delivery is not None
        if (error := self._show_page()) is not None:
            return error
        for content in self._undelivered.take():
            if self._stop.is_set():
                self._undelivered.give_back()
                return None
            try:
                self._delivery.deliver(content)
            except Exception as error:
                if passes(error):
                    self._undelivered.give_back()
                    self._failures += 1
                    return error
                self._report_refusal(content.key, error)
            else:
                self._undelivered.delivered(content.key)
                self._recovered()
        return None

    def _show_page(self) -> BaseException | None:
        """Write the experiment's page; the error, where trying later may help."""
        assert self._delivery is not None and self._page is not None
        try:
            self._delivery.show(self._page)
        except Exception as error:
            if passes(error):
                self._failures += 1
                return error
            self.notify(f"MLflow refused the page of {self._page.info.name}: {self._reason(error)}")
            self._delivery.give_up_page(self._page)
        return None

    def _recovered(self) -> None:
        if self._failures:
            self.notify(f"MLflow at {self.shown} answers again; what had to wait is being delivered.")
        self._failures = 0

    def _report_refusal(self, key: str, error: BaseException) -> None:
        """Report it once for each run, and try that once more: one that somebody deleted is made anew."""
        if key in self._refused:
            self._undelivered.delivered(key)
            return
        self._refused.add(key)
        self._undelivered.give_back(key)
        self.notify(f"MLflow refused entries of {key}: {self._reason(error)}")

    def _reason(self, error: BaseException) -> str:
        return connection.reason_of(error, self._uri)

    def _report_failure(self, reason: str) -> None:
        if self._failures == 1:
            self.notify(
                f"MLflow at {self.shown} does not take entries ({reason[:200]}). "
                "Training goes on; they are kept and delivered later."
            )

    def _pause(self, seconds: float) -> None:
        """Wait between two attempts; the end of the sweep cuts a long wait short."""
        if self._closing:
            self._stop.wait(min(seconds, 1.0))
            return
        end = time.monotonic() + seconds
        with self._wake:
            while not self._closing and (rest := end - time.monotonic()) > 0:
                self._wake.wait(rest)

    def _report_undelivered(self) -> None:
        """Say, once, when the sweep or the process ends, that something was not delivered."""
        atexit.unregister(self._report_undelivered)
        count = len(self._undelivered)
        if count and not self._reported_undelivered:
            self._reported_undelivered = True
            self.notify(
                f"{count} runs in MLflow at {self.shown} lack something; all of it is kept in {self.folder} and is "
                "delivered when the same command runs again."
            )


def _winners(info: SweepInfo, rows: Sequence[Row]) -> dict[str, Row]:
    """The winner so far of each study that has one, by its key."""
    best = [winner([row for row in rows if row.study == study], info.maximise) for study in info.studies]
    return {row.key: row for row in best if row is not None}
