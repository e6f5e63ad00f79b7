"""Images on the device: their channel statistics, and one upload for all trials of a process."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from platform.data.device_images import DeviceImages, channel_statistics
from tests.data.small_batches import make, make_dataset, same


@pytest.mark.parametrize("channels", [1, 3])
def test_normalised_training_images_have_mean_zero_and_deviation_one(channels: int) -> None:
    dataset = make_dataset(channels)
    x = make(dataset=dataset).normalise(torch.from_numpy(dataset.train.images))
    assert x.dtype == torch.float32
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert (x.var((0, 2, 3), correction=0) - 1).abs().max() < 1e-4


def test_statistics_are_of_evenly_spaced_images_and_exact() -> None:
    images = make_dataset().train.images
    found = channel_statistics(images, largest=21)
    chosen = images[np.linspace(0, 199, 21).astype(int)].astype(np.float64)
    np.testing.assert_allclose(found.mean, chosen.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found.std, chosen.std((0, 2, 3)), rtol=1e-9)
    assert found == channel_statistics(images, largest=21)
    assert channel_statistics(images, largest_bytes=21 * images[0].nbytes) == found


def test_a_channel_without_contrast_does_not_divide_by_zero() -> None:
    assert channel_statistics(np.full((5, 1, 8, 8), 3, dtype=np.uint8)).std == (1.0,)


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
