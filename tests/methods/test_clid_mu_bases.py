"""CLID-MU on top of other methods: composed, so that each base keeps what it does with the unlabelled images."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from methods.base import Terms
from methods.clid_mu import ClidMu
from methods.clid_mu.hyper_parameters import BASES
from methods.clid_mu.layers import check_layers, parse_layers
from methods.parts.hypergradient import SCHEMES
from methods.parts.virtual_updates import virtual_updates
from platform.conformance.no_sync import NoHostSync
from platform.core.registry import METHODS
from tests.methods.toy import ToyBatches, ToyModel, make_method, make_optimizer, train

SEMI = ("fixmatch", "flexmatch", "uda", "layermatch")
EASY = {
    "fixmatch": {"fixmatch_threshold": 0.4},
    "layermatch": {"layermatch_threshold": 0.4},
    "uda": {"uda_threshold": 0.4},
}


def make(base: str, seed: int = 0, **values: Any) -> Any:
    small = {"meta_batch_size": 100, "meta_view": "weak"}  # the release's 2 x 1,000 rows take the toy seconds
    return make_method("clid_mu", seed, base=base, **EASY.get(base, {}), **(small | values))


@pytest.mark.parametrize("base", BASES)
def test_a_base_trains_under_it_and_sees_its_own_views(base):
    method = make(base, meta_lr=0.1)
    batches, optimizer = ToyBatches(method, wrong=0.3), make_optimizer(method.model)
    before = [p.detach().clone() for p in method.weighting.parameters()]
    losses = train(method, batches, optimizer, last=6)
    alone = METHODS.get(base)
    plain = alone(ToyModel(), alone.Hyper(), method.setup)
    assert batches.views.labelled == alone.views.labelled and batches.views.unlabelled == alone.views.unlabelled
    assert batches.sizes | {"meta": 0} == alone.stream_sizes(alone.Hyper(), 8)
    plain_batches = ToyBatches(plain)
    assert set(losses[0]) == set(plain.loss(plain_batches.next(0)))
    assert any(not torch.equal(a, b) for a, b in zip(before, method.weighting.parameters(), strict=True))
    records = method.read_records()
    assert records["meta_loss"] > 0 and ("mask_rate" in records) == (base in SEMI)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("meta_model", ["wnet", "vri"])
def test_the_meta_model_sees_the_features_and_targets_of_the_labelled_images(base, meta_model):
    """The features kept from the base's forward pass are those that its labelled logits were made of."""
    method = make(base, meta_model=meta_model)
    batch, seen = ToyBatches(method, wrong=0.3).next(0), {}
    output_for, loss = method.weighting.output_for, method.weighting.loss
    method.weighting.output_for = lambda s, g: seen.setdefault("meta_inputs", []).append(s) or output_for(s, g)
    method.weighting.loss = lambda said, z, y: seen.setdefault("logits", []).append((z, y)) or loss(said, z, y)
    head = copy.deepcopy(method.model.head)
    method.step(batch, make_optimizer(method.model))
    logits, target = seen["logits"][-1]
    torch.testing.assert_close(head(seen["meta_inputs"][-1].features), logits, rtol=1e-12, atol=1e-13)
    assert torch.equal(seen["meta_inputs"][-1].target, target)
    hard = target if target.ndim == 1 else None
    assert (hard is None) == (base == "mixup")
    if hard is not None:
        assert torch.equal(hard, batch.labelled.y)
    else:
        torch.testing.assert_close(target.sum(dim=1), torch.ones(8, dtype=torch.float64))


@pytest.mark.parametrize("base", SEMI)
def test_only_the_labelled_loss_is_weighted_and_without_normalising(base):
    """L = mean_i(s_i c_i) + the base's own terms, untouched (docs/clid_mu.md, section 7)."""
    method = make(base, meta_lr=1e-12)
    alone = METHODS.get(base)
    hyper = {key.removeprefix(f"{base}_"): value for key, value in EASY.get(base, {}).items()}
    plain = alone(ToyModel(), alone.Hyper(**hyper), method.setup).train()
    batch = ToyBatches(method, wrong=0.3).next(0)
    with torch.no_grad():
        expected = plain.loss(batch)

    def weighted_loss(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        losses = F.cross_entropy(z, y, reduction="none")
        return (method.weighting(losses.detach()) * losses).mean()

    fresh = alone(ToyModel(), alone.Hyper(**hyper), method.setup, labelled_loss=weighted_loss).train()
    weighted = fresh.loss(batch)
    found = method.step(batch, make_optimizer(method.model))
    assert set(found) == set(expected)
    for name, value in expected.items():
        if name != "labelled":
            torch.testing.assert_close(found[name].detach(), value, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found["labelled"], weighted["labelled"], rtol=1e-9, atol=1e-12)
    assert found["labelled"] < expected["labelled"]


def test_equal_weights_are_the_base_itself():
    """A weighting that cannot tell images apart leaves supervised training and MixUp as they are, draws included."""
    for base in ("supervised", "mixup"):
        method = make(base)
        for p in method.weighting.parameters():
            p.data.zero_()
        method.hyper = method.hyper.model_copy(update={"every": 10**6})
        batches = ToyBatches(method, wrong=0.3)
        alone = make_method(base)
        ours = train(method, batches, make_optimizer(method.model), first=1, last=6)
        theirs = train(alone, batches, make_optimizer(alone.model), first=1, last=6)
        for a, b in zip(ours, theirs, strict=True):
            assert a["labelled"] == pytest.approx(b["labelled"], rel=1e-9)


@pytest.mark.parametrize("base", BASES)
def test_state_survives(base):
    meta_model = "vri" if base == "mixup" else "wnet"
    method = make(base, meta_model=meta_model, meta_lr=0.01)
    batches, optimizer = ToyBatches(method, wrong=0.3), make_optimizer(method.model)
    train(method, batches, optimizer, 0, 6)
    saved = copy.deepcopy((method.state_dict(), optimizer.state_dict()))
    expected, records = train(method, batches, optimizer, 6, 10), method.read_records()
    fresh = make(base, seed=7, meta_model=meta_model, meta_lr=0.01)
    resumed = make_optimizer(fresh.model)
    fresh.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert train(fresh, batches, resumed, 6, 10) == expected
    assert str(fresh.read_records()) == str(records)
    for one, other in zip(method.eval_model.parameters(), fresh.eval_model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["mixup", "layermatch"])
@pytest.mark.parametrize("scheme", [*SCHEMES, "auto"])
def test_every_scheme_runs_without_waiting_and_in_mixed_precision(base, scheme):
    for amp in (False, True):
        model = ToyModel(dtype=torch.float32) if amp else None
        method = make(base, hypergradient=scheme, model=model, meta_lr=0.1)
        method.setup = method.base.setup = type(method.setup)(**{**vars(method.setup), "amp": amp})
        batches, optimizer = ToyBatches(method), make_optimizer(method.model)
        with NoHostSync():
            for step in range(2):
                batch = batches.next(step)
                method.step(batch, optimizer)
                method.after_step(batch)
        assert all(p.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("base", BASES)
def test_exact_schemes_train_alike(base):
    """Also where the labelled images get a pass of their own."""
    ends = []
    for scheme in ("exact_reverse", "exact_forward"):
        method = make(base, hypergradient=scheme, meta_lr=1.0)
        train(method, ToyBatches(method, wrong=0.3), make_optimizer(method.model), last=4)
        ends.append(torch.cat([p.detach().flatten() for p in method.weighting.parameters()]))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-8, atol=1e-10)
    start = make(base, meta_lr=1.0)
    assert not torch.equal(ends[0], torch.cat([p.detach().flatten() for p in start.weighting.parameters()]))


@pytest.mark.parametrize("base", BASES)
def test_one_step_counts_once_for_batch_norm(base):
    method = make(base)
    train(method, ToyBatches(method), make_optimizer(method.model), last=3)
    assert method.model.body[2].num_batches_tracked == 3


def test_the_averages_of_base_and_method_are_one():
    method = make("layermatch", model_ema=0.5)
    train(method, ToyBatches(method), make_optimizer(method.model), last=2)
    assert method.base.ema is method.ema and method.ema.updates == 2
    assert method.eval_model is method.base.eval_model


def test_a_base_that_hides_its_labelled_loss_is_named():
    method = make("fixmatch")
    method.base.loss = lambda batch: Terms(labelled=F.cross_entropy(method.model(batch.labelled.x), batch.labelled.y))
    with pytest.raises(TypeError, match="base: fixmatch"):
        method.step(ToyBatches(method).next(0), make_optimizer(method.model))


# -- hyper-parameters --------------------------------------------------------------------------------------------------


def test_hyper_parameters_of_bases_are_its_own_under_their_name():
    fields = ClidMu.Hyper.model_fields
    for base, cls in BASES.items():
        for key, info in cls.Hyper.model_fields.items():
            if key != "model_ema":
                mine = fields[f"{base}_{key}"]
                assert mine.default == info.default and mine.metadata == info.metadata
                assert mine.description == f"with base {base}: {info.description}"
                assert ClidMu.search_ranges().get(f"{base}_{key}") == cls.search_ranges().get(key)
    method = make_method("clid_mu", base="fixmatch", fixmatch_threshold=0.7, uda_threshold=0.5)
    assert method.base.hyper.threshold == 0.7
    assert list(fields)[:3] == ["model_ema", "base", "meta_model"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fixmatch_threshold": 1.5}, "fixmatch_threshold"),
        ({"fixmatch_treshold": 0.5}, "fixmatch_treshold"),
        ({"temperature": 0}, "temperature"),
        ({"uda_temperature": 0}, "uda_temperature"),
        ({"base": "dividemix"}, "fixmatch"),
        ({"meta_batch_size": 200, "meta_set_size": 100}, "meta_batch_size: 200 is larger than the meta set"),
        ({"meta_goal": "ce_noisy", "meta_source": "unlabelled"}, "meta_source: ce_noisy reads given labels; allowed"),
        ({"meta_goal": "mae_sloss", "meta_source": "held_out"}, "meta_source: mae_sloss selects among the training"),
        ({"layers": "stage1="}, "is not a weight of 'stage1'"),
        ({"layers": "stage1=-1"}, "must be above 0"),
        ({"layers": "features, features"}, "listed twice"),
        ({"layers": "features,"}, "names no layer"),
        ({"hypergradient": "exact"}, "exact_forward"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(ValidationError, match=message):
        ClidMu.Hyper(**values)


def test_layers():
    assert parse_layers("features") == {"features": 1.0}
    assert parse_layers(" stage1=0.5 , features ") == {"stage1": 0.5, "features": 1.0}
    model = ToyModel()
    model.stages = ("stem", "stage1")  # type: ignore[assignment]
    check_layers(model, {"stem": 1.0, "features": 1.0})
    with pytest.raises(ValueError, match="layers: no such layer: 'stage'; did you mean: stage1"):
        check_layers(model, {"stage": 1.0})
    with pytest.raises(ValueError, match="layers: no such layer: 'body'; this model has: features"):
        make_method("clid_mu", layers="body")


@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_the_virtual_step_moves_the_head_as_far_as_layermatch_does(factor):
    """theta' - theta of the head is head_lr_factor times that of plain SGD."""
    method = make("layermatch", layermatch_head_lr_factor=factor)
    optimizer, seen = make_optimizer(method.model, lr=0.3), {}
    updates = virtual_updates(method.model, optimizer, copies=False, factors=method.base.step_factors())
    one = torch.ones((), dtype=torch.float64)
    for name in ("body.1.weight", "head.weight", "head.bias"):
        value, slope = updates[name](0 * one, one)
        seen[name] = (-value.item(), slope)
    assert seen["body.1.weight"] == pytest.approx((0.3, 0.3))
    assert seen["head.weight"] == seen["head.bias"] == pytest.approx((0.3 * factor, 0.3 * factor))


def test_the_meta_gradient_of_layermatch_is_that_of_its_scaled_head():
    """dM/dphi with head_lr_factor r = that of a plain virtual step whose head learns at r times the rate."""

    def meta_gradient(factor: float, rate: float) -> torch.Tensor:
        method = make("layermatch", layermatch_head_lr_factor=factor, meta_lr=1e-12)
        head = {id(p) for p in method.model.head.parameters()}
        rest = [p for p in method.model.parameters() if id(p) not in head]
        groups = [{"params": rest}, {"params": list(method.model.head.parameters()), "lr": rate}]
        method.step(ToyBatches(method, wrong=0.3).next(0), torch.optim.SGD(groups, lr=0.4))
        return torch.cat([p.grad.flatten() for p in method.weighting.parameters()])

    scaled, plain = meta_gradient(0.25, 0.4), meta_gradient(1.0, 0.1)
    torch.testing.assert_close(scaled, plain, rtol=1e-9, atol=1e-14)
    assert (scaled - meta_gradient(1.0, 0.4)).norm() > 0.01 * scaled.norm()
