"""Batches of a trial: the meta set, all labelled images, exact resume, evaluation, no waiting for the device."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from methods.base import Views
from platform.core.errors import UserError
from platform.data.batches import Batches
from tests.data.small_batches import DEVICES, SIZES, asked, make, make_dataset, make_plan, same

# -- the meta set ------------------------------------------------------------------------------------------------------


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


def test_the_meta_set_can_be_of_verified_labels() -> None:
    dataset = make_dataset()
    plan = make_plan(dataset)
    verified = dataclasses.replace(plan, val=plan.val[8:], clean=plan.val[:8])
    stream = asked(make(dataset=dataset, plan=verified, meta_source="clean", sizes=SIZES | {"meta": 8}).next(0, 8).meta)
    assert sorted(stream.index.tolist()) == verified.clean.tolist()
    assert np.array_equal(stream.y.numpy(), plan.given[stream.index.numpy()])
    with pytest.raises(UserError, match="meta set of this method has no image") as caught:
        make(dataset=dataset, plan=plan, meta_source="clean")
    assert caught.value.problems[0].key == "labels.clean"


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


# -- resume ------------------------------------------------------------------------------------------------------------


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


# -- evaluation --------------------------------------------------------------------------------------------------------
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


# -- never waiting for the device --------------------------------------------------------------------------------------


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
