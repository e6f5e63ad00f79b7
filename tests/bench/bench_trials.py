"""What does a trial cost beside its training? Claims: warm start <= 100 ms, everything else <= 300 ms.

    python -m tests.bench.bench_trials [--trials N]

The same trial (2 steps on 60 digits, one evaluation) is run by four machines, one after the other, each in a process of
its own: by a sweep (one slot, TPE, ASHA, ledger, MLflow in sqlite: as the defaults are), by tune.Tuner over a function
as one writes it first, by the same with reused actors, and by an Optuna loop without Ray. Overhead is the time from the
first step of a trial to the first step of the next, less the time it trained and evaluated. Of a sweep's, the warm
start is what lies between the end of a trial in the worker, checkpoint written, and the first step of the next one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from platform.report.provenance import provenance, sentence

ROOT = Path(__file__).parents[2]
SKIP = 3  # trials at the beginning of each that still import and fill caches

PLUGIN = '''"""Supervised, with a line in a file when a trial makes its first step and when the worker has ended it."""
import importlib
import os
import time

from torch.nn.functional import cross_entropy

from methods.base import Method, Terms


def write(what, seconds=0.0):
    with open(os.environ["MARKS"], "a") as marks:
        marks.write(f"{what} {time.monotonic()} {seconds}\\n")


class Marked(Method):
    """Cross-entropy on the labelled images."""

    def loss(self, batch):
        if batch.step == 0:
            write("first")
        return Terms(labelled=cross_entropy(self.model(batch.labelled.x), batch.labelled.y))


checkpoint = importlib.import_module("platform.training.checkpoint")
if not hasattr(checkpoint, "unmarked"):
    checkpoint.unmarked = checkpoint.write

    def marked(path, key, content):
        checkpoint.unmarked(path, key, content)
        if content["outcome"]:
            write("ended", content["seconds"])

    checkpoint.write = marked
'''

SPACE = """
name: bench
methods: [./marked.py]
data: {{source: digits, limit: 60}}
labels: {{per_class: 2}}
train: {{steps: 2, evaluations: 1, batch_size: 8}}
search:
  train.lr: {{log_uniform: [1e-3, 0.3]}}
  model_ema: {{uniform: [0.9, 0.999]}}
budget: {{trials: {trials}}}
resources: {{concurrent: 1}}
tracking: sqlite:///{folder}/mlflow.db
"""

PLAIN = """
import os, sys, time
sys.path.insert(0, {root!r})
os.chdir({root!r})
from pathlib import Path
import methods
from platform import sweepfile
from platform.data import open_dataset
from platform.data.label_plan import make_plan
from platform.training.trial import Trial

LOADED = {{}}

def train(lr, ema):
    if not LOADED:
        study = sweepfile.load({space!r}).studies()[0]
        data = open_dataset(study.base.data, study.seeds["data"])
        LOADED.update(study=study, data=data, plan=make_plan(data, study.base.labels, study.seeds))
    study = LOADED["study"]
    spec = study.resolve({{"train.lr": lr, "model_ema": ema}})
    trial = Trial(spec, LOADED["data"], LOADED["plan"], study.method.cls)
    for report in trial.reports():
        yield report
    study.method.cls.loss.__globals__["write"]("ended", trial.seconds)
"""

TUNE = """
from ray import tune

def trainable(config):
    for report in train(config["lr"], config["ema"]):
        tune.report({{"score": report.metrics["noisy_val_accuracy"]}})

tune.Tuner(
    tune.with_resources(trainable, {{"cpu": 1}}),
    param_space={{"lr": tune.loguniform(1e-3, 0.3), "ema": tune.uniform(0.9, 0.999)}},
    tune_config=tune.TuneConfig(num_samples={trials}, max_concurrent_trials=1, reuse_actors={reuse}),
    run_config=tune.RunConfig(storage_path={folder!r}, verbose=0),
).fit()
"""

OPTUNA = """
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)

def objective(trial):
    lr, ema = trial.suggest_float("lr", 1e-3, 0.3, log=True), trial.suggest_float("ema", 0.9, 0.999)
    return [report.metrics["noisy_val_accuracy"] for report in train(lr, ema)][-1]

optuna.create_study(direction="maximize").optimize(objective, n_trials={trials})
"""


def run(case: str, trials: int) -> list[tuple[str, float, float]]:
    """What was marked: (first or ended, monotonic seconds, seconds trained)."""
    with tempfile.TemporaryDirectory(prefix="kurabe-") as name:
        folder = Path(name)
        space = folder / "bench.yaml"
        (folder / "marked.py").write_text(PLUGIN)
        space.write_text(SPACE.format(trials=trials, folder=folder))
        words = ["-m", "platform.sweep", str(space), "--results", str(folder / "results")]
        if case != "sweep":
            text = PLAIN + (OPTUNA if case == "optuna" else TUNE)
            settings = {"reuse": case == "tune, reused", "trials": trials, "folder": name, "space": str(space)}
            (folder / "plain.py").write_text(text.format(root=str(ROOT), **settings))
            words = [str(folder / "plain.py")]
        # The package before the standard module, in Ray's workers too.
        environment = {"MARKS": str(folder / "marks"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment |= {"RAY_USAGE_STATS_ENABLED": "0"}
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{case}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
        return read_marks(folder / "marks")


def read_marks(path: Path) -> list[tuple[str, float, float]]:
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(what, float(at), float(seconds)) for what, at, seconds in lines]


def overheads(marks: list[tuple[str, float, float]]) -> dict[str, list[float]]:
    """Milliseconds per trial: all of it, the warm start, the rest."""
    found: dict[str, list[float]] = {"all": [], "start": [], "rest": []}
    pairs = list(zip(marks[::2], marks[1::2], strict=True))
    assert all((a[0], b[0]) == ("first", "ended") for a, b in pairs), "trials overlap"
    for (begin, end), (following, _) in zip(pairs[SKIP:], pairs[SKIP + 1 :], strict=False):
        found["all"].append(1000 * (following[1] - begin[1] - end[2]))
        found["start"].append(1000 * (following[1] - end[1]))
        found["rest"].append(found["all"][-1] - found["start"][-1])
    return found


def quartiles(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"median {middle:7.1f} ms   quartiles {low:.1f} to {high:.1f}   n = {len(values)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    trials = parser.parse_args().trials
    found: dict[str, dict[str, list[float]]] = {}
    for case in ("sweep", "optuna", "tune, reused", "tune"):
        found[case] = overheads(run(case, max(SKIP + 5, trials // 3) if case == "tune" else trials))
        print(f"{case:13} {quartiles(found[case]['all'])}", flush=True)
    for part in ("start", "rest"):
        print(f"sweep, {part:6} {quartiles(found['sweep'][part])}")
    ours = statistics.median(found["sweep"]["all"])
    for case in ("optuna", "tune, reused", "tune"):
        print(f"sweep / {case}: {ours / statistics.median(found[case]['all']):.2f}")
    print(f"load average {os.getloadavg()[0]:.1f}; {sentence(provenance())}")
    if path := os.environ.get("BENCH_JSON"):
        Path(path).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
