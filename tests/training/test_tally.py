"""Running means of the loss terms."""

from __future__ import annotations

import math

import pytest
import torch

from methods.base import Terms
from platform.training.tally import Tally


def terms(**values: float) -> Terms:
    return Terms({name: torch.tensor(value) for name, value in values.items()})


def test_means_and_a_new_start():
    tally = Tally(torch.device("cpu"))
    tally.add(terms(a=1.0, b=2.0), 8)
    tally.add(terms(a=3.0, b=4.0), 8)
    assert tally.images == 16
    assert tally.read() == ({"train_loss": 5.0, "loss/a": 2.0, "loss/b": 3.0}, False)
    metrics, _ = tally.read()
    assert math.isnan(metrics["train_loss"]) and tally.images == 0


def test_terms_may_come_and_go():
    """train_loss is per step; a term's mean is over the steps that had it."""
    tally = Tally(torch.device("cpu"))
    for step in (terms(a=1.0), terms(b=10.0, a=3.0), terms(a=2.0)):
        tally.add(step, 1)
    metrics, _ = tally.read()
    assert metrics == pytest.approx({"train_loss": 16 / 3, "loss/a": 2.0, "loss/b": 10.0})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_bad_step_is_flagged_and_left_out(bad: float):
    tally = Tally(torch.device("cpu"))
    tally.add(terms(a=1.0, b=1.0), 1)
    assert not tally.diverged()
    tally.add(terms(a=bad, b=100.0), 1)
    assert tally.diverged()
    assert tally.read() == ({"train_loss": 2.0, "loss/a": 1.0, "loss/b": 1.0}, True)


def test_state_round_trip():
    one, two = Tally(torch.device("cpu")), Tally(torch.device("cpu"))
    one.add(terms(a=1.0), 4)
    two.load_state_dict(one.state_dict())
    one.add(terms(a=9.0), 4)
    two.add(terms(a=3.0), 4)
    assert two.read()[0]["loss/a"] == 2.0
