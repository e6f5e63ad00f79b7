"""What holds for each method of the folder: the conformance suite, and the contract's own pieces."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from methods.base import Terms
from platform.conformance import CHECKS, Subject, run
from platform.core.registry import METHODS
from tests.methods.toy import ToyBatches, ToyModel, make_method, make_optimizer, train

NAMES = METHODS.names()
QUICK = [name for name, check in CHECKS.items() if check.quick]


def test_the_methods_of_the_first_release_are_there():
    assert {"supervised", "pseudo_label", "mixup", "fixmatch", "layermatch", "clid_mu"} <= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("check", QUICK)
@pytest.mark.parametrize("name", NAMES)
def test_it_conforms(name, check):
    result = run(check, Subject.of(name))
    assert result.status in ("ok", "skipped"), f"{result.message}\n-> {result.advice}"


@pytest.mark.slow
@pytest.mark.parametrize("check", [check for check in CHECKS if check not in QUICK])
@pytest.mark.parametrize("name", NAMES)
def test_it_conforms_in_whole_trials(name, check):
    test_it_conforms(name, check)


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision(name):
    method = make_method(name, model=ToyModel(dtype=torch.float32))
    method.setup = dataclasses.replace(method.setup, amp=True)
    losses = train(method, ToyBatches(method), make_optimizer(method.model), last=3)
    assert all(math.isfinite(v) for step in losses for v in step.values())


def test_unknown_truth_gives_nan_not_a_wrong_number():
    method = make_method("fixmatch", threshold=0.0)
    batches = ToyBatches(method)
    batches.true.fill_(-1)
    train(method, batches, make_optimizer(method.model), last=2)
    records = method.read_records()
    assert math.isnan(records["pseudo_label_accuracy"]) and records["mask_rate"] == 1.0
    assert method.read_records() == {}


def test_ratios_are_of_sums_not_means_of_ratios():
    method = make_method("supervised")
    method.record_ratio(share=(torch.tensor(1.0), torch.tensor(1.0)))
    method.record_ratio(share=(torch.tensor(0.0), torch.tensor(3.0)))
    method.record_ratio(share=(torch.tensor(0.0), torch.tensor(0.0)))
    method.record(mean=torch.tensor(2.0))
    assert method.read_records() == {"share": 0.25, "mean": 2.0}


def test_total_keeps_double_precision():
    value = torch.tensor(1.0 + 2.0**-40, dtype=torch.float64)
    assert Terms(a=value).total() == value
    assert Terms(a=torch.tensor(1.0, dtype=torch.bfloat16)).total().dtype == torch.float32


def test_a_stream_that_was_not_asked_for_is_named():
    method = make_method("supervised")
    with pytest.raises(LookupError, match="no unlabelled images"):
        ToyBatches(method).next(0).stream("unlabelled")
