"""Weight-decay groups, and the optimisers' arithmetic against formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from platform.core.spec import TrainSettings
from platform.models import build
from platform.training.optimisers import make_optimizer


def settings(**values: Any) -> TrainSettings:
    return TrainSettings.model_validate(values)


def test_no_decay_on_biases_and_normalisation():
    model = build("small_cnn", (1, 8, 8), 10, seed=0)
    decayed, spared = make_optimizer(model, settings(weight_decay=0.1)).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert decayed["weight_decay"] == 0.1 and spared["weight_decay"] == 0
    weights = {"stem.0.weight", "stage1.1.weight", "stage2.1.weight", "head.weight"}
    assert {names[id(p)] for p in decayed["params"]} == weights
    assert {names[id(p)] for p in spared["params"]} == set(names.values()) - weights


def test_a_model_may_spare_parameters_by_name():
    class Token(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.weight = nn.Parameter(torch.ones(1, 1, 4)), nn.Parameter(torch.ones(4, 4))

        def no_weight_decay(self) -> set[str]:
            return {"token"}

    model = Token()
    decayed, spared = make_optimizer(model, settings()).param_groups
    assert decayed["params"] == [model.weight] and spared["params"] == [model.token]


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_is_its_formula(nesterov: bool):
    """g = grad + wd w; v <- mu v + g; w <- w - lr (g + mu v) with Nesterov, else w - lr v."""
    layer = nn.Linear(3, 2, bias=False)
    train = settings(lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.01)
    optimizer = make_optimizer(layer, train)
    weight, velocity = layer.weight.detach().clone(), torch.zeros(2, 3)
    for _ in range(3):
        optimizer.zero_grad()
        (layer.weight**3).sum().backward()
        optimizer.step()
        g = 3 * weight**2 + 0.01 * weight
        velocity = 0.9 * velocity + g
        weight = weight - 0.1 * (g + 0.9 * velocity if nesterov else velocity)
    torch.testing.assert_close(layer.weight.detach(), weight)


def test_no_momentum_means_no_nesterov():
    assert make_optimizer(nn.Linear(2, 2), settings(momentum=0.0)).param_groups[0]["nesterov"] is False


def test_adamw():
    optimizer = make_optimizer(nn.Linear(2, 2), settings(optimizer="adamw", lr=0.01))
    assert isinstance(optimizer, torch.optim.AdamW) and optimizer.param_groups[0]["lr"] == 0.01


def test_adam_adds_its_decay_to_the_gradient():
    """First step: g = grad + wd w, w <- w - lr g / (|g| + eps)."""
    layer = nn.Linear(3, 2, bias=False).double()
    optimizer = make_optimizer(layer, settings(optimizer="adam", lr=0.01, weight_decay=0.5))
    assert type(optimizer) is torch.optim.Adam
    weight = layer.weight.detach().clone()
    layer.weight.square().sum().backward()
    optimizer.step()
    g = 2 * weight + 0.5 * weight
    torch.testing.assert_close(layer.weight.detach(), weight - 0.01 * g / (g.abs() + 1e-8))


def test_all_parameters_decay_where_asked():
    model = build("small_cnn", (1, 8, 8), 10, seed=0)
    (group,) = make_optimizer(model, settings(weight_decay=0.1, decayed="all")).param_groups
    assert group["weight_decay"] == 0.1 and len(group["params"]) == len(list(model.parameters()))
