"""CLID-MU's meta-models, meta objectives, meta sets and diagnostics, each against its definition."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from methods.clid_mu import ClidMu
from methods.clid_mu.layers import pooled, stage_outputs
from methods.clid_mu.meta_objectives import GOALS, label_loss, layered_clid
from methods.clid_mu.small_loss import SmallLossSet, select_small_loss
from methods.parts.clid import clid
from methods.parts.meta_models import VRI, WNet, meta_inputs
from methods.parts.trust import auroc
from tests.methods.toy import CLASSES, ToyBatches, ToyModel, make_method, make_optimizer, make_setup, train


class ToyImages:
    """All labelled images of a toy, by position; a weak view is a little noise from the generator given."""

    def __init__(self, batches: ToyBatches, count: int = 30) -> None:
        self.images, self.index, self.y = batches.images, torch.arange(count).flip(0), batches.given[:count].flip(0)
        self.asked: list[Tensor] = []

    def view(self, index: Tensor, name: str, generator: torch.Generator) -> Tensor:
        self.asked.append(index)
        if name == "plain":
            return self.images[index]
        return self.images[index] + 0.1 * torch.randn(self.images[index].shape, generator=generator).to(self.images)


def with_images(seed: int = 0, batch_size: int = 8, wrong: float = 0.4, steps: int = 50, **values: Any) -> Any:
    """clid_mu on the toy with access to all labelled images, and its batches."""
    batches = ToyBatches(make_method("clid_mu"), batch_size, wrong)
    images = ToyImages(batches)
    counts = torch.bincount(images.y, minlength=CLASSES).tolist()
    setup = dataclasses.replace(make_setup(steps, seed), labelled_images=images, label_counts=tuple(counts))
    method = ClidMu(ToyModel(seed), ClidMu.Hyper(**values), setup).train()
    own = ToyBatches(method, batch_size, wrong)
    return method, own, images


# -- meta-models -------------------------------------------------------------------------------------------------------


def test_vri_by_hand():
    """r = sigmoid(mu + exp(s / 2) eps), L = mean CE(r * z, y), the network written out anew."""
    vri = VRI(0, 5, CLASSES, embedding=4, widths=(7, 6)).double()
    generator = torch.Generator().manual_seed(3)
    z, h = torch.randn(9, CLASSES, generator=generator).double(), torch.randn(9, 5, generator=generator).double()
    y = torch.arange(9) % CLASSES
    said = vri.output_for(meta_inputs(z, h, y), torch.Generator().manual_seed(1))
    a = torch.cat([h, vri.embedding[y]], dim=1)
    for layer in vri.trunk:
        a = layer(a).tanh()
    mu, s = (a @ head.weight.T + head.bias for head in (vri.mean, vri.log_variance))
    noise = torch.randn(9, CLASSES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(said, 1 / (1 + torch.exp(-(mu + torch.exp(s / 2) * noise))))
    expected = -(said * z).log_softmax(1)[torch.arange(9), y].mean()
    torch.testing.assert_close(vri.loss(said, z, y), expected)
    torch.testing.assert_close(vri.trust(said, y), said[torch.arange(9), y])


def test_vri_has_the_released_widths_and_start():
    vri = VRI(0, 512, 10)
    assert [layer.weight.shape for layer in vri.trunk] == [(1024, 576), (512, 1024), (512, 512)]
    assert vri.mean.weight.shape == vri.log_variance.weight.shape == (10, 512)
    linear = [m for m in vri.modules() if isinstance(m, nn.Linear)]
    assert all(layer.bias.abs().max() == 0 for layer in linear)
    for layer in linear[:2]:
        spread = math.sqrt(2 / sum(layer.weight.shape))
        assert layer.weight.std().item() == pytest.approx(spread, rel=0.02)
    assert isinstance(vri.optimizer(0.01), torch.optim.Adam) and isinstance(WNet(0).optimizer(0.1), torch.optim.SGD)


def test_a_soft_target_that_is_one_class_is_that_class():
    vri = VRI(0, 5, CLASSES).double()
    y = torch.arange(6) % CLASSES
    seen = [
        meta_inputs(torch.zeros(6, CLASSES).double(), torch.ones(6, 5).double(), t) for t in (y, F.one_hot(y).double())
    ]
    hard, soft = (vri.output_for(s, torch.Generator().manual_seed(0)) for s in seen)
    torch.testing.assert_close(hard, soft)
    torch.testing.assert_close(vri.trust(hard, y), vri.trust(soft, F.one_hot(y).double()))


def test_the_real_step_of_vri_draws_anew_and_leaves_out_the_regulariser():
    method = make_method("clid_mu", meta_model="vri", vri_lambda=5.0, meta_lr=0.01)
    batch = ToyBatches(method, wrong=0.4).next(0)
    output_for, drawn, losses = method.weighting.output_for, [], []

    def spy(seen: Any, generator: torch.Generator) -> Tensor:
        drawn.append(output_for(seen, generator))
        return drawn[-1]

    method.weighting.output_for = spy
    method.weighting.loss = lambda said, z, y: losses.append((said, z, y)) or VRI.loss(method.weighting, said, z, y)
    terms = method.step(batch, make_optimizer(method.model))
    assert len(drawn) == 2 and not torch.equal(drawn[0], drawn[1]) and not drawn[1].requires_grad
    said, z, y = losses[-1]
    assert said is drawn[1]
    torch.testing.assert_close(terms["labelled"], F.cross_entropy(said * z, y))


# -- meta objectives ---------------------------------------------------------------------------------------------------


def test_label_losses_by_hand():
    z = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    y, p = torch.tensor([0, 2, -1]), torch.softmax(z, 1)
    ce = -(p[0, 0].log() + p[1, 2].log()) / 2
    mae = 1 - (p[0, 0] + p[1, 2]) / 2
    for goal in GOALS[1:]:
        torch.testing.assert_close(label_loss(goal, z, y), mae if goal.startswith("mae") else ce)
    assert label_loss("ce", z, torch.full((3,), -1)) == 0


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0.1, 10))
@settings(max_examples=15, deadline=None)
def test_layers_are_averaged_by_weight(a, b, scale):
    generator = torch.Generator().manual_seed(0)
    hidden = {name: torch.randn(8, d, generator=generator).double() for name, d in (("one", 3), ("features", 6))}
    z = torch.randn(8, CLASSES, generator=generator).double()
    total, each = layered_clid(hidden, {"one": a, "features": b}, z, 0.5)
    expected = (a * clid(hidden["one"], z, 0.5) + b * clid(hidden["features"], z, 0.5)) / (a + b)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(layered_clid(hidden, {"one": a * scale, "features": b * scale}, z, 0.5)[0], total)
    assert set(each) == {"one", "features"}


class Staged(ToyModel):
    """The toy with a convolution's output as a stage."""

    stages = ("stem", "body")

    def __init__(self) -> None:
        super().__init__(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.stem = nn.Conv2d(1, 1, 3, padding=1).double()

    def features(self, x: Tensor) -> Tensor:
        return self.body(self.stem(x))


@pytest.mark.parametrize("scheme", ["exact_forward", "last_layer"])
def test_more_layers_change_the_meta_gradient_and_are_reported(scheme):
    found = {}
    for layers in ("features", "stem=0.5, features", "body"):
        method = make_method("clid_mu", model=Staged(), layers=layers, hypergradient=scheme)
        batch = ToyBatches(method, wrong=0.4).next(0)
        method.step(batch, make_optimizer(method.model))
        found[layers] = (method.weighting.first.weight.grad.clone(), method.read_records())
    plain, mixed, body = found.values()
    assert not torch.allclose(plain[0], mixed[0])
    torch.testing.assert_close(plain[0], body[0])  # the body's output is the head's input
    record = mixed[1]
    assert record["meta_loss"] == pytest.approx((0.5 * record["clid_stem"] + record["clid_features"]) / 1.5, rel=1e-5)
    assert "clid_features" not in plain[1]


def test_pooled_outputs_of_a_virtual_pass():
    model, x = Staged(), torch.randn(5, 1, 4, 4).double()
    with stage_outputs(model, ["stem", "features"]) as hidden:
        model(x)
    torch.testing.assert_close(hidden["stem"], model.stem(x).mean((2, 3)))
    assert list(hidden) == ["stem"] and not hidden["stem"].requires_grad
    assert not model.stem._forward_hooks
    assert pooled(torch.ones(2, 7, 3)).shape == (2, 3) and pooled(torch.ones(2, 3)).shape == (2, 3)


@pytest.mark.parametrize("goal", GOALS)
def test_every_goal_moves_the_meta_model_by_its_own_labels(goal):
    method, batches, _ = with_images(meta_goal=goal, meta_lr=1.0, meta_batch_size=9, warmup_epochs=0)
    start = copy.deepcopy(method.weighting.state_dict())
    train(method, batches, make_optimizer(method.model), last=3)
    moved = method.weighting.first.weight - start["first.weight"]
    assert moved.abs().max() > 0 and moved.isfinite().all()
    assert (method.views_for(method.hyper).meta == ()) == goal.endswith("sloss")
    assert method.hyper.uses_truth == (goal == "ce")


def test_the_oracle_reads_true_labels_and_the_others_given_ones():
    batches = ToyBatches(make_method("clid_mu"), wrong=0.5)
    batch = batches.next(0)
    assert batch.meta is not None
    batch.meta.y = batches.given[batch.meta.index]
    for goal, expected in (("ce", batch.meta.true), ("ce_noisy", batch.meta.y), ("mae", batch.meta.y)):
        assert torch.equal(make_method("clid_mu", meta_goal=goal)._meta_batch(batch)[1], expected)


def test_both_views_of_the_meta_images_are_one_batch():
    method = make_method("clid_mu", meta_view="both", meta_batch_size=10)
    batch = ToyBatches(method).next(0)
    x, y = method._meta_batch(batch)
    assert torch.equal(x, torch.cat([batch.meta.weak, batch.meta.strong])) and len(y) == 20
    method.step(batch, make_optimizer(method.model))


# -- selection by small loss -------------------------------------------------------------------------------------------


def test_the_selected_set_has_its_size_and_the_images_of_small_loss():
    """Exactly size // K images of each class, the chosen ones, not the whole set.

    (docs/clid_mu.md, section 8.4, test 5, P1)
    """
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 10, (5000,), generator=generator)
    noisy = torch.rand(5000, generator=generator) < 0.4
    losses = torch.where(noisy, 3.0, 0.3) + 0.4 * torch.randn(5000, generator=generator).abs()
    places = select_small_loss(losses, y, torch.bincount(y).tolist(), 1000)
    assert len(places) == len(set(places.tolist())) == 1000
    assert torch.bincount(y[places]).tolist() == [100] * 10
    assert not noisy[places].any()
    for label in range(10):
        own = losses[y == label].sort().values[:100]
        assert torch.equal(losses[places[y[places] == label]].sort().values, own)


def test_a_class_with_few_images_gives_what_it_has():
    y = torch.tensor([0] * 50 + [1] * 3)
    places = select_small_loss(torch.linspace(0, 1, 53), y, [50, 3], 20)
    assert torch.bincount(y[places]).tolist() == [10, 3]


def test_meta_batches_come_from_the_selected_images_alone():
    method, batches, images = with_images(
        meta_goal="ce_sloss", meta_set_size=12, meta_batch_size=6, warmup_epochs=1, reselect_epochs=2, meta_lr=1e-3
    )
    optimizer, epoch, selections = make_optimizer(method.model), math.ceil(30 / 8), []
    select = method.meta_set.select
    method.meta_set.select = lambda model: selections.append(step) or select(model)
    for step in range(epoch + 4 * epoch):
        images.asked.clear()
        method.step(batches.next(step), optimizer)
        if step < epoch:
            assert not images.asked
        else:
            chosen = set(method.meta_set.index.tolist())
            assert len(chosen) == 12
            drawn = images.asked[-1].tolist()
            assert len(drawn) == 6 and set(drawn) <= chosen
            assert torch.equal(method.meta_set.y, batches.given[method.meta_set.index])
    assert selections == [epoch, 3 * epoch]
    assert method.model.training


def test_a_selection_is_by_the_model_in_eval_mode_and_moves_nothing():
    method, _, images = with_images(meta_goal="mae_sloss", meta_set_size=12, meta_batch_size=6)
    before = copy.deepcopy(method.state_dict())
    method.meta_set.select(method.model, chunk=7)
    for name, value in method.model.state_dict().items():
        assert torch.equal(value, before[f"model.{name}"]), name
    model = copy.deepcopy(method.model).eval()
    losses = F.cross_entropy(model(images.images[images.index]), images.y, reduction="none")
    expected = images.index[select_small_loss(losses, images.y, method.setup.label_counts, 12)]
    assert torch.equal(method.meta_set.index, expected)


def test_the_selection_survives_a_checkpoint():
    values = {"meta_goal": "ce_sloss", "meta_set_size": 12, "meta_batch_size": 6, "warmup_epochs": 0}
    method, batches, _ = with_images(reselect_epochs=100, **values)
    optimizer = make_optimizer(method.model)
    train(method, batches, optimizer, 0, 5)
    saved = copy.deepcopy((method.state_dict(), optimizer.state_dict()))
    expected = train(method, batches, optimizer, 5, 9)
    fresh, _, _ = with_images(seed=3, reselect_epochs=100, **values)
    resumed = make_optimizer(fresh.model)
    fresh.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    assert train(fresh, batches, resumed, 5, 9) == expected


def test_what_does_not_fit_a_selected_set_is_said_at_once():
    with pytest.raises(ValueError, match=r"meta_batch_size: 13 is larger than the meta set, 12 images.*at most 12"):
        with_images(meta_goal="ce_sloss", meta_set_size=14, meta_batch_size=13)
    with pytest.raises(ValueError, match="meta_goal: selection by small loss looks at all labelled images"):
        make_method("clid_mu", meta_goal="ce_sloss", meta_batch_size=6)
    assert SmallLossSet.__doc__ and "P1" in SmallLossSet.__doc__


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_warm_up_is_really_so_many_epochs(epochs):
    """E passes over N labelled images are E ceil(N / B) plain steps, as supervised makes them.

    (docs/clid_mu.md, section 8.4, test 9, P2)
    """
    method, batches, _ = with_images(meta_goal="clid", warmup_epochs=epochs, meta_lr=1.0)
    optimizer, start = make_optimizer(method.model), copy.deepcopy(method.weighting.state_dict())
    length = epochs * math.ceil(30 / 8)
    ours = train(method, batches, optimizer, 0, length)
    assert all(torch.equal(value, start[name]) for name, value in method.weighting.state_dict().items())
    plain = make_method("supervised")
    assert ours == train(plain, batches, make_optimizer(plain.model), 0, length)
    train(method, batches, optimizer, length, length + 1)
    assert not torch.equal(method.weighting.first.weight, start["first.weight"])


def test_warm_up_is_ten_epochs_for_small_loss_and_must_end():
    method, batches, _ = with_images(meta_goal="ce_sloss", meta_set_size=12, meta_batch_size=6, steps=50)
    optimizer = make_optimizer(method.model)
    train(method, batches, optimizer, 0, 40)
    assert "meta_loss" not in method.read_records()
    train(method, batches, optimizer, 40, 41)
    assert method.read_records()["meta_loss"] > 0
    method, batches, _ = with_images(warmup_epochs=13, steps=50)
    with pytest.raises(ValueError, match="warmup_epochs: 13 passes are 52 steps, which leaves none of 50; at most 12"):
        method.step(batches.next(0), make_optimizer(method.model))


# -- diagnostics -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_auroc_counts_pairs(higher, lower):
    pairs = [(a > b) + (a == b) / 2 for a in higher for b in lower]
    found = auroc(torch.tensor(higher, dtype=torch.float64), torch.tensor(lower, dtype=torch.float64))
    assert found.item() == pytest.approx(sum(pairs) / len(pairs))


def test_auroc_of_nothing_is_unknown():
    assert auroc(torch.zeros(0), torch.ones(3)).isnan() and auroc(torch.ones(3), torch.zeros(0)).isnan()


def test_the_last_trust_of_each_image_is_kept_and_judged():
    method = make_method("clid_mu", every=100)
    batches, optimizer = ToyBatches(method, wrong=0.4), make_optimizer(method.model)
    method.weighting.output_for = lambda seen, generator: (batches.true[index] == seen.target).double() + 0.5
    for step in range(1, 5):  # not step 0, whose meta update this output cannot take part in
        batch = batches.next(step)
        index = batch.labelled.index
        method.step(batch, optimizer)
    assert torch.equal(method.trust.value >= 0, method.trust.wrong >= 0)
    seen = method.trust.value >= 0
    assert torch.equal(method.trust.wrong[seen] == 1, batches.given[seen] != batches.true[seen])
    records = method.read_records()
    assert records["weight_auroc"] == 1.0
    assert records["weight_clean_p10"] == records["weight_clean_p90"] == 12.0 and records["weight_noisy_p50"] == 4.0


def test_unknown_truth_is_no_auroc():
    method = make_method("clid_mu")
    batches = ToyBatches(method)
    batches.true.fill_(-1)
    train(method, batches, make_optimizer(method.model), last=2)
    records = method.read_records()
    assert all(
        math.isnan(records[name]) for name in ("weight_auroc", "weight_clean_p50", "weight_noisy", "weight_clean")
    )
