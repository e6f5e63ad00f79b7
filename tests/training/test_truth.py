"""An oracle learns from true labels; where there are none it refuses, in words, and everything else goes on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from methods.oracle import Oracle
from methods.supervised import Supervised
from platform.core.errors import UserError
from platform.core.registry import METHODS
from platform.training.trial import Trial
from tests.training.conftest import make_spec


@pytest.mark.parametrize("known", ["no array", "only -1", "unlabelled images alone"])
def test_an_oracle_without_truth_is_refused(dataset, plan, known):
    true = np.where(np.isin(np.arange(len(plan.true)), plan.labelled), -1, plan.true)
    true = {"no array": None, "only -1": np.full_like(plan.true, -1), "unlabelled images alone": true}[known]
    blind = dataclasses.replace(plan, true=true)
    with pytest.raises(UserError, match="'oracle' learns from true labels") as caught:
        Trial(make_spec("oracle"), dataset, blind, Oracle)
    assert caught.value.problems[0].key == "methods"
    Trial(make_spec("supervised"), dataset, blind, Supervised)
    Trial(make_spec("oracle"), dataset, plan, Oracle)


def test_the_oracle_among_meta_objectives_too(dataset, plan):
    found = METHODS.get("clid_mu")
    few = {"meta_batch_size": 8}

    def trial(goal: str, known: bool) -> Trial:
        hyper = found.Hyper(meta_goal=goal, **few).model_dump()
        seen = plan if known else dataclasses.replace(plan, true=None)
        return Trial(make_spec("clid_mu", hyper=hyper), dataset, seen, found)

    with pytest.raises(UserError, match="'clid_mu' learns from true labels"):
        trial("ce", known=False)
    trial("ce", known=True)
    trial("clid", known=False)
