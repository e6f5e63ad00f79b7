"""A step in parts is the same step where a method says so, and is refused where it does not."""

import hashlib
import json
import math

import pytest
import torch

from platform.core.errors import UserError
from platform.core.registry import METHODS
from platform.training.accumulation import why_not
from platform.training.trial import Trial
from tests.methods.toy import ToyBatches, ToyModel, make_method
from tests.training.conftest import make_spec

ABLE = [name for name in METHODS.names() if vars(METHODS.get(name)).get("accumulates")]


def gradients(name: str, parts: int, norm: bool = False) -> tuple[list[torch.Tensor], dict[str, float]]:
    """The gradients and losses of one step of 8 labelled images after two warm-up steps in one."""
    method = make_method(name, model=ToyModel(norm=norm), **({"threshold": 0.5} if name in ("fixmatch", "uda") else {}))
    batches, still = ToyBatches(method, wrong=0.2), torch.optim.SGD(method.model.parameters(), lr=0.1)
    for step in range(40, 42):
        method.take_step(batches.next(step), still)
    method.accumulate = parts
    for group in still.param_groups:
        group["lr"] = 0.0
    terms = method.take_step(batches.next(42), still)
    return [p.grad for p in method.model.parameters()], {name: float(value.detach()) for name, value in terms.items()}


def test_the_methods_that_say_so():
    assert {"supervised", "fixmatch", "pseudo_label", "uda"} <= set(ABLE)
    assert not {"clid_mu", "layermatch", "flexmatch", "softmatch", "mixmatch", "dividemix"} & set(ABLE)


@pytest.mark.parametrize("parts", [2, 4, 8])
@pytest.mark.parametrize("name", ABLE)
def test_the_gradient_is_that_of_the_whole_batch(name, parts):
    whole, losses = gradients(name, 1)
    split, same = gradients(name, parts)
    assert any(g.abs().max() > 1e-3 for g in whole)
    for a, b in zip(whole, split, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
    assert losses.keys() == same.keys()
    assert all(math.isclose(losses[k], same[k], rel_tol=1e-9, abs_tol=1e-12) for k in losses)


def test_batch_normalisation_sees_the_parts():
    whole, _ = gradients("supervised", 1, norm=True)
    split, _ = gradients("supervised", 4, norm=True)
    assert any((a - b).abs().max() > 1e-6 for a, b in zip(whole, split, strict=True))


@pytest.mark.parametrize(
    ("name", "batch", "parts", "words"),
    [
        ("clid_mu", 8, 2, "looks at a batch as a whole"),
        ("flexmatch", 8, 2, "looks at a batch as a whole"),
        ("fixmatch", 6, 4, "6 labelled images of a step cannot be split in 4 equal parts"),
        ("fixmatch", 8, 4, ""),
        ("clid_mu", 8, 1, ""),
    ],
)
def test_who_is_refused(name, batch, parts, words):
    cls = METHODS.get(name)
    said = why_not(name, cls, cls.Hyper(), batch, parts)
    assert words in said and bool(said) == bool(words)


class Inherits(METHODS.get("fixmatch")):
    """A selector of its own, and not a word about accumulation."""


def test_it_is_not_inherited():
    assert "as a whole" in why_not("x", Inherits, Inherits.Hyper(), 8, 2)


def test_a_whole_trial_in_parts_and_one_that_is_refused(dataset, plan):
    spec = make_spec("fixmatch", steps=4, evaluations=2, batch_size=8, accumulate=4)
    trial = Trial(spec, dataset, plan, METHODS.get("fixmatch"))
    assert [report.step for report in trial.reports()] == [2, 4] and trial.outcome == "completed"
    assert Trial(spec, dataset, plan, METHODS.get("fixmatch"), accumulate=8).method.accumulate == 8
    with pytest.raises(UserError, match="train.accumulate: 'layermatch' looks at a batch as a whole"):
        Trial(make_spec("layermatch", accumulate=2), dataset, plan, METHODS.get("layermatch"))


def test_a_checkpoint_goes_on_in_more_parts(dataset, plan, tmp_path):
    cls = METHODS.get("supervised")
    trial = Trial(make_spec("supervised", batch_size=8), dataset, plan, cls)
    reports = trial.reports()
    next(reports)
    trial.save(tmp_path / "a.pt")
    again = Trial(make_spec("supervised", batch_size=8), dataset, plan, cls, accumulate=4)
    again.load(tmp_path / "a.pt")
    assert [report.step for report in again.reports()] == [8, 12]


def test_one_part_keeps_the_key_of_before():
    one, two = make_spec(accumulate=1), make_spec(accumulate=2)
    assert one.key == make_spec().key != two.key
    content = one.model_dump(mode="json")
    content["seeds"].pop("search")
    content["train"].pop("diagnostics")
    content["train"].pop("accumulate")
    content.pop("parent")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert one.key == hashlib.sha256(text.encode()).hexdigest()[:12]
