"""Exponential moving averages: their weights by hand, and that two decays act differently at every length."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from methods.layermatch import LayerMatch
from methods.parts.centres import Centres
from methods.parts.ema import ModelEMA, automatic_decay, newest_weight
from methods.parts.selectors import make_selector
from methods.supervised import Supervised
from platform.sweepfile import load
from tests.methods.toy import ToyBatches, ToyModel, make_method, make_optimizer, make_setup, train

CPU = torch.device("cpu")
FILES = sorted(Path("search_spaces").rglob("*.yaml"))


def averaged(decay: float, values: np.ndarray) -> float:
    """The definition: weights decay^age, normalised."""
    weights = decay ** np.arange(len(values))[::-1]
    return float((weights * values).sum() / weights.sum())


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999, 0.9999])
def test_the_average_of_weights_is_its_definition(decay: float) -> None:
    model, values = nn.Linear(1, 1, bias=False).double(), np.random.default_rng(0).normal(size=40)
    ema = ModelEMA(model, decay)
    for t, value in enumerate(values, start=1):
        model.weight.data.fill_(value)
        ema.update(model)
        assert ema.module.weight.item() == pytest.approx(averaged(decay, values[:t]), rel=1e-9, abs=1e-12)


def test_weights_by_hand() -> None:
    """d = 1/2: 1, 1/2 of 3/4, 1/2 of 7/8."""
    assert [newest_weight(0.5, t) for t in (1, 2, 3)] == pytest.approx([1, 2 / 3, 4 / 7])
    assert newest_weight(0.0, 1) == newest_weight(0.0, 9) == 1
    found = newest_weight(0.999, torch.tensor([1.0, 2.0, 1e6]))
    torch.testing.assert_close(found, torch.tensor([1.0, 1 / 1.999, 1e-3]))


def test_the_published_ramp_of_mean_teacher_is_nearly_the_same() -> None:
    """Its code: 1 - min(1 - 1 / (t + 1), d). Of random weights at first 1/(t + 1) is left, then nothing."""
    for t in (1, 10, 100, 1000, 5000):
        assert abs(newest_weight(0.999, t) - max(1 / (t + 1), 0.001)) < 1 / t


def test_a_decay_that_is_not_given() -> None:
    assert automatic_decay(1_000_000) == automatic_decay(10_000) == 0.999
    assert automatic_decay(600) == pytest.approx(1 - 1 / 60) and automatic_decay(1) == 0
    assert Supervised.Hyper().model_ema is None
    assert make_method("supervised", steps=300).ema.decay == pytest.approx(1 - 1 / 30)
    assert make_method("supervised", steps=300, model_ema=0.9999).ema.decay == 0.9999
    assert make_method("co_teaching", steps=300).second.ema.decay == pytest.approx(1 - 1 / 30)


def test_layermatchs_further_averages_follow_model_ema_where_not_given() -> None:
    given = LayerMatch.resolve(LayerMatch.Hyper(average_ema=0.5), 300)
    assert (given.average_ema, given.model_ema) == (0.5, automatic_decay(300))
    assert LayerMatch.resolve(LayerMatch.Hyper(model_ema=0.7), 300).average_ema == 0.7
    assert not hasattr(
        make_method("layermatch", centre_mode="teacher"), "teacher"
    )  # one network, not two that are equal


def test_two_decays_give_two_models_in_a_short_run() -> None:
    """They were one value for the first 890 steps: capped by (1 + t) / (10 + t)."""
    models = []
    for decay in (0.99, 0.999, 0.9999):
        method = make_method("supervised", model_ema=decay)
        train(method, ToyBatches(method, wrong=0.3), make_optimizer(method.model), last=40)
        models.append(torch.cat([p.flatten() for p in method.eval_model.parameters()]))
    assert (models[0] - models[1]).norm() > 1e-3 * models[0].norm()
    assert (models[1] - models[2]).norm() > 1e-4 * models[0].norm()


def test_a_centre_is_the_average_of_its_class_from_the_first_mean_on() -> None:
    means = np.random.default_rng(1).normal(size=(30, 4))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    centres = Centres(2, 4, 0.99, CPU, torch.float64)
    for mean in means:
        one = torch.ones(1, dtype=torch.float64)
        centres.update(*centres.gather(torch.from_numpy(mean[None]), torch.tensor([1]), one))
    expected = [averaged(0.99, means[:, k]) for k in range(4)]
    np.testing.assert_allclose(centres.centres[1].numpy(), expected, rtol=1e-9)


# -- every shipped sweep file ------------------------------------------------------------------------------------------


PER_VISIT = {("elr", "beta"), ("elr_plus", "beta")}
"""Averages of an image's predictions, from 0 and without correction: they move once in a pass over the images."""

LABELLED_DIGITS = 1797 * 8 // 10 * 9 // 10
"""The training images of digits without the validation part."""


def searched() -> Iterator[Any]:
    """Each EMA that a shipped file searches: the method, the key, its range and the number of its updates there."""
    for file in FILES:
        for study in load(file).studies():
            if study.index == 0:
                for key, entry in study.space.items():
                    name, train = study.method.name, study.base.train
                    visits = (name, key) in PER_VISIT
                    if key.endswith("_ema") or visits:
                        place = file.relative_to("search_spaces").as_posix()
                        steps = train.steps * train.batch_size // LABELLED_DIGITS if visits else train.steps
                        yield pytest.param(name, key, entry.range, steps, id=f"{place}-{name}-{key}")


SEARCHED = list(searched())


def path(steps: int) -> list[float]:
    """A parameter that moves from 1 to 0, with noise."""
    return [1 - s / steps + 0.1 * math.sin(1.7 * s) for s in range(steps)]


def end_of(name: str, key: str, decay: float, steps: int) -> torch.Tensor:
    """What the average is after a run of that length, by the class that keeps it."""
    if key.startswith("selector"):
        selector = make_selector(name, make_setup(), type("Hyper", (), {"selector_ema": decay})())
        state = "tau" if name == "freematch" else "mu"
        for value in path(steps):
            confidence = 1 / 3 + (1 - min(1.0, max(0.0, value))) * 2 / 3  # grows towards 1
            rest = (1 - confidence) / 2
            selector(torch.tensor([[confidence, rest, rest]]), torch.zeros(1, dtype=torch.long))
        return getattr(selector, state)
    if key.startswith("centre") and steps <= 2000:
        centres = Centres(1, 2, decay, CPU, torch.float32)
        for value in path(steps):
            unit = torch.tensor([[math.cos(value), math.sin(value)]])
            centres.update(*centres.gather(unit, torch.zeros(1, dtype=torch.long), torch.ones(1)))
        return centres.centres[0, 1]
    average = 0.0
    if (name, key) in PER_VISIT:
        for value in path(steps):
            average = decay * average + (1 - decay) * value
        return torch.tensor(average)
    for t, value in enumerate(path(steps), start=1):  # the recursion of ModelEMA and Centres
        average += newest_weight(decay, t) * (value - average)
    if steps <= 2000:
        model = nn.Linear(1, 1, bias=False)
        ema = ModelEMA(model, decay)
        for value in path(steps):
            model.weight.data.fill_(value)
            ema.update(model)
        assert ema.module.weight.item() == pytest.approx(average, rel=1e-3, abs=1e-5)
    return torch.tensor(average)


def test_the_shipped_files_search_averages() -> None:
    assert {key for name, key, *_ in (p.values for p in SEARCHED)} >= {
        "model_ema",
        "selector_ema",
        "centre_ema",
        "beta",
    }


@pytest.mark.parametrize(("name", "key", "range_", "steps"), SEARCHED)
def test_the_ends_and_the_middle_of_a_searched_average_differ(name: str, key: str, range_: Any, steps: int) -> None:
    """Of values that span 1: by more than what a hundred steps of 100,000 change, and half of it to the middle."""
    low, middle, high = (
        end_of(name, key, decay, steps) for decay in (range_.low, (range_.low + range_.high) / 2, range_.high)
    )
    for one, other in ((low, middle), (middle, high), (low, high)):
        assert (one - other).abs() > 5e-4


def test_the_toy_has_no_hidden_average() -> None:
    """What end_of stands for: methods keep their averages by these classes alone."""
    method = make_method("layermatch", centre_mode="attract_rows", average_ema=0.9, model=ToyModel())
    assert type(method.rows) is type(method.ema) is ModelEMA and type(method.centres) is Centres
