"""The readings of Avg-Clustering, any selector under any gate, and what holds for all of them.

docs/layermatch.md, sections 3.2 and 10.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from methods.layermatch.averages import AverageHyper, PredictionAverage
from methods.layermatch.gates import GateHyper
from methods.parts.centres import Centres
from methods.parts.selectors import SelectorName
from platform.conformance.no_sync import NoHostSync
from platform.core.registry import METHODS
from tests.methods.toy import CLASSES, LABELLED, UNLABELLED, ToyBatches, ToyModel, make_method, make_optimizer, train

B, N = 8, 56
CPU = torch.device("cpu")
MODES = get_args(AverageHyper.model_fields["centre_mode"].annotation)
GATES = [mode for mode in get_args(GateHyper.model_fields["gate_mode"].annotation) if mode != "stages"]
SELECTORS = get_args(SelectorName)


def started(steps: int = 5, **values: Any) -> tuple[Any, ToyBatches]:
    """A method some steps into its training: averages and live values differ."""
    method = make_method("layermatch", **({"threshold": 0.45} | values))
    batches = ToyBatches(method)
    train(method, batches, make_optimizer(method.model), 0, steps)
    return method, batches


# -- A2: an average prediction of each image --------------------------------------------------------------------------
def test_predictions_follow_the_reference():
    rng = np.random.default_rng(0)
    ours = PredictionAverage(12, 4, 0.6, CPU, torch.float64)
    average, visits = np.zeros((12, 4)), np.zeros(12)
    for _ in range(8):
        index = rng.choice(9, size=5, replace=False)  # images 9 to 11 are never seen
        q = rng.dirichlet(np.ones(4), size=5)
        found = ours.update(torch.from_numpy(q), torch.from_numpy(index))
        for row, i in enumerate(index):
            average[i] = 0.6 * average[i] + 0.4 * q[row]
            visits[i] += 1
            np.testing.assert_allclose(found[row].numpy(), average[i] / (1 - 0.6 ** visits[i]), rtol=1e-12)
    np.testing.assert_allclose(ours.average.numpy(), average, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(ours.visits.numpy(), visits)
    assert not ours.average[9:].any()


def test_of_an_image_twice_in_a_batch_the_last_visit_counts():
    ours = PredictionAverage(3, 2, 0.5, CPU, torch.float64)
    found = ours.update(torch.tensor([[1.0, 0.0], [0.25, 0.75]], dtype=torch.float64), torch.tensor([1, 1]))
    assert found.tolist() == [[0.25, 0.75], [0.25, 0.75]] and ours.visits.tolist() == [0, 1, 0]


probabilities = st.integers(0, 2**31 - 1).map(lambda seed: torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(probabilities, st.floats(0, 0.99), st.integers(1, 5))
def test_averages_are_predictions_too(generator, decay, visits):
    """They sum to 1 from the first visit, stay what they were given if that never changes, and know no order."""
    q = torch.rand(6, 4, generator=generator, dtype=torch.float64).softmax(1)
    index, order = torch.arange(6), torch.randperm(6, generator=generator)
    one, other = (PredictionAverage(6, 4, decay, CPU, torch.float64) for _ in range(2))
    for _ in range(visits):
        found, shuffled = one.update(q, index), other.update(q[order], index[order])
        torch.testing.assert_close(found, q)
        torch.testing.assert_close(shuffled, found[order])
    found = one.update(q.flip(0), index)
    torch.testing.assert_close(found.sum(1), torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_pseudo_labels_come_from_the_mixed_predictions(share):
    method, batches = started(20, centre_mode="predictions", prediction_share=share, prediction_ema=0.7)
    batch = batches.next(20)
    u, state = batch.unlabelled, PredictionAverage(LABELLED + UNLABELLED, CLASSES, 0.7, CPU, torch.float64)
    state.load_state_dict(method.predictions.state_dict())
    with torch.no_grad():
        logits = method.model(torch.cat([batch.labelled.weak, u.weak, u.strong]))
    q = logits[B : B + N].softmax(1)
    mixed = (1 - share) * q + share * state.update(q, u.index)
    confidence, label = mixed.max(1)
    expected = ((confidence >= 0.45) * F.cross_entropy(logits[-N:], label, reduction="none")).mean()
    torch.testing.assert_close(method.loss(batch)["unlabelled"].detach(), expected)
    assert share == 0 or not torch.allclose(mixed, q)


# -- A3: averaged rows ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["rows", "attract_rows", "proto_rows"])
@pytest.mark.parametrize("gate", [0.0, 0.5])
def test_strong_logits_go_through_the_averaged_rows(mode, gate):
    method, batches = started(centre_mode=mode, average_ema=0.8, gate=gate)
    batch = batches.next(5)
    u, head, rows = batch.unlabelled, method.model.head, method.rows.module
    features, logits = method.model(torch.cat([batch.labelled.weak, u.weak, u.strong]), with_features=True)
    confidence, label = logits[B : B + N].detach().softmax(1).max(1)
    mask = (confidence >= 0.45).double()
    strong = rows(features[-N:])
    assert not torch.allclose(rows.weight, head.weight)
    expected = (mask * F.cross_entropy(strong, label, reduction="none")).mean()
    terms = method.loss(batch)
    torch.testing.assert_close(terms["unlabelled"], expected)
    assert ("centre" in terms) == (mode != "rows")
    (found,) = torch.autograd.grad(terms["unlabelled"], [head.weight], allow_unused=True)
    if gate == 0:
        assert found is None
    else:
        residual = mask[:, None] * (strong.softmax(1) - F.one_hot(label, CLASSES)) / N
        torch.testing.assert_close(found, gate * residual.T @ features[-N:])


def test_rows_follow_the_head():
    method, batches = started(1, centre_mode="rows", average_ema=0.9)
    before, optimizer = method.rows.module.weight.clone(), make_optimizer(method.model)
    method.step(batches.next(1), optimizer)
    method.after_step(batches.next(1))
    decay = 0.9 * 0.1 / (1 - 0.9**2)  # of two values with weights 0.9 and 1
    torch.testing.assert_close(method.rows.module.weight, decay * before + (1 - decay) * method.model.head.weight)


# -- A4: the averaged network as labeller -----------------------------------------------------------------------------
@pytest.mark.parametrize("own", [True, False])
def test_the_averaged_network_labels(own):
    method, batches = started(centre_mode="teacher", average_ema=0.8, model_ema=0.9 if own else 0.8, threshold=0.4)
    assert hasattr(method, "teacher") == own
    teacher = method.teacher.module if own else method.eval_model
    assert not teacher.training
    batch, seen = batches.next(5), []
    method.model.body.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    with torch.no_grad():
        confidence, label = teacher(batch.unlabelled.weak).softmax(1).max(1)
    terms = method.loss(batch)
    assert seen == [B + N]  # the live network never sees the weak views
    with torch.no_grad():
        logits = method.model(torch.cat([batch.labelled.weak, batch.unlabelled.strong]))
    expected = ((confidence >= 0.4) * F.cross_entropy(logits[B:], label, reduction="none")).mean()
    torch.testing.assert_close(terms["unlabelled"].detach(), expected)
    terms.total().backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_off_is_grad_relu_alone():
    method, batches = started(centre_mode="off")
    assert set(method.loss(batches.next(5))) == {"labelled", "unlabelled"}
    assert not [name for name in method.state_dict() if name.startswith(("centres", "rows", "teacher", "predictions"))]


# -- centres ----------------------------------------------------------------------------------------------------------
@settings(max_examples=20, deadline=None)
@given(probabilities, st.sampled_from(["attract", "proto"]))
def test_centres_know_neither_length_nor_order_nor_direction(generator, mode):
    """Scaling features, shuffling images, turning the space: the loss stays, the centres turn along."""

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    features, strong, label = draw(15, 5), draw(15, 5), torch.randint(0, 3, (15,), generator=generator)
    mask = torch.rand(15, generator=generator, dtype=torch.float64)
    turn, order = torch.linalg.qr(draw(5, 5))[0], torch.randperm(15, generator=generator)
    length = torch.rand(15, 1, generator=generator, dtype=torch.float64) * 9 + 0.1

    def run(x: torch.Tensor, s: torch.Tensor, y: torch.Tensor, m: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        centres = Centres(3, 5, 0.9, CPU, torch.float64)
        for _ in range(2):
            centres.update(*centres.gather(x, y, m))
        loss = centres.attract(s, y, m) if mode == "attract" else centres.proto(s, y, m, 0.2)
        return loss, centres.centres

    loss, centres = run(features, strong, label, mask)
    same = (
        (run(length * features, length * strong, label, mask), centres),
        (run(features[order], strong[order], label[order], mask[order]), centres),
        (run(features @ turn, strong @ turn, label, mask), centres @ turn),
    )
    for (other, found), expected in same:
        torch.testing.assert_close(other, loss)
        torch.testing.assert_close(found, expected)


# -- everything with everything ---------------------------------------------------------------------------------------
def sound(method: Any, batches: ToyBatches, last: int = 3) -> list[dict[str, float]]:
    losses = train(method, batches, make_optimizer(method.model), last=last)
    assert all(math.isfinite(value) for step in losses for value in step.values())
    return losses


@pytest.mark.parametrize(
    ("selector", "gate"), [*((s, "sample") for s in SELECTORS), *(("freematch", g) for g in GATES)]
)
def test_any_selector_under_any_gate(selector, gate):
    method = make_method("layermatch", selector=selector, gate_mode=gate, threshold=0.45)
    losses = sound(method, ToyBatches(method))
    assert ("fairness" in losses[0]) == (selector == "freematch")
    records = method.read_records()
    assert ("gate_open" in records) == (gate in ("sample", "class", "random", "conflict"))


@pytest.mark.parametrize(
    ("mode", "gate"), [*((mode, "hard") for mode in MODES), *(("attract", gate) for gate in GATES[1:])]
)
def test_a_step_of_any_mode_never_waits_for_the_device(mode, gate):
    method = make_method("layermatch", centre_mode=mode, gate_mode=gate)
    with NoHostSync():
        train(method, batches := ToyBatches(method), make_optimizer(method.model), last=0)
        for step in range(2):
            method.step(batch := batches.next(step), make_optimizer(method.model))
            method.after_step(batch)


@pytest.mark.parametrize(("mode", "gate"), [*((mode, "conflict") for mode in MODES), *(("rows", g) for g in GATES)])
def test_mixed_precision_in_any_mode(mode, gate):
    method = make_method("layermatch", model=ToyModel(dtype=torch.float32), centre_mode=mode, gate_mode=gate)
    method.setup = dataclasses.replace(method.setup, amp=True)
    sound(method, ToyBatches(method))
    floats = [value.dtype for value in method.state_dict().values() if isinstance(value, torch.Tensor)]
    assert torch.bfloat16 not in floats


def test_the_fairness_loss_meets_the_same_gate():
    def head_gradient(**values: Any) -> Any:
        method = make_method("layermatch", selector="freematch", centre_mode="off", lambda_f=1.0, **values)
        fairness = method.loss(ToyBatches(method).next(0))["fairness"]
        weight, inside = method.model.head.weight, method.model.body[1].weight
        return torch.autograd.grad(fairness, [weight, inside], allow_unused=True)

    blocked, inside = head_gradient(gate_mode="hard")
    assert blocked is None and inside.any()
    open_, same = head_gradient(gate=1.0)
    assert open_.any()
    torch.testing.assert_close(same, inside)


@pytest.mark.parametrize("mode", ["off", "attract", "proto"])
def test_7_nothing_selected_under_any_selector_that_can_refuse_all(mode):
    method = make_method("layermatch", selector="freematch", centre_mode=mode, centre_ramp=0.0)
    method.selector.forward = lambda probabilities, index: torch.zeros_like(probabilities[:, 0])
    for step in sound(method, ToyBatches(method)):
        assert sum(step.values()) == pytest.approx(step["labelled"])


@pytest.mark.parametrize(
    "values",
    [
        {"centre_mode": "predictions"},
        {"centre_mode": "rows"},
        {"centre_mode": "teacher"},
        {"centre_mode": "attract_rows", "selector": "freematch"},
        {"gate_mode": "class", "selector": "flexmatch"},
        {"gate_mode": "random", "gate_grain": "entries", "selector": "softmatch"},
        {"gate_mode": "schedule", "selector": "ramp", "head_lr_factor": 2.0},
        {"gate_mode": "conflict", "gate_conflict": "project", "centre_mode": "proto_rows"},
    ],
    ids=lambda values: "-".join(map(str, values.values())),
)
def test_9_a_checkpoint_reproduces_the_next_ten_losses(values, tmp_path):
    values = {"threshold": 0.5, "average_ema": 0.9} | values
    method = make_method("layermatch", **values)
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    train(method, batches, optimizer, 0, 10)
    torch.save({"method": method.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    expected, records = train(method, batches, optimizer, 10, 20), method.read_records()
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    fresh = make_method("layermatch", seed=3, **values)
    resumed = make_optimizer(fresh.model)
    fresh.load_state_dict(saved["method"])
    resumed.load_state_dict(saved["optimizer"])
    assert train(fresh, batches, resumed, 10, 20) == expected
    assert str(fresh.read_records()) == str(records)


def test_the_mode_is_part_of_the_row():
    dumped = METHODS.get("layermatch").Hyper().model_dump()
    assert dumped["centre_mode"] == "attract" and dumped["gate_mode"] == "scalar" and dumped["gate"] == 0
    assert dumped["selector"] == "fixed" and dumped["head_lr_factor"] == 1


def test_the_default_step_does_nothing_that_the_other_forms_need(monkeypatch):
    """Grad-ReLU with feature centres: one call of the network, one small product for the gated head, no copies."""
    method = make_method("layermatch")
    batches, products = ToyBatches(method), []
    plain = F.linear
    monkeypatch.setattr(F, "linear", lambda x, *rest: products.append(len(x)) or plain(x, *rest))
    method.step(batches.next(0), make_optimizer(method.model))
    assert products == [B + 2 * N, B + 2 * N, N]  # the toy's own layer, its head, the gated head
    assert not {"rows", "teacher", "predictions"} & {name for name, _ in method.named_children()}
    assert not list(nn.Module.state_dict(method.gate))
