"""A whole sweep with `gpu: auto` on a machine whose one GPU is pretended."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from platform.core.accelerator import PRETENDED
from tests.pretend import backend
from tests.runner.door import sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

METHOD = Path(__file__).with_name("pretended_supervised.py")
SPACE = f"""
name: pretended
methods: [{METHOD}]
data: {{source: digits, limit: 200}}
labels: {{per_class: 2}}
train: {{steps: 20, evaluations: 2}}
search: {{train.lr: {{log_uniform: [0.01, 0.3]}}}}
budget: {{trials: 3, studies: 1, scheduler: none}}
resources: {{cpu: 1, gpu: auto}}
tracking: none
"""
GPU = {PRETENDED: backend.NAME, "RAY_OVERRIDE_RESOURCES": json.dumps({"GPU": 1})}


def test_it_runs_to_its_end_one_trial_at_a_time_on_the_gpu(tmp_path):
    space = tmp_path / "pretended.yaml"
    space.write_text(SPACE)
    done = sweep(space, "--results", tmp_path / "r", **GPU)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pd.read_csv(tmp_path / "r" / "pretended" / "trials.csv")
    assert list(rows["outcome"]) == ["completed"] * 3, done.stdout
    assert rows["test_accuracy"].between(0, 1).all()
