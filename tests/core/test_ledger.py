"""The table on disk: what was written comes back, whatever the last write met."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from platform.core.errors import UserError
from platform.core.events import TrialEnded, TrialReported, TrialStarted
from platform.core.ledger import FORMAT, Ledger
from platform.core.ledger_lines import seal
from platform.core.row import Row
from platform.core.spec import DataSettings, LabelSettings, TrainSettings, TrialSpec
from platform.sweepfile.schema import with_defaults

ROOT = Path(__file__).resolve().parents[2]
RESOLVED = {"name": "t", "train": {"steps": 10}, "budget": {"trials": 2, "studies": 1}}


def row(number: int = 0) -> Row:
    spec = TrialSpec(
        method="supervised",
        hyper={"model_ema": 0.9, "number": number},
        model="small_cnn",
        train=TrainSettings(steps=10),
        data=DataSettings(),
        labels=LabelSettings(),
        seeds={"order": 1, "search": 2},
    )
    return Row(spec.key, "supervised", "supervised/0", 0, number, {"model_ema": 0.9}, spec)


def filled(folder: Path) -> Row:
    ledger, trial = Ledger(folder, RESOLVED), row()
    ledger.handle(TrialStarted(trial))
    for evaluation in (1.0, 2.0):
        report = {"evaluation": evaluation, "score": evaluation / 10}
        trial.reports.append(report)
        ledger.handle(TrialReported(trial, report))
    trial.outcome, trial.score, trial.steps = "completed", 0.2, 10
    ledger.handle(TrialEnded(trial))
    ledger.close()
    return trial


def test_rows_come_back_as_they_were(tmp_path):
    trial = filled(tmp_path)
    assert Ledger(tmp_path, RESOLVED).rows == {trial.key: trial}


@pytest.mark.parametrize("torn", [b'{"event": "repor', b'{"event": "reported", "key": "x"}', b"\x00\x00\x00"])
def test_a_torn_last_line_is_cut_off_and_writing_goes_on(tmp_path, torn):
    trial = filled(tmp_path)
    with open(tmp_path / "ledger.jsonl", "ab") as file:
        file.write(torn)
    again = Ledger(tmp_path, RESOLVED)
    assert again.rows == {trial.key: trial}
    again.handle(TrialStarted(row(1)))
    again.close()
    assert len(Ledger(tmp_path, RESOLVED).rows) == 2
    assert all(json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines())


@pytest.mark.parametrize("cut", range(1, 400, 37))
def test_cut_anywhere_it_opens_with_a_prefix_of_the_rows(tmp_path, cut):
    trial = filled(tmp_path)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    rows = Ledger(tmp_path, RESOLVED).rows
    assert set(rows) <= {trial.key}
    if rows:
        assert rows[trial.key].reports == trial.reports[: len(rows[trial.key].reports)]


def test_other_settings_are_refused_with_the_difference(tmp_path):
    filled(tmp_path)
    with pytest.raises(UserError) as caught:
        Ledger(tmp_path, RESOLVED | {"train": {"steps": 20}})
    assert "train.steps: 10 -> 20" in str(caught.value) and "--fresh" in str(caught.value)


def test_a_larger_budget_continues_the_same_sweep(tmp_path):
    filled(tmp_path)
    assert len(Ledger(tmp_path, RESOLVED | {"budget": {"trials": 9, "studies": 2}}).rows) == 1


OLD_HEADER = """
{"event": "sweep", "format": 1, "resolved": {"name": "limit", "methods": ["supervised"], "data": {"source": "digits",
"limit": 300, "on_bad_image": "stop"}, "labels": {"per_class": 4, "total": null, "imbalance": 1.0, "noise": "none",
"rate": 0.0, "val": 0.1}, "model": "small_cnn", "train": {"steps": 12, "batch_size": 16, "lr": 0.03, "optimizer": "sgd",
"momentum": 0.9, "nesterov": true, "weight_decay": 0.0005, "schedule": "cosine_7_16", "warmup": 0, "evaluations": 4,
"eval_batch_size": 1024, "grad_clip": null, "amp": "auto", "channels_last": true, "compile": "auto", "diagnostics":
"cheap"}, "seed": 0, "seeds": {}, "fixed": {}, "search": {"train.lr": {"log_uniform": [0.001, 0.3]}}, "budget":
{"trials": 1, "studies": 2, "scheduler": "asha", "sampler": "tpe", "reduction_factor": 3, "grace": 1}, "select":
"noisy_val_accuracy", "resources": {"cpu": 1.0, "gpu": "auto", "concurrent": "auto", "retries": 2}, "tracking": "none"}}
"""
"""As version 0.1 wrote it for the file below."""

OLD_FILE = """
name: limit
methods: [supervised]
data: {source: digits, limit: 300}
labels: {per_class: 4}
train: {steps: 12, evaluations: 4, batch_size: 16}
search: {train.lr: {log_uniform: [1e-3, 0.3]}}
budget: {trials: 1, studies: 2}
tracking: none
"""


def test_a_folder_of_an_older_format_is_refused_in_words(tmp_path):
    (tmp_path / "ledger.jsonl").write_text(OLD_HEADER.replace("\n", " ").strip() + "\n")
    with pytest.raises(UserError, match="holds a sweep of an older version") as caught:
        Ledger(tmp_path, RESOLVED)
    assert "name=OTHER" in str(caught.value) and "--fresh" in str(caught.value)


def test_a_header_without_a_newer_setting_goes_on(tmp_path):
    """A setting that an old header does not have counts as its default: it is no change, another value is."""
    from platform import sweepfile

    header = json.loads(OLD_HEADER) | {"format": FORMAT}
    (tmp_path / "ledger.jsonl").write_text(seal(header).decode())
    (tmp_path / "limit.yaml").write_text(OLD_FILE)
    old = set(json.loads(OLD_HEADER)["resolved"]["budget"])
    sweep = sweepfile.load(tmp_path / "limit.yaml")
    assert set(sweep.resolved()["budget"]) >= old
    Ledger(tmp_path, sweep.resolved(), with_defaults).close()
    del header["resolved"]["train"]["momentum"], header["resolved"]["select"], header["resolved"]["labels"]
    (tmp_path / "ledger.jsonl").write_text(seal(header).decode())
    with pytest.raises(UserError, match=r"labels.per_class: None -> 4\n"):  # the default was not 4
        Ledger(tmp_path, sweep.resolved(), with_defaults)
    with pytest.raises(UserError, match="train.momentum: 0.9 -> 0.8") as caught:
        Ledger(tmp_path, sweepfile.load(tmp_path / "limit.yaml", ["train.momentum=0.8"]).resolved(), with_defaults)
    assert "select" not in str(caught.value)


@pytest.mark.parametrize("budget", [{"trials": 9}, {"studies": 3}, {"repeats": 2}, {"seconds": 60.0}])
def test_what_only_decides_how_many_rows_there_are_may_change(tmp_path, budget):
    filled(tmp_path)
    assert len(Ledger(tmp_path, RESOLVED | {"budget": RESOLVED["budget"] | budget}, with_defaults).rows) == 1
    with pytest.raises(UserError, match="budget.grace: 1 -> 2"):
        Ledger(tmp_path, RESOLVED | {"budget": {"grace": 2}}, with_defaults)


def test_another_format_is_refused(tmp_path):
    (tmp_path / "ledger.jsonl").write_text(json.dumps({"event": "sweep", "format": 99, "resolved": {}}) + "\n")
    with pytest.raises(UserError, match="format 99"):
        Ledger(tmp_path, RESOLVED)


def test_a_second_driver_is_refused_and_told_who_holds_it(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from platform.core.ledger import FORMAT, Ledger
ledger = Ledger(Path({str(tmp_path)!r}), {RESOLVED!r})
print("held", flush=True)
time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {holder.pid}"):
            Ledger(tmp_path, RESOLVED)
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    for _ in range(50):  # the kernel drops a dead process's lock
        try:
            Ledger(tmp_path, RESOLVED)
            break
        except UserError:
            time.sleep(0.1)
    else:
        pytest.fail("the lock outlived its holder")


@pytest.mark.parametrize("half", [b"", b'{"event": "sweep", "form'])
def test_a_header_that_was_never_whole_is_written_again(tmp_path, half):
    (tmp_path / "ledger.jsonl").write_bytes(half)
    ledger = Ledger(tmp_path, RESOLVED)
    ledger.handle(TrialStarted(row()))
    ledger.close()
    assert bool(ledger.repaired) == bool(half)
    assert set(Ledger(tmp_path, RESOLVED).rows) == {row().key}


def test_a_damaged_line_further_up_is_taken_out_and_a_copy_of_all_is_kept(tmp_path):
    trial = filled(tmp_path)
    path = tmp_path / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b"\x00" * (len(lines[3]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    ledger = Ledger(tmp_path, RESOLVED)
    assert ledger.rows[trial.key].outcome == "completed" and ledger.rows[trial.key].reports == trial.reports[:1]
    assert "ledger.jsonl:4: " in ledger.repaired and "ledger.damaged-1.jsonl" in ledger.repaired
    assert (tmp_path / "ledger.damaged-1.jsonl").read_bytes() == b"".join(lines)
    assert path.read_bytes() == b"".join([*lines[:3], lines[4]])
    with pytest.raises(UserError, match="another sweep is running"):  # the file in its place is locked, too
        Ledger(tmp_path, RESOLVED)
    ledger.close()
    assert not (again := Ledger(tmp_path, RESOLVED)).repaired and again.rows == ledger.rows


def test_a_damaged_header_over_rows_is_refused_and_nothing_is_lost(tmp_path):
    filled(tmp_path)
    path = tmp_path / "ledger.jsonl"
    damaged = b"#" + path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="first line of the ledger is damaged") as caught:
        Ledger(tmp_path, RESOLVED)
    assert "--fresh" in str(caught.value) and path.read_bytes() == damaged


def test_a_sweep_has_one_id_however_often_it_is_continued(tmp_path):
    (tmp_path / "other").mkdir()
    first = Ledger(tmp_path, RESOLVED)
    first.close()
    assert len(first.id) == 12 and Ledger(tmp_path, RESOLVED).id == first.id
    assert Ledger(tmp_path / "other", RESOLVED).id != first.id


def test_the_header_holds_no_login_and_a_sweep_goes_on_with_or_without_it(tmp_path: Path) -> None:
    def opened(tracking: str) -> Ledger:
        return Ledger(tmp_path, {"name": "x", "tracking": tracking})

    opened("http://me:hunter2@host:5000").close()
    assert b"hunter2" not in (tmp_path / "ledger.jsonl").read_bytes()
    for tracking in ("http://host:5000", "http://me:other@host:5000", "none"):
        ledger = opened(tracking)
        assert ledger.repaired == ""
        ledger.close()


def test_a_ledger_that_an_older_version_wrote_with_a_login_is_closed_to_others(tmp_path: Path) -> None:
    resolved = {"name": "x", "tracking": "http://me:hunter2@host:5000"}
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(seal({"event": "sweep", "format": FORMAT, "id": "a" * 12, "resolved": resolved}))
    path.chmod(0o644)
    ledger = Ledger(tmp_path, resolved)
    ledger.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "change the password" in ledger.repaired and "hunter2" not in ledger.repaired
