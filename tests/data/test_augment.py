"""Operations against Pillow on real images, pixel by pixel; crops against a loop; choices by their distribution."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from scipy.stats import chisquare
from torch import Tensor

from platform.core.errors import UserError
from platform.data.augment import cutout, operations, shares, strong, weak
from platform.data.augment_ops import OPERATIONS, Operation
from platform.data.dataset import Augment

PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "autocontrast": lambda image, m: ImageOps.autocontrast(image),
    "brightness": lambda image, m: ImageEnhance.Brightness(image).enhance(m),
    "colour": lambda image, m: ImageEnhance.Color(image).enhance(m),
    "contrast": lambda image, m: ImageEnhance.Contrast(image).enhance(m),
    "equalize": lambda image, m: ImageOps.equalize(image),
    "identity": lambda image, m: image,
    "posterize": lambda image, m: ImageOps.posterize(image, int(m)),
    "rotate": lambda image, m: image.rotate(m),
    "sharpness": lambda image, m: ImageEnhance.Sharpness(image).enhance(m),
    "shear_x": lambda image, m: _transform(image, (1, m, 0, 0, 1, 0)),
    "shear_y": lambda image, m: _transform(image, (1, 0, 0, m, 1, 0)),
    "solarize": lambda image, m: ImageOps.solarize(image, m),  # type: ignore[arg-type]
    "translate_x": lambda image, m: _transform(image, (1, 0, m * image.width, 0, 1, 0)),
    "translate_y": lambda image, m: _transform(image, (1, 0, 0, 0, 1, m * image.height)),
}


def _transform(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


@functools.cache
def photographs(height: int, width: int, grey: bool = False, count: int = 24) -> Tensor:
    """Crops of a photograph of a temple in China, [count, C, height, width], at several scales."""
    from sklearn.datasets import load_sample_image

    photo = Image.fromarray(load_sample_image("china.jpg"))
    photo = photo.convert("L") if grey else photo
    rng = np.random.default_rng(0)
    crops = []
    for k in range(count):
        scale = (1, 2, 4)[k % 3]
        x, y = (int(rng.integers(side)) for side in (photo.width - scale * width, photo.height - scale * height))
        crop = photo.crop((x, y, x + scale * width, y + scale * height)).resize((width, height))
        crops.append(np.atleast_3d(np.asarray(crop)))
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


@functools.cache
def digits(size: int, count: int = 24) -> Tensor:
    """Handwritten digits, [count, 1, size, size]."""
    from sklearn.datasets import load_digits

    small = (load_digits(return_X_y=True)[0][:count].reshape(-1, 8, 8) * 255 / 16).round().astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((size, size))) for image in small]
    return torch.from_numpy(np.stack(large))[:, None]


REAL = {
    "photographs 32x32": lambda: photographs(32, 32),
    "photographs 45x31": lambda: photographs(45, 31),
    "photographs 96x96": lambda: photographs(96, 96),
    "grey photographs 40x32": lambda: photographs(40, 32, grey=True),
    "digits 8x8": lambda: digits(8),
    "digits 28x28": lambda: digits(28),
}


def pillow(image: Tensor, name: str, magnitude: float) -> np.ndarray:
    pixels = image.permute(1, 2, 0).numpy()
    result = PILLOW[name](Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels), magnitude)
    return np.atleast_3d(np.asarray(result)).transpose(2, 0, 1)


def generators(seed: int = 0) -> tuple[torch.Generator, torch.Generator]:
    return torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)


@pytest.mark.parametrize("kind", REAL)
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_pillows_pixels(name: str, kind: str) -> None:
    images = REAL[kind]()
    before = images.clone()
    operation = OPERATIONS[name]
    draws = torch.cat([torch.tensor([0.001, 0.9999]), torch.rand(len(images) - 2, generator=generators()[0])])
    magnitudes = operation.magnitude(draws)
    result = operation(images, magnitudes)
    assert result.dtype == torch.uint8 and result.shape == images.shape
    assert torch.equal(images, before), "the resident images were written to"
    for image, ours, magnitude in zip(images, result, magnitudes.tolist(), strict=True):
        theirs = pillow(image, name, magnitude)
        difference = np.abs(ours.numpy().astype(int) - theirs.astype(int))
        assert difference.max() <= (name == "autocontrast"), (magnitude, difference.max())


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"identity", "colour", "equalize"}))
def test_an_operation_does_something_even_to_digits_of_eight_pixels(name: str) -> None:
    images = digits(8) // 2  # autocontrast has something to stretch
    result = OPERATIONS[name](images, OPERATIONS[name].magnitude(torch.full((len(images),), 0.3)))
    assert (result != images).flatten(1).any(1).float().mean() > 0.9


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "contrast", "solarize", "posterize", "sharpness"])
@pytest.mark.parametrize("level", [0, 7, 255])
def test_an_image_of_one_level_is_treated_as_pillow_does(name: str, level: int) -> None:
    images = torch.full((2, 3, 20, 20), level, dtype=torch.uint8)
    images[1, :, 0, 0] = 255 - level
    magnitudes = OPERATIONS[name].magnitude(torch.tensor([0.4, 0.4]))
    result = OPERATIONS[name](images, magnitudes)
    for image, ours in zip(images, result, strict=True):
        np.testing.assert_array_equal(ours.numpy(), pillow(image, name, magnitudes[0].item()))


def test_channels_last_images_are_treated_alike() -> None:
    images = photographs(32, 32)
    for operation in OPERATIONS.values():
        magnitudes = operation.magnitude(torch.linspace(0, 0.99, len(images)))
        twisted = images.to(memory_format=torch.channels_last)
        assert torch.equal(operation(twisted, magnitudes), operation(images, magnitudes))


# -- the weak view ---------------------------------------------------------------------------------------------------


def crops(image: np.ndarray, pad: int) -> dict[tuple[int, int, bool], np.ndarray]:
    """Every view a loop could make: (row, column, flipped) -> image."""
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
    found = {}
    for y in range(2 * pad + 1):
        for x in range(2 * pad + 1):
            crop = padded[:, y : y + height, x : x + width]
            found[y, x, False], found[y, x, True] = crop, crop[:, :, ::-1]
    return found


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(8, 40),
    width=st.integers(8, 40),
    channels=st.sampled_from([1, 3]),
    pad=st.integers(0, 4),
    flip=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_a_weak_view_is_a_crop_of_the_padded_image(
    height: int, width: int, channels: int, pad: int, flip: bool, seed: int
) -> None:
    images = torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (6, channels, height, width), dtype=np.uint8)
    )
    views = weak(images, Augment(flip=flip, pad=pad), torch.Generator().manual_seed(seed))
    assert views.shape == images.shape and views.dtype == torch.uint8
    for image, view in zip(images.numpy(), views.numpy(), strict=True):
        places = [place for place, crop in crops(image, pad).items() if np.array_equal(crop, view)]
        assert places and (flip or not all(mirrored for *_, mirrored in places))  # padding makes some crops alike


def test_weak_views_cover_all_places_evenly() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8), dtype=np.uint8)
    images = torch.from_numpy(image).expand(9000, -1, -1, -1)
    views = weak(images, Augment(flip=True, pad=2), generators()[0]).numpy()
    numbers = {crop.tobytes(): k for k, crop in enumerate(crops(image, 2).values())}
    counts = np.bincount([numbers[view.tobytes()] for view in views], minlength=50)
    assert chisquare(counts).pvalue > 1e-3


def test_padding_wider_than_the_image_reflects_what_there_is() -> None:
    images = digits(8)
    wide = weak(images, Augment(pad=40), generators()[0])
    assert torch.equal(wide, weak(images, Augment(pad=7), generators()[0]))


# -- the strong view -------------------------------------------------------------------------------------------------

QUIET = Augment(flip=False, pad=0, cutout=0.0, num_ops=1)


def marking(number: int, pool: int) -> Operation:
    return Operation(0.0, 1.0, pixels=lambda images, magnitude: images * pool + number)


@pytest.mark.parametrize("count", [5, 14, 33])
def test_every_image_gets_every_operation_equally_often(count: int) -> None:
    pool = [marking(k, 14) for k in range(14)]
    blank, fill = torch.zeros(count, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.uint8)
    device, host = generators()
    seen = torch.stack([strong(blank, QUIET, pool, fill, device, host)[:, 0, 0, 0] for _ in range(400)])
    for position in range(count):
        assert chisquare(np.bincount(seen[:, position], minlength=14)).pvalue > 1e-4
    assert chisquare(np.bincount(seen.flatten(), minlength=14)).pvalue > 1e-3


def test_operations_of_two_stages_are_independent() -> None:
    pool = [marking(k, 14) for k in range(14)]  # two stages leave 14 first + second
    blank, fill = torch.zeros(100, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.uint8)
    device, host = generators()
    augment = dataclasses.replace(QUIET, num_ops=2)
    seen = torch.stack([strong(blank, augment, pool, fill, device, host)[:, 0, 0, 0] for _ in range(300)])
    assert chisquare(np.bincount(seen.flatten(), minlength=196)).pvalue > 1e-3


@given(images=st.integers(0, 500), pool=st.integers(1, 14), seed=st.integers(0, 99))
def test_shares_differ_by_one_at_most(images: int, pool: int, seed: int) -> None:
    sizes = shares(images, pool, torch.Generator().manual_seed(seed))
    assert sum(sizes) == images and len(sizes) == pool and max(sizes) - min(sizes) <= 1


def test_images_come_back_in_their_places() -> None:
    images = photographs(32, 32)
    augment = dataclasses.replace(QUIET, strong_ops=("identity",), num_ops=3)
    view = strong(images, augment, operations(augment), torch.zeros(3, dtype=torch.uint8), *generators())
    assert torch.equal(view, images)


def test_every_image_is_changed_as_pillow_would_by_some_magnitude_of_the_pool() -> None:
    """The whole path, on a pool whose results can be told apart: two bits dropped, a flip of the values, or nothing."""
    images = photographs(32, 32)
    pool = [
        Operation(6.0, 6.5, pixels=OPERATIONS["posterize"].pixels),
        Operation(0.0, 0.0, pixels=OPERATIONS["solarize"].pixels),
        Operation(0.25, 0.25, matrix=OPERATIONS["translate_x"].matrix),
        Operation(10.0, 10.0, matrix=OPERATIONS["rotate"].matrix),
    ]
    results = (("posterize", 6.0), ("solarize", 0.0), ("translate_x", 0.25), ("rotate", 10.0))
    view = strong(images, QUIET, pool, torch.zeros(3, dtype=torch.uint8), *generators())
    used = []
    for image, ours in zip(images, view.numpy(), strict=True):
        used += [name for name, magnitude in results if np.array_equal(pillow(image, name, magnitude), ours)]
    assert sorted(used) == sorted([name for name, _ in results] * (len(images) // 4))


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (7, 3, 8, 13), (30, 1, 28, 28), (3, 3, 64, 48)])
@pytest.mark.parametrize("num_ops", [0, 1, 3])
def test_strong_views_keep_shape_and_type(shape: tuple[int, ...], num_ops: int) -> None:
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generators()[0])
    before = images.clone()
    augment = Augment(num_ops=num_ops)
    view = strong(images, augment, operations(augment), torch.full(shape[1:2], 9, dtype=torch.uint8), *generators())
    assert view.shape == images.shape and view.dtype == torch.uint8
    assert torch.equal(images, before)


def test_the_same_generators_give_the_same_view() -> None:
    images, augment = photographs(32, 32), Augment()
    make = functools.partial(strong, images, augment, operations(augment), torch.zeros(3, dtype=torch.uint8))
    assert torch.equal(make(*generators(3)), make(*generators(3)))
    assert not torch.equal(make(*generators(3)), make(*generators(4)))


def test_choices_differ_between_images_of_a_batch() -> None:
    images, augment = photographs(32, 32)[:1].repeat(40, 1, 1, 1), Augment()
    view = strong(images, augment, operations(augment), torch.zeros(3, dtype=torch.uint8), *generators())
    assert len({image.numpy().tobytes() for image in view}) == 40


def test_only_the_operations_a_source_names_are_used() -> None:
    names = ("posterize", "rotate")
    assert operations(Augment(strong_ops=names)) == [OPERATIONS[name] for name in names]
    assert len(operations(Augment())) == 14


def test_an_unknown_operation_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="'equalise'") as caught:
        operations(Augment(strong_ops=("equalise", "rotate")))
    assert "did you mean: equalize" in str(caught.value)


# -- cutout ----------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(height=st.integers(8, 32), width=st.integers(8, 32), largest=st.floats(0.1, 1), seed=st.integers(0, 2**32))
def test_cutout_covers_one_rectangle_of_at_most_the_largest_side(
    height: int, width: int, largest: float, seed: int
) -> None:
    images = torch.full((20, 3, height, width), 200, dtype=torch.uint8)
    fill = torch.tensor([125, 123, 114], dtype=torch.uint8)
    result = cutout(images, largest, fill, torch.Generator().manual_seed(seed))
    covered = (result != images).any(1)
    for image, mask in zip(result, covered, strict=True):
        rows, columns = mask.any(1).nonzero().flatten().tolist(), mask.any(0).nonzero().flatten().tolist()
        assert mask.sum() == len(rows) * len(columns)
        assert len(rows) == 0 or rows == list(range(rows[0], rows[-1] + 1))
        assert len(columns) == 0 or columns == list(range(columns[0], columns[-1] + 1))
        assert max(len(rows), len(columns)) <= np.ceil(largest * width)
        assert (image[:, mask] == fill[:, None]).all() and (image[:, ~mask] == 200).all()


def test_the_mean_area_cut_out_is_that_of_the_spec() -> None:
    """A side a about a uniform centre covers a - a**2 / 4 of a line on average, after clipping; a is U(0, largest)."""
    size, largest = 64, 0.5
    images = torch.zeros(4000, 1, size, size, dtype=torch.uint8)
    result = cutout(images, largest, torch.ones(1, dtype=torch.uint8), generators()[0])
    side = np.linspace(0, largest, 2001)
    expected = ((side - side**2 / 4) ** 2).mean()
    assert result.float().mean().item() == pytest.approx(expected, rel=0.05)


def test_no_cutout_where_the_largest_side_is_none() -> None:
    images = photographs(32, 32)
    assert torch.equal(cutout(images, 0.0, torch.zeros(3, dtype=torch.uint8), generators()[0]), images)
