"""Hyper-parameters that act only at some values of others (`when`): where they do not act, they change no number."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

import pytest
import torch
from pydantic import ValidationError

from methods.base import Method, hyper
from platform.core.registry import METHODS
from platform.models import build
from tests.methods.test_clid_mu_meta import ToyImages
from tests.methods.toy import (
    CHANNELS,
    CLASSES,
    SIDE,
    ToyBatches,
    ToyModel,
    make_method,
    make_optimizer,
    make_setup,
    train,
)

CONDITIONAL = [name for name in METHODS.names() if METHODS.get(name).conditions()]
STEPS = 6

OTHERS: dict[str, Any] = {
    "layers": "features=2",
    "vri_lambda": 1.0,
    "normalise": "none",
    "reselect_epochs": 2,
    "meta_source": "unlabelled",
    "clip_threshold": 0.35,
    "ramp": 0.1,
    "gate_stages": 2,
    "gate_power": 1.0,
    "gate_threshold": 0.5,
    "threshold": 0.6,
    "uratio": 3,
    "labelled_weight": 5.0,
    "average_ema": 0.95,
    "temperature": 0.9,
    "meta_optimizer": "nesterov",
}
"""Another value than the default, where neither a choice nor the end of a search range is one that shows on the toy."""

FIXED: dict[str, dict[str, Any]] = {
    "layermatch": {"threshold": 0.4, "gate": 0.3, "centre_ramp": 0.0, "average_ema": 0.1, "selector_ema": 0.1},
    "clid_mu": {
        "meta_lr": 0.1,
        "warmup_epochs": 0,
        "meta_batch_size": 12,
        "meta_set_size": 30,
        **{f"{base}_threshold": 0.4 for base in ("fixmatch", "flexmatch", "uda", "layermatch")},
    },
}
"""Settings at which the toy's few steps depend on what is declared to act."""

NO_EFFECT = {
    "layers": "the toy names no stage, and one layer's weight cancels",
    "vri_lambda": "without effect on any number, as the release has it",
    "meta_source": "read by the platform, which draws the meta set",
}
SLOSS = ("ce_sloss", "mae_sloss")


def trained(name: str, values: dict[str, Any]) -> list[torch.Tensor]:
    """The parameters of a method after some steps; of a network with stages where the gate blocks stages."""
    cls = METHODS.get(name)
    settings = cls.Hyper(**values)
    setup = make_setup()
    if values.get("meta_goal") in SLOSS:
        images = ToyImages(ToyBatches(make_method("supervised"), wrong=0.3))
        counts = tuple(int((images.y == k).sum()) for k in range(CLASSES))
        setup = dataclasses.replace(setup, labelled_images=images, label_counts=counts)
    staged = "stages" in (values.get("gate_mode"), values.get("layermatch_gate_mode"))
    model = build("small_cnn", (CHANNELS, SIDE, SIDE), CLASSES, seed=0).double() if staged else ToyModel()
    method = cls(model, settings, setup).train()
    train(method, ToyBatches(method, wrong=0.3), make_optimizer(method.model), last=STEPS)
    return [p.detach() for p in (*method.parameters(), *method.eval_model.parameters())]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(p, q) for p, q in zip(one, other, strict=True))


def acts(cls: type[Method], key: str, values: dict[str, Any]) -> bool:
    """Whether a hyper-parameter's condition holds, and those of what it depends on."""
    at = {name: values.get(name, info.default) for name, info in cls.Hyper.model_fields.items()}
    return all(at[other] in valid and acts(cls, other, values) for other, valid in cls.conditions().get(key, ()))


def other_value(cls: type[Method], key: str, state: dict[str, Any]) -> Any:
    """A value that is not the one of `state` or, where that names none, the default."""
    info, short = cls.Hyper.model_fields[key], key
    now = state.get(key, info.default)
    for base in ("layermatch", "fixmatch", "flexmatch", "uda", "mixup"):
        short = short.removeprefix(f"{base}_")
    if short in OTHERS:
        return OTHERS[short]
    if choices := get_args(info.annotation):
        return next(value for value in choices if value != now)
    if info.annotation is bool:
        return not now
    return next(value for value in cls.search_ranges()[key].arguments if value != now)


def deciders(cls: type[Method]) -> list[tuple[str, Any]]:
    """Each value of each hyper-parameter that others depend on."""
    names = dict.fromkeys(other for condition in cls.conditions().values() for other, _ in condition)
    return [(name, value) for name in names for value in get_args(cls.Hyper.model_fields[name].annotation)]


STATES = [(name, *state) for name in CONDITIONAL for state in deciders(METHODS.get(name))]


@pytest.mark.parametrize(("name", "decider", "value"), STATES)
def test_what_does_not_act_changes_nothing(name: str, decider: str, value: Any):
    """In each state all that does not act gets other values at once."""
    cls = METHODS.get(name)
    state = {**FIXED[name], decider: value}
    for other, valid in cls.conditions().get(decider, ()):
        state[other] = valid[0]
    idle = [key for key in cls.conditions() if not acts(cls, key, state)]
    assert idle, "a condition holds nowhere"
    changed = {key: other_value(cls, key, state) for key in idle if key != "meta_source"}
    before, after = cls.Hyper(**state), cls.Hyper(**{**state, **changed})
    assert not [key for key in changed if getattr(before, key) == getattr(after, key)]
    if "meta_source" in idle:  # it is refused there, which is as good as without effect
        with pytest.raises(ValidationError, match="meta_source"):
            cls.Hyper(**{**state, "meta_source": other_value(cls, "meta_source", state)})
    assert same(trained(name, state), trained(name, {**state, **changed})), sorted(changed)


OWN = [
    (name, key)
    for name in CONDITIONAL
    for key, condition in METHODS.get(name).conditions().items()
    if condition[0][0] != "base" and key not in NO_EFFECT
]


@pytest.mark.parametrize(("name", "key"), OWN)
def test_what_acts_changes_the_training(name: str, key: str):
    cls, state = METHODS.get(name), dict(FIXED[name])
    ahead = [key]
    while ahead:
        for other, valid in cls.conditions().get(ahead.pop(), ()):
            state[other] = valid[0]
            ahead.append(other)
    assert acts(cls, key, state)
    assert not same(trained(name, state), trained(name, {**state, key: other_value(cls, key, state)}))


def test_each_base_of_clid_mu_acts_where_it_is_the_base():
    conditions = METHODS.get("clid_mu").conditions()
    layermatch = METHODS.get("layermatch").conditions()
    assert conditions["mixup_alpha"] == (("base", ("mixup",)),)
    for key, condition in layermatch.items():
        expected = tuple((f"layermatch_{other}", values) for other, values in condition)
        assert conditions[f"layermatch_{key}"] == (("base", ("layermatch",)), *expected)
    assert METHODS.get("supervised").conditions() == {}


# -- what is refused where a method is declared ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"mood": "a"}, "depth: when: no such hyper-parameter: 'mood'; valid: model_ema, mode, depth"),
        ({"mode": "c"}, "depth: when: mode cannot be 'c'"),
        ({"mode": ("a", "c")}, "depth: when: mode cannot be 'c'"),
        ({"mode": True}, "depth: when: mode cannot be True"),
        ({"model_ema": 1.5}, "depth: when: model_ema cannot be 1.5"),
        ({"model_ema": "off"}, "depth: when: model_ema cannot be 'off'"),
        ({"depth": 2}, "depth: when: a circle"),
        ({"width": 2}, "depth: when: a circle: it depends on itself, through depth, width"),
    ],
)
def test_a_condition_that_cannot_hold_is_refused(when: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):

        class Wrong(Method):
            class Hyper(Method.Hyper):
                mode: Literal["a", "b"] = hyper("a", help="")
                depth: int = hyper(1, help="", when=when)
                width: int = hyper(1, help="", when={"depth": 1})


def test_conditions_are_declared_beside_the_default():
    class Right(Method):
        class Hyper(Method.Hyper):
            mode: Literal["a", "b", "c"] = hyper("a", help="")
            depth: int = hyper(1, help="", when={"mode": ("a", "b")}, ge=1)
            width: int = hyper(1, help="", when={"depth": 2, "model_ema": 0.0})

    assert Right.conditions() == {
        "depth": (("mode", ("a", "b")),),
        "width": (("depth", (2,)), ("model_ema", (0.0,))),
    }
    schema = Right.Hyper.model_json_schema()
    assert schema["properties"]["width"]["when"] == [["depth", [2]], ["model_ema", [0.0]]]
