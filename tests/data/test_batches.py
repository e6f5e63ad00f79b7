"""Streams: every image once per pass, one order for all methods, exact resume, hidden true labels, no waiting."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from methods.base import Batch, Stream, Views
from platform.core.errors import UserError
from platform.data.batches import Batches, DeviceImages, Order, statistics
from platform.data.dataset import Augment, Dataset, LabelPlan, Split

ALL = Views(labelled=("weak",), unlabelled=("weak", "strong"), meta=("plain", "strong"))
SIZES = {"labelled": 16, "unlabelled": 28, "meta": 10}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


def make_dataset(channels: int = 3, size: int = 12, extra: int = 0, sha256: str = "a" * 64) -> Dataset:
    """200 training, 30 test images, all different, with labels that noise has changed at every fifth image."""
    rng = np.random.default_rng(7)

    def images(count: int) -> np.ndarray:
        base = rng.integers(0, 180, (count, channels, 1, 1))
        return (base + rng.integers(0, 76, (count, channels, size, size))).astype(np.uint8)

    labels = rng.integers(0, 4, 200)
    return Dataset(
        name="made",
        class_names=("a", "b", "c", "d"),
        train=Split(images(200), labels),
        test=Split(images(30), rng.integers(0, 4, 30)),
        augment=Augment(pad=2),
        sha256=sha256,
        extra=images(extra) if extra else None,
    )


def make_plan(dataset: Dataset, known: bool = True) -> LabelPlan:
    """40 labelled, 40 held out, the rest and the images without label unlabelled."""
    true = dataset.train.labels
    given = np.where(np.arange(200) % 5 == 0, (true + 1) % 4, true)
    order = np.random.default_rng(1).permutation(200)
    val, rest = np.sort(order[:40]), np.sort(order[40:])
    extra = 0 if dataset.extra is None else len(dataset.extra)
    unlabelled = np.concatenate([rest, 200 + np.arange(extra)])
    return LabelPlan(rest[:40], unlabelled, val, given, true if known else None, "p")


def make(views: Views = ALL, sizes: dict[str, int] = SIZES, seed: int = 0, **options: Any) -> Batches:
    dataset = options.pop("dataset", None) or make_dataset()
    plan = options.pop("plan", None) or make_plan(dataset)
    return Batches(dataset, plan, views, sizes, options.pop("device", "cpu"), seed, **options)


def tensors(batch: Batch) -> Iterator[Tensor]:
    for stream in (batch.labelled, batch.unlabelled, batch.meta):
        if stream is not None:
            yield from (*stream.views, stream.y, stream.true, stream.index)


def same(one: Batch, other: Batch) -> bool:
    pairs = list(zip(tensors(one), tensors(other), strict=True))
    return len(pairs) > 0 and all(torch.equal(a, b) for a, b in pairs)


def asked(stream: Stream | None) -> Stream:
    assert stream is not None
    return stream


# -- index streams ---------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(pool=st.integers(1, 50), counts=st.lists(st.integers(0, 120), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_every_position_comes_once_per_pass(pool: int, counts: list[int], seed: int) -> None:
    positions = torch.arange(pool) * 3 + 1
    order = Order(positions, torch.Generator().manual_seed(seed))
    taken = [order.take(count) for count in counts]
    assert [len(t) for t in taken] == counts
    sequence = torch.cat(taken)
    for one_pass in sequence.split(pool):
        assert len(one_pass.unique()) == len(one_pass)
        assert torch.isin(one_pass, positions).all()
    whole = Order(positions, torch.Generator().manual_seed(seed)).take(sum(counts))
    assert torch.equal(sequence, whole), "how many are taken at a time changes the order"


@settings(max_examples=40, deadline=None)
@given(pool=st.integers(1, 40), before=st.integers(0, 130), after=st.integers(1, 130))
def test_an_order_goes_on_where_it_was_saved(pool: int, before: int, after: int) -> None:
    order = Order(torch.arange(pool), torch.Generator().manual_seed(5))
    order.take(before)
    state = order.state_dict()
    expected = order.take(after)
    other = Order(torch.arange(pool), torch.Generator().manual_seed(6))
    other.load_state_dict(state)
    assert torch.equal(other.take(after), expected)
    assert other.passes == order.passes


def test_passes_differ() -> None:
    order = Order(torch.arange(30), torch.Generator().manual_seed(0))
    assert not torch.equal(order.take(30), order.take(30))


def test_a_batch_may_be_larger_than_its_pool() -> None:
    index = make(sizes={**SIZES, "labelled": 64}).next(0, 10).labelled.index
    assert len(index) == 64
    assert (index.unique(return_counts=True)[1] >= 1).all() and len(index.unique()) == 40


# -- pairing ---------------------------------------------------------------------------------------------------------


def test_labelled_images_and_views_do_not_depend_on_what_else_is_asked_for() -> None:
    alone = make(Views(labelled=("weak",)), {"labelled": 16, "unlabelled": 0, "meta": 0})
    among = make()
    for step in range(8):
        one, other = alone.next(step, 8).labelled, among.next(step, 8).labelled
        assert torch.equal(one.index, other.index) and torch.equal(one.weak, other.weak)


def test_a_view_does_not_depend_on_the_others_of_its_stream() -> None:
    one = asked(make(Views(unlabelled=("weak", "strong"))).next(0, 8).unlabelled)
    other = asked(make(Views(unlabelled=("strong", "plain", "weak"))).next(0, 8).unlabelled)
    assert torch.equal(one.strong, other.strong) and torch.equal(one.weak, other.weak)


def test_the_same_view_twice_is_drawn_twice() -> None:
    stream = asked(make(Views(unlabelled=("weak", "weak"))).next(0, 8).unlabelled)
    assert stream.names == ("weak", "weak")
    assert not torch.equal(stream.views[0], stream.views[1])


def test_the_batch_size_does_not_change_the_order() -> None:
    small, large = make(sizes={**SIZES, "labelled": 8}), make(sizes={**SIZES, "labelled": 24})
    sequence = torch.cat([small.next(step, 9).labelled.index for step in range(9)])
    assert torch.equal(sequence, torch.cat([large.next(step, 9).labelled.index for step in range(3)]))


def test_the_seed_decides() -> None:
    assert same(make(seed=3).next(0, 8), make(seed=3).next(0, 8))
    one, other = make(seed=3).next(0, 8), make(seed=4).next(0, 8)
    assert not torch.equal(one.labelled.index, other.labelled.index)


# -- what a step sees ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_views_come_in_the_order_asked_for_as_floats(channels: int) -> None:
    batches = make(dataset=make_dataset(channels))
    batch = batches.next(3, 12)
    assert (batch.step, batch.progress) == (3, 0.25)
    for stream, names, size in (
        (batch.labelled, ALL.labelled, 16),
        (asked(batch.unlabelled), ALL.unlabelled, 28),
        (asked(batch.meta), ALL.meta, 10),
    ):
        assert stream.names == names and len(stream.views) == len(names)
        assert stream.index.dtype == stream.y.dtype == stream.true.dtype == torch.int64
        for view in stream.views:
            assert view.shape == (size, channels, 12, 12) and view.dtype == torch.float32
            levels = view * torch.tensor(batches.images.statistics.std)[:, None, None]
            levels += torch.tensor(batches.images.statistics.mean)[:, None, None]
            assert levels.min() > -1e-3 and levels.max() < 255 + 1e-3
            assert (levels - levels.round()).abs().max() < 1e-3


def test_streams_nobody_asked_for_are_not_made() -> None:
    batches = make(Views(labelled=("weak",)), {"labelled": 16, "unlabelled": 0, "meta": 0})
    batch = batches.next(0, 8)
    assert batch.unlabelled is None and batch.meta is None


def test_labels_are_the_given_ones_and_unlabelled_images_have_none() -> None:
    dataset = make_dataset()
    plan = make_plan(dataset)
    batch = make(dataset=dataset, plan=plan).next(0, 8)
    for stream in (batch.labelled, asked(batch.meta)):
        assert np.array_equal(stream.y.numpy(), plan.given[stream.index.numpy()])
        assert np.isin(stream.index.numpy(), plan.labelled).all()
    unlabelled = asked(batch.unlabelled)
    assert (unlabelled.y == -1).all()
    assert plan.true is not None
    assert np.array_equal(unlabelled.true.numpy(), plan.true[unlabelled.index.numpy()])
    assert (batch.labelled.y != batch.labelled.true).any(), "noise reaches the labels"


def test_true_labels_nobody_knows_are_minus_one() -> None:
    dataset = make_dataset()
    batch = make(dataset=dataset, plan=make_plan(dataset, known=False)).next(0, 8)
    assert (batch.labelled.true == -1).all() and (batch.labelled.y >= 0).all()


def test_images_without_label_follow_the_training_images() -> None:
    dataset = make_dataset(extra=50)
    batches = make(Views(unlabelled=("plain",)), {"labelled": 4, "unlabelled": 210}, dataset=dataset)
    stream = asked(batches.next(0, 8).unlabelled)
    assert dataset.extra is not None
    both = np.concatenate([dataset.train.images, dataset.extra])
    index = stream.index.numpy()
    assert index.max() >= 200 and len(np.unique(index)) == 210
    assert torch.equal(stream.x, batches.normalise(torch.from_numpy(both[index])))
    assert (stream.true[stream.index >= 200] == -1).all() and (stream.true[stream.index < 200] >= 0).all()


def test_weak_views_are_not_flipped_where_that_does_not_suit_the_images() -> None:
    dataset = make_dataset()
    plan, views = make_plan(dataset), Views(labelled=("plain", "weak"))
    for flip in (True, False):
        batches = make(views, dataset=dataset, plan=plan, augment=Augment(pad=0, flip=flip))
        stream = batches.next(0, 8).labelled
        flipped = (stream.views[1] != stream.views[0]).flatten(1).any(1)
        assert flipped.any() == flip
        assert torch.equal(stream.views[1][flipped], stream.views[0][flipped].flip(3))


# -- the meta set ----------------------------------------------------------------------------------------------------


META = Views(meta=("plain",))


def meta_positions(batches: Batches) -> set[int]:
    return {int(p) for step in range(16) for p in asked(batches.next(step, 16).meta).index}


def test_the_meta_set_is_a_fixed_part_of_the_labelled_images() -> None:
    plan = make_plan(make_dataset())
    one, other = (
        meta_positions(make(meta_set_size=13, views=META)),
        meta_positions(make(meta_set_size=13, views=META, sizes=SIZES | {"meta": 3})),
    )
    assert len(one) == 13 and one == other and one <= set(plan.labelled.tolist())
    assert meta_positions(make(meta_set_size=13, views=META, seed=1)) != one
    trained = {int(p) for step in range(3) for p in make(sizes=SIZES | {"labelled": 40}).next(step, 3).labelled.index}
    assert one <= trained, "meta images stay training images"


def test_a_meta_set_larger_than_its_source_is_all_of_it() -> None:
    assert len(meta_positions(make(META, meta_set_size=1000))) == len(meta_positions(make(META))) == 40


def test_the_meta_set_can_be_held_out_or_unlabelled() -> None:
    dataset = make_dataset()
    plan = make_plan(dataset)
    held_out = make(dataset=dataset, plan=plan, meta_source="held_out")
    stream = asked(held_out.next(0, 8).meta)
    assert np.isin(stream.index.numpy(), plan.val).all()
    assert np.array_equal(stream.y.numpy(), plan.given[stream.index.numpy()])
    unlabelled = asked(make(dataset=dataset, plan=plan, meta_source="unlabelled").next(0, 8).meta)
    assert np.isin(unlabelled.index.numpy(), plan.unlabelled).all() and (unlabelled.y == -1).all()


def test_a_meta_batch_larger_than_its_meta_set_is_an_error_of_its_size() -> None:
    for options, largest in (
        ({"meta_set_size": 9}, 9),
        ({"meta_source": "held_out", "sizes": SIZES | {"meta": 41}}, 40),
    ):
        with pytest.raises(UserError) as caught:
            make(**options)
        (problem,) = caught.value.problems
        assert problem.key == "meta_batch_size" and f"at most {largest}" in problem.hint


def test_all_labelled_images_can_be_looked_at_without_moving_the_streams() -> None:
    dataset = make_dataset()
    plan = make_plan(dataset)
    batches, alone = (make(dataset=dataset, plan=plan) for _ in range(2))
    images = batches.labelled_images()
    generator = torch.Generator().manual_seed(3)
    assert np.array_equal(np.sort(images.index.numpy()), np.sort(plan.labelled))
    assert np.array_equal(images.y.numpy(), plan.given[images.index.numpy()])
    plain = images.view(images.index, "plain", generator)
    assert torch.equal(plain, torch.cat(list(batches.plain(images.index, 7))))
    for name in ("weak", "strong"):
        view = images.view(images.index[:5], name, generator)
        assert view.shape == plain[:5].shape and not torch.equal(view, plain[:5])
    assert same(batches.next(0, 8), alone.next(0, 8))


# -- resume ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("before", [0, 1, 7])
def test_saved_batches_go_on_exactly(before: int, device: str) -> None:
    batches = make(dataset=make_dataset(extra=9), device=device)
    for step in range(before):
        batches.next(step, 20)
    file = io.BytesIO()
    torch.save(batches.state_dict(), file)
    expected = [batches.next(step, 20) for step in range(before, before + 5)]
    file.seek(0)
    other = make(dataset=make_dataset(extra=9), device=device, seed=99)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert all(same(other.next(step, 20), batch) for step, batch in enumerate(expected, before))


def test_a_state_stays_as_it_was_saved() -> None:
    batches = make()
    state = batches.state_dict()
    first = batches.next(0, 8)
    batches.load_state_dict(state)
    assert same(batches.next(0, 8), first)


def test_a_state_of_other_views_is_refused() -> None:
    state = make(Views(labelled=("weak",))).state_dict()
    with pytest.raises(ValueError, match="strong"):
        make().load_state_dict(state)


# -- normalisation, sharing, evaluation ------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_normalised_training_images_have_mean_zero_and_deviation_one(channels: int) -> None:
    dataset = make_dataset(channels)
    x = make(dataset=dataset).normalise(torch.from_numpy(dataset.train.images))
    assert x.dtype == torch.float32
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert (x.var((0, 2, 3), correction=0) - 1).abs().max() < 1e-4


def test_statistics_are_of_evenly_spaced_images_and_exact() -> None:
    images = make_dataset().train.images
    found = statistics(images, largest=21)
    chosen = images[np.linspace(0, 199, 21).astype(int)].astype(np.float64)
    np.testing.assert_allclose(found.mean, chosen.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.std, chosen.std((0, 2, 3)), rtol=1e-9)
    assert found == statistics(images, largest=21)
    assert statistics(images, largest_bytes=21 * images[0].nbytes) == found


def test_a_channel_without_contrast_does_not_divide_by_zero() -> None:
    assert statistics(np.full((5, 1, 8, 8), 3, dtype=np.uint8)).std == (1.0,)


def test_images_are_handed_from_trial_to_trial() -> None:
    first = make()
    again = make(images=first.images)
    assert again.images is first.images
    assert same(again.next(0, 8), make().next(0, 8))
    assert make(dataset=make_dataset(sha256="b" * 64), images=first.images).images is not first.images
    assert make(dataset=make_dataset(extra=5), images=first.images).images is not first.images


def test_on_a_cpu_the_memory_map_itself_is_used(tmp_path: Path) -> None:
    dataset = make_dataset()
    np.save(tmp_path / "images.npy", dataset.train.images)
    dataset.train.images = np.load(tmp_path / "images.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = DeviceImages(dataset, "cpu")
        batch = make(dataset=dataset, images=images).next(0, 8)
    assert images.train.data_ptr() == dataset.train.images.ctypes.data
    assert same(batch, make().next(0, 8))


@pytest.mark.parametrize("size", [1, 7, 30, 64])
def test_evaluation_goes_through_all_images_in_order(size: int) -> None:
    dataset = make_dataset(extra=6)
    batches = make(dataset=dataset)
    chunks = list(batches.test(size))
    assert max(len(chunk) for chunk in chunks) <= size
    assert torch.equal(torch.cat(chunks), batches.normalise(torch.from_numpy(dataset.test.images)))
    positions = np.array([5, 3, 202, 199, 5, 0])
    assert dataset.extra is not None
    both = np.concatenate([dataset.train.images, dataset.extra])
    found = torch.cat(list(batches.plain(positions, size)))
    assert torch.equal(found, batches.normalise(torch.from_numpy(both[positions])))
    assert list(batches.plain(positions[:0], size)) == []


def test_evaluating_does_not_disturb_training() -> None:
    batches, undisturbed = make(), make()
    assert same(batches.next(0, 8), undisturbed.next(0, 8))
    assert len(list(batches.plain(np.arange(20), 8))) == 3 and len(list(batches.test(8))) == 4
    assert same(batches.next(1, 8), undisturbed.next(1, 8))


def test_channels_last_changes_the_layout_only() -> None:
    last, first = make(channels_last=True).next(0, 8), make(channels_last=False).next(0, 8)
    assert last.labelled.x.is_contiguous(memory_format=torch.channels_last)
    assert first.labelled.x.is_contiguous()
    assert same(last, first)


# -- errors ----------------------------------------------------------------------------------------------------------


def test_a_stream_without_images_is_an_error_of_the_label_settings() -> None:
    dataset = make_dataset()
    plan = make_plan(dataset)
    empty = LabelPlan(plan.labelled, plan.unlabelled[:0], plan.val, plan.given, plan.true, "p")
    with pytest.raises(UserError, match="unlabelled") as caught:
        make(dataset=dataset, plan=empty)
    assert caught.value.problems[0].key == "labels"
    make(Views(), dataset=dataset, plan=empty)  # who asks for none needs none


def test_an_unknown_view_or_source_is_refused() -> None:
    with pytest.raises(ValueError, match="'medium'; a view is one of plain, weak, strong"):
        make(Views(labelled=("medium",)))
    with pytest.raises(ValueError, match="'test'"):
        make(meta_source="test")  # type: ignore[arg-type]


# -- never waiting for the device ------------------------------------------------------------------------------------


class Watch(TorchDispatchMode):
    """Collects the names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to be shielded from the compiler would import it, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


WAITS = {"_local_scalar_dense", "item", "nonzero", "masked_select", "bincount", "_unique2", "unique_dim", "equal"}
WAITS.add("lift_fresh")  # torch.tensor() and torch.from_numpy(): the host's data, to be copied to a device


@pytest.mark.parametrize("extra", [0, 12])
def test_no_operation_of_a_step_waits_for_the_device(extra: int) -> None:
    batches = make(dataset=make_dataset(size=20, extra=extra))
    batches.next(0, 12)  # the images are put on the device at the first step
    with Watch() as watch:
        for step in range(1, 6):  # two passes over the labelled images
            batches.next(step, 12)
    assert {"index_select", "gather", "randperm", "scatter_add_"} <= watch.seen, "the watch sees what happens"
    assert not watch.seen & WAITS
    with Watch() as watch:
        torch.arange(3)[torch.tensor([True, False, True])].sum().item()
    assert watch.seen & WAITS, "the watch would have seen it"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_cuda_sees_no_synchronisation_in_a_step() -> None:
    batches = make(dataset=make_dataset(size=20, extra=12), device="cuda")
    batches.next(0, 12)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, 12):
            batches.next(step, 12)
    finally:
        torch.cuda.set_sync_debug_mode("default")
