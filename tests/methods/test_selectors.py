"""Selectors against numbers computed by hand, with the order of their updates.

The order: docs/semi_supervised.md, sections 7.5 to 7.7; acceptance test 8 of docs/layermatch.md, section 10.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.parts.memory import latest
from methods.parts.pseudo_labels import PseudoLabels
from methods.parts.selectors import FlexMatchSelector, FreeMatchSelector, SelectorName, SoftMatchSelector, make_selector
from platform.conformance.no_sync import NoHostSync
from tests.methods.toy import make_setup

CPU = torch.device("cpu")
Q = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
INDEX = torch.arange(3)


def flexmatch(num_unlabelled: int, num_classes: int = 3) -> FlexMatchSelector:
    return FlexMatchSelector(0.8, num_classes, num_train=100, num_unlabelled=num_unlabelled, device=CPU)


def test_flexmatch_by_hand():
    selector = flexmatch(num_unlabelled=4)
    first = torch.tensor([[0.9, 0.05, 0.05], [0.85, 0.1, 0.05], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]])
    # Nobody has passed before this step, so that every threshold is 0; updating first would drop the last image.
    assert selector(first, torch.tensor([10, 11, 12, 13])).tolist() == [1, 1, 1, 1]
    assert selector.label[10:14].tolist() == [0, 0, 1, -1]
    # sigma = (2, 1, 0), one image unused: beta = (1, 1/2, 0), tau = 0.8 (1, 1/3, 0).
    torch.testing.assert_close(selector.thresholds(), torch.tensor([0.8, 0.8 / 3, 0.0]))
    second = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.2, 0.3, 0.5], [0.05, 0.05, 0.9]])
    assert selector(second, torch.tensor([13, 12, 11, 10])).tolist() == [0, 1, 1, 1]
    assert selector.label[10:14].tolist() == [2, 0, 1, -1]  # a doubtful guess leaves the memory as it was


def test_flexmatch_counts_unlabelled_images_only():
    """A hundred positions, ten of them unlabelled: nine are unused, not 99."""
    selector = flexmatch(num_unlabelled=10)
    selector(torch.tensor([[0.9, 0.05, 0.05]]), torch.tensor([42]))
    beta = 1 / 9
    torch.testing.assert_close(selector.thresholds()[0], torch.tensor(0.8 * beta / (2 - beta)))


def test_flexmatch_counts_an_image_once():
    selector = flexmatch(num_unlabelled=2)
    twice = torch.tensor([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.4, 0.3, 0.3]])
    selector(twice, torch.tensor([5, 5, 5]))
    assert selector.label[5] == 1 and (selector.label >= 0).sum() == 1  # its last confident guess


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12))
def test_latest_is_the_last_row_that_counts(rows):
    index, keep = (torch.tensor(column) for column in zip(*rows, strict=True))
    found, exists = latest(index, keep)
    for i, (mine, _) in enumerate(rows):
        candidates = [j for j, (other, kept) in enumerate(rows) if other == mine and kept]
        assert bool(exists[i]) == bool(candidates)
        assert not candidates or found[i] == candidates[-1]


def test_freematch_by_hand():
    selector = FreeMatchSelector(0.5, 2, CPU)
    mask = selector(Q, INDEX)
    tau = 0.5 * 0.5 + 0.5 * (0.9 + 0.6 + 0.7) / 3  # 0.6167: updated first, so that 0.6 fails; the old 0.5 would pass it
    torch.testing.assert_close(selector.tau, torch.tensor(tau))
    torch.testing.assert_close(selector.p, torch.tensor([0.55, 0.45]))
    torch.testing.assert_close(selector.h, torch.tensor([0.25 + 1 / 3, 0.25 + 1 / 6]))
    assert mask.tolist() == [1, 0, 1]
    third = torch.tensor([[0.45, 0.55]])  # decides the class threshold: tau 0.45 / 0.55 is lower than tau
    before = (0.5 * tau + 0.5 * 0.55) * (0.5 * 0.45 + 0.5 * 0.55) / (0.5 * 0.55 + 0.5 * 0.45)
    assert selector(third, INDEX[:1]).item() == float(before <= 0.55)


def test_freematch_fairness_by_hand():
    selector = FreeMatchSelector(0.5, 2, CPU)
    mask = selector(Q, INDEX)
    logits = torch.tensor([[0.8, 0.2], [0.01, 0.99], [0.4, 0.6]]).log().requires_grad_()
    loss = selector.fairness(logits, mask)
    raw = (0.55 / (0.25 + 1 / 3), 0.45 / (0.25 + 1 / 6))
    target = [value / sum(raw) for value in raw]
    found = (0.6, 0.4)  # mean of the two selected; their histogram is even
    assert loss.item() == pytest.approx(sum(t * math.log(f) for t, f in zip(target, found, strict=True)), abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[1].any() and gradient[0].any()


def test_freematch_fairness_of_nothing_or_of_one_class():
    selector = FreeMatchSelector(0.9, 3, CPU)
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    nothing = selector.fairness(logits, torch.zeros(5))
    assert nothing == 0
    assert torch.autograd.grad(nothing, logits)[0].isfinite().all()
    one = torch.eye(5)[int((logits[:, 0] - logits[:, 1]).argmax())]  # one image: two classes without any
    loss = selector.fairness(logits, one)
    assert loss.isfinite() and torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_freematch_clips_its_threshold():
    selector = FreeMatchSelector(0.0, 2, CPU, clip=0.95)
    selector(torch.tensor([[0.99, 0.01]]), INDEX[:1])
    assert selector.tau == pytest.approx(0.95)


def test_softmatch_by_hand():
    selector = SoftMatchSelector(0.5, 2.0, 2, CPU)
    mask = selector(Q, INDEX)
    mean = (0.6, 0.4)  # the first step sets it
    torch.testing.assert_close(selector.p, torch.tensor(mean))
    confidence = [
        max(ratios) / sum(ratios) for ratios in ([q / m for q, m in zip(row, mean, strict=True)] for row in Q.tolist())
    ]
    mu = 0.5 * 0.5 + 0.5 * statistics.mean(confidence)
    var = 0.5 * 1 + 0.5 * statistics.variance(confidence)
    expected = [math.exp(-(min(c - mu, 0) ** 2) * 4 / (2 * var)) for c in confidence]
    torch.testing.assert_close(mask, torch.tensor(expected), atol=1e-5, rtol=0)
    assert mask[0] == 1 and mask[1] < 1
    selector(Q.flip(1), INDEX)
    torch.testing.assert_close(selector.p, torch.tensor([0.5, 0.5]))


def test_softmatch_aligns_the_weight_not_the_label():
    selector = SoftMatchSelector(0.5, 2.0, 2, CPU)
    q = torch.tensor([[0.95, 0.05], [0.55, 0.45]])  # aligned, the second image would be class 1
    assert PseudoLabels.of(q.log(), selector, INDEX[:2]).label.tolist() == [0, 0]
    assert (0.55 / 0.75) < (0.45 / 0.25)


def test_a_single_image_has_a_variance_of_zero():
    selector = SoftMatchSelector(0.5, 2.0, 2, CPU)
    assert selector(Q[:1], INDEX[:1]).isfinite().all() and selector.var == 0.5


def rising(steps: int, num_classes: int = 10) -> torch.Tensor:
    """Predictions [steps, 2, K] of two images, one surer than the other, whose confidence grows from 1/K to near 1."""
    share = torch.linspace(0.01, 0.99, steps, dtype=torch.float64)[:, None]
    top = 1 / num_classes + (1 - 1 / num_classes) * share * torch.tensor([1.0, 0.8], dtype=torch.float64)
    rest = ((1 - top) / (num_classes - 1))[..., None].expand(-1, -1, num_classes).clone()
    rest[..., 0, 0], rest[..., 1, 1] = top[:, 0], top[:, 1]
    return rest


def debiased_mean(values: torch.Tensor, decay: float) -> torch.Tensor:
    weights = decay ** torch.arange(len(values) - 1, -1, -1, dtype=torch.float64)
    return torch.tensordot(weights, values, dims=1) / weights.sum()


def test_freematch_at_300_steps():
    """Published, tau <= 1 - 0.999^300 0.9 = 0.333; debiased it is the mean confidence, with weights 0.999^age."""
    q = rising(300)
    published, debiased = (make_selector("freematch", make_ten(), hyper) for hyper in (PUBLISHED, SimpleNamespace()))
    sure = torch.eye(10)[:2] * 0.9999 + 1e-5  # the most that could be
    for step in q:
        published(sure, INDEX[:2])
        debiased(step.float(), INDEX[:2])
    assert published.tau.item() == pytest.approx(1 - 0.999**300 * 0.9, abs=1e-3) and published.tau.item() < 0.334
    confidence = q.amax(2).mean(1)
    assert debiased.tau.item() == pytest.approx(debiased_mean(confidence, 0.999).item(), rel=1e-4)
    torch.testing.assert_close(debiased.p, debiased_mean(q.mean(1), 0.999).float(), rtol=1e-4, atol=1e-6)
    histogram = torch.zeros(10)
    histogram[:2] = 0.5
    torch.testing.assert_close(debiased.h, histogram, rtol=1e-4, atol=1e-4)


def test_softmatch_at_300_steps():
    """Published, sigma stays near 0.86 and an image of confidence 0.2 counts 0.98; debiased mu and var are averages."""
    q = rising(300)
    published, debiased = (make_selector("softmatch", make_ten(), hyper) for hyper in (PUBLISHED, SimpleNamespace()))
    for step in q:
        old, new = (selector(step.float(), INDEX[:2]) for selector in (published, debiased))
    assert published.var.item() == pytest.approx(0.999**300, abs=0.01)
    p, weights = torch.zeros(10, dtype=torch.float64), []
    for t, step in enumerate(q, start=1):
        newest = 0.001 / (1 - 0.999**t)
        p = p + newest * (step.mean(0) - p)
        aligned = step * (0.1 + 1e-6) / (p + 1e-6)
        weights.append((aligned / aligned.sum(1, keepdim=True)).amax(1))
    confidence = torch.stack(weights)
    mu, var = debiased_mean(confidence.mean(1), 0.999), debiased_mean(confidence.var(1), 0.999)
    assert debiased.mu.item() == pytest.approx(mu.item(), rel=1e-3)
    assert debiased.var.item() == pytest.approx(var.item(), rel=1e-3)
    doubtful = torch.full((2, 10), 0.8 / 9)
    doubtful[0, 0] = doubtful[1, 1] = 0.2
    assert published(doubtful, INDEX[:2]).min() > 0.9 and debiased(doubtful, INDEX[:2]).max() < 0.5


@pytest.mark.parametrize("name", ["freematch", "softmatch"])
def test_the_two_starts_are_one_in_the_long_run(name):
    hyper = SimpleNamespace(selector_ema=0.9)
    late = SimpleNamespace(selector_ema=0.9, selector_start="published")
    one, other = make_selector(name, make_ten(), hyper), make_selector(name, make_ten(), late)
    *before, last = rising(400).float()
    for step in before:
        one(step, INDEX[:2]), other(step, INDEX[:2])
    torch.testing.assert_close(one(last, INDEX[:2]), other(last, INDEX[:2]))
    assert dict(one.named_buffers()).keys() == dict(other.named_buffers()).keys()


PUBLISHED = SimpleNamespace(selector_start="published")


def make_ten():
    return dataclasses.replace(make_setup(), num_classes=10)


def test_the_ramp_counts_steps():
    hyper = SimpleNamespace(threshold=0.65, ramp=0.08)
    selector = make_selector("ramp", make_setup(steps=50), hyper)  # full at step 4
    assert [selector(Q, INDEX).tolist() for _ in range(6)][::5] == [[0, 0, 0], [1, 0, 1]]
    selector.calls.fill_(1)
    torch.testing.assert_close(selector(Q, INDEX), torch.tensor([0.25, 0, 0.25]))


@pytest.mark.parametrize("name", get_args(SelectorName))
def test_any_selector_keeps_its_state_and_never_waits(name):
    def batches():
        generator = torch.Generator().manual_seed(0)
        for _ in range(8):
            q = torch.randn(20, 3, generator=generator).mul(2).softmax(dim=1)
            yield q, torch.randint(0, 150, (20,), generator=generator)

    selector = make_selector(name, make_setup(), SimpleNamespace(threshold=0.6))
    with NoHostSync():
        masks = [(selector(q, index), selector.fairness(q.log(), torch.ones(20)))[0] for q, index in batches()]
    assert all(((mask >= 0) & (mask <= 1)).all() for mask in masks)
    half = make_selector(name, make_setup(), SimpleNamespace(threshold=0.6))
    first, second = list(batches())[:4], list(batches())[4:]
    for q, index in first:
        half(q, index)
    resumed = make_selector(name, make_setup(), SimpleNamespace(threshold=0.6))
    resumed.load_state_dict(half.state_dict())
    assert all(torch.equal(resumed(*pair), mask) for pair, mask in zip(second, masks[4:], strict=True))


def test_an_unknown_selector_is_named():
    with pytest.raises(ValueError, match="no such selector: 'flex'; valid: fixed, none, ramp, flexmatch"):
        make_selector("flex", make_setup(), SimpleNamespace())
