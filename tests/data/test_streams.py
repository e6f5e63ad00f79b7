"""Streams: one order for all methods, the views that were asked for, given labels and hidden true ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from methods.base import Views
from platform.core.errors import UserError
from platform.data.dataset import Augment, LabelPlan
from tests.data.small_batches import ALL, SIZES, asked, make, make_dataset, make_plan, same


def test_a_batch_may_be_larger_than_its_pool() -> None:
    index = make(sizes={**SIZES, "labelled": 64}).next(0, 10).labelled.index
    assert len(index) == 64
    assert (index.unique(return_counts=True)[1] >= 1).all() and len(index.unique()) == 40


# -- pairing -----------------------------------------------------------------------------------------------------------


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


# -- what a step sees --------------------------------------------------------------------------------------------------


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


# -- errors ------------------------------------------------------------------------------------------------------------


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
