"""The pretended device is to torch what a GPU is: data of its own, no mixing, copies that are seen; and it computes
what the CPU computes."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import platform.core.accelerator as accelerator
from methods.base import Terms
from platform.training.tally import Tally
from tests.pretend import backend, generators, watch

pytestmark = pytest.mark.slow

NAME = backend.NAME


def views_share_their_data() -> None:
    x = torch.arange(6.0).to(NAME).view(2, 3)
    x.t()[1] += 10
    x[:, 0].mul_(2)
    assert x.cpu().tolist() == [[0, 11, 2], [6, 14, 5]]
    assert x.detach().add_(1)[0, 0] == x[0, 0] and x.t().is_contiguous() is False


def copies_do_not() -> None:
    norm = nn.BatchNorm1d(2).to(NAME)
    other = copy.deepcopy(norm)
    norm(torch.randn(5, 2, device=NAME))
    assert other.running_mean.abs().sum() == 0 and norm.running_mean.abs().sum() > 0
    assert isinstance(other.weight, nn.Parameter) and other.weight.device.type == NAME


def files_keep_data_and_views() -> None:
    x = torch.arange(6.0).to(NAME).view(2, 3)
    for place in (NAME, "cpu"):
        file = io.BytesIO()
        torch.save({"x": x, "column": x[:, 1]}, file)
        file.seek(0)
        found = torch.load(file, map_location=place, weights_only=True)
        assert found["x"].device.type == place and found["x"].cpu().equal(x.cpu())
        found["x"].add_(1)
        assert found["column"].tolist() == [2, 5]


def a_network_and_its_gradients_are_those_of_the_cpu() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, bias=True), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2))
    one = nn.Sequential(*body, nn.Flatten(), nn.Linear(16, 3))
    two = copy.deepcopy(one).to(NAME)
    x, y = torch.randn(5, 3, 9, 9), torch.tensor([0, 1, 2, 1, 0])
    losses = [F.cross_entropy(net(x.to(place)), y.to(place)) for net, place in ((one, "cpu"), (two, NAME))]
    for loss in losses:
        loss.backward()
    assert losses[0].equal(losses[1].cpu())
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None and p.grad.equal(q.grad.cpu())


def generators_are_told_apart_and_draw_what_those_of_the_cpu_draw() -> None:
    ours, of_cpu = (torch.Generator(place).manual_seed(3) for place in (NAME, "cpu"))
    assert isinstance(ours, torch.Generator) and ours.device.type == NAME
    drawn = torch.randperm(9, generator=ours, device=NAME).cpu()
    assert drawn.equal(torch.randperm(9, generator=of_cpu))
    with pytest.raises(RuntimeError, match="state size"):
        of_cpu.set_state(ours.get_state())
    with pytest.raises(RuntimeError, match="wrong size"):
        ours.set_state(of_cpu.get_state())
    with pytest.raises(generators.WrongGenerator, match=r"test_pretended_device.py:\d+: aten.normal_"):
        torch.randn(3, device=NAME, generator=of_cpu)


def its_global_generator_is_its_own() -> None:
    cpu, device = torch.get_rng_state(), torch.device(NAME)
    before = accelerator.rng_states(device)
    first = F.dropout(torch.ones(99, device=NAME))
    assert torch.get_rng_state().equal(cpu)
    accelerator.set_rng_states(device, before)
    assert F.dropout(torch.ones(99, device=NAME)).equal(first)


def devices_do_not_mix() -> None:
    x, host = torch.ones(3, device=NAME), torch.ones(3)
    for mixed in (lambda: x + host, lambda: torch.cat([x, host]), lambda: x[torch.tensor([0])], lambda: host.add_(x)):
        with pytest.raises(RuntimeError, match=f"{NAME}.* and .*(cpu|CPU)"):
            mixed()
    assert (x + torch.tensor(2.0)).sum() == 9  # a number of the CPU is none


class _ReadsInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * gradients[0].sum().item()


def waiting_raises_also_in_the_backward_pass() -> None:
    x = torch.ones(3, device=NAME, requires_grad=True)
    loss = _ReadsInBackward.apply(x).sum()
    with accelerator.waiting_raises(torch.device(NAME)):
        with pytest.raises(watch.Waits, match=r"test_pretended_device.py:\d+: "):
            loss.backward()
        with pytest.raises(watch.HiddenCopy, match="to the host"):
            x.cpu()
        with pytest.raises(watch.Waits):
            bool(x.sum() > 0)
    assert x.sum().item() == 3  # outside of a step all may be read


def sums_of_losses_never_wait() -> None:
    device = torch.device(NAME)
    tally, one, two = Tally(device), torch.ones((), device=device), torch.full((), 2.0, device=device)
    with accelerator.waiting_raises(device):
        for terms in (Terms(a=one), Terms(a=one, b=two), Terms(b=two), Terms(b=two, a=one)):
            tally.add(terms, images=1)
            assert not tally.diverged()
    means, diverged = tally.read()
    assert means == {"train_loss": 3, "loss/a": 1, "loss/b": 2} and not diverged


PARTS = (
    views_share_their_data,
    copies_do_not,
    files_keep_data_and_views,
    a_network_and_its_gradients_are_those_of_the_cpu,
    generators_are_told_apart_and_draw_what_those_of_the_cpu_draw,
    its_global_generator_is_its_own,
    devices_do_not_mix,
    waiting_raises_also_in_the_backward_pass,
    sums_of_losses_never_wait,
)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_the_device(device, part):
    device.submit(part).result()
