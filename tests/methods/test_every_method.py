"""What holds for each method of the folder: state, determinism, no waiting, falling losses, ranges that run."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math

import pytest
import torch

import methods
from methods.base import Terms
from methods.ranges import Range
from tests.methods.no_sync import HostSync, NoHostSync
from tests.methods.toy import ToyBatches, ToyModel, make_method, make_optimizer, train

NAMES = methods.names()


def test_the_methods_of_the_first_release_are_there():
    assert {"supervised", "pseudo_label", "mixup", "fixmatch", "layermatch", "clid_mu"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_state_survives_save_and_load_bit_for_bit(name):
    method = (
        make_method(name, threshold=0.6) if name in ("fixmatch", "layermatch", "pseudo_label") else make_method(name)
    )
    batches, optimizer = ToyBatches(method, wrong=0.3), make_optimizer(method.model)
    train(method, batches, optimizer, 0, 20)
    saved = copy.deepcopy((method.state_dict(), optimizer.state_dict()))
    expected, diagnostics = train(method, batches, optimizer, 20, 30), method.read_records()

    fresh = make_method(name, seed=7, **method.hyper.model_dump())
    resumed = make_optimizer(fresh.model)
    fresh.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert train(fresh, batches, resumed, 20, 30) == expected
    assert str(fresh.read_records()) == str(diagnostics)  # by text: NaN, where nothing is known, equals itself
    for key, value in method.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, fresh.state_dict()[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_losses(name):
    def run(seed: int) -> list[dict[str, float]]:
        method = make_method(name, seed=seed)
        return train(method, ToyBatches(method), make_optimizer(method.model), last=10)

    torch.manual_seed(1)
    first = run(0)
    torch.manual_seed(2)  # nothing may hang on the global generator
    assert run(0) == first
    assert run(1) != first


@pytest.mark.parametrize("name", NAMES)
def test_building_leaves_the_global_generator_alone(name):
    before = torch.random.get_rng_state()
    make_method(name)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_never_waits_for_the_device(name):
    method = make_method(name)
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    with NoHostSync():
        for step in range(3):
            batch = batches.next(step)
            method.step(batch, optimizer)
            method.after_step(batch)


@pytest.mark.parametrize(
    "waits", [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: bool(x.any())]
)
def test_the_guard_sees_waiting(waits):
    with pytest.raises(HostSync), NoHostSync():
        waits(torch.randn(5))


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_on_clean_images_falls(name):
    method = make_method(name, model_ema=0.9)
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    x, y = batches.images, batches.true

    def loss() -> float:
        with torch.no_grad():
            return torch.nn.functional.cross_entropy(method.eval_model(x), y).item()

    before = loss()
    train(method, batches, optimizer)
    assert loss() < 0.8 * before


@pytest.mark.parametrize("name", NAMES)
def test_defaults_and_ends_of_every_range_run_a_step(name):
    found = methods.get(name)
    assert "model_ema" in found.search_ranges()
    for key, span in found.search_ranges().items():
        for value in _ends(span):
            method = make_method(name, **{key: value})
            losses = train(method, ToyBatches(method, batch_size=4), make_optimizer(method.model), last=1)
            assert all(math.isfinite(v) for step in losses for v in step.values()), (key, value)


def _ends(span: Range) -> tuple:
    return span.arguments if span.kind == "choice" else (span.low, span.high)


@pytest.mark.parametrize("name", NAMES)
def test_every_hyper_parameter_has_help_and_the_method_its_docs(name):
    found = methods.get(name)
    assert all(info.description for info in found.Hyper.model_fields.values())
    assert found.summary().endswith(".") and len(found.summary()) < 120
    assert "When:" in str(inspect.getdoc(found))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("norm", [True, False])
def test_models_with_and_without_batch_norm(name, norm):
    method = make_method(name, model=ToyModel(norm=norm, dtype=torch.float32))
    losses = train(method, ToyBatches(method), make_optimizer(method.model), last=3)
    assert all(math.isfinite(v) for step in losses for v in step.values())


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
