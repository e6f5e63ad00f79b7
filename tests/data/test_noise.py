"""Label noise: rates, shapes and determinism (docs/clid_mu.md, section 8.4, acceptance test 7)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform.core.errors import UserError
from platform.core.registry import NOISE, noise_kinds
from platform.data.noise import corrupt
from platform.data.noise.cluster_based import patches, standardised
from platform.data.noise.instance import truncated_normal, wrong_class

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BY_CLASS = ("symmetric", "uniform", "pair", "asymmetric")
ALL = (*BY_CLASS, "instance", "instance_scaled", "cluster_based")


def images_for(count: int, seed: int = 0) -> np.ndarray:
    """Random pixels with a brightness per image, as photographs have."""
    rng = np.random.default_rng(seed)
    brightness = rng.integers(0, 128, (count, 1, 1, 1))
    return (brightness + rng.integers(0, 128, (count, 3, 4, 4))).astype(np.uint8)


def labels_for(count: int, classes: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, count)


def within_3_sigma(share: float, expected: float, count: int) -> bool:
    return abs(share - expected) <= 3 * np.sqrt(max(expected * (1 - expected), 1e-12) / count)


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize(
    "kind, expected",
    [("symmetric", lambda r, c: r), ("uniform", lambda r, c: r * (1 - 1 / c)), ("pair", lambda r, c: r)],
)
def test_share_of_wrong_labels(kind, expected, rate, classes):
    labels = labels_for(20_000, classes)
    share = float((corrupt(labels, kind, rate, classes, seed=3) != labels).mean())
    assert within_3_sigma(share, expected(rate, classes), len(labels))


@pytest.mark.parametrize("rate, mean_rate", [(0.2, 0.2055), (0.4, 0.4), (0.6, 0.6)])
def test_instance_rate_is_the_mean_of_the_truncated_normal(rate, mean_rate):
    rates = truncated_normal(rate, 200_000, np.random.default_rng(0))
    assert rates.min() >= 0 and rates.max() <= 1
    assert abs(rates.mean() - mean_rate) < 3 * 0.1 / np.sqrt(len(rates)) + 5e-5  # the means have 4 digits
    labels, images = labels_for(6_000, 5), images_for(6_000)
    for kind in ("instance", "instance_scaled"):
        share = float((corrupt(labels, kind, rate, 5, seed=4, images=images) != labels).mean())
        assert within_3_sigma(share, mean_rate, len(labels)), kind


def test_symmetric_spreads_over_all_other_classes_and_uniform_keeps_some():
    labels = np.zeros(90_000, dtype=np.int64)
    counts = np.bincount(corrupt(labels, "symmetric", 1.0, 10, seed=0), minlength=10)
    assert counts[0] == 0  # every label was really flipped
    assert np.all(np.abs(counts[1:] - 10_000) < 4 * np.sqrt(10_000))
    counts = np.bincount(corrupt(labels, "uniform", 1.0, 10, seed=0), minlength=10)
    assert np.all(np.abs(counts - 9_000) < 4 * np.sqrt(9_000))


def test_pair_moves_to_the_next_class_only():
    labels = labels_for(5_000, 7)
    noisy = corrupt(labels, "pair", 0.4, 7, seed=0)
    assert set(((noisy - labels) % 7).tolist()) == {0, 1}


def _targets(classes: int, names: tuple[str, ...] | None) -> dict[int, int]:
    labels = np.arange(classes)
    noisy = corrupt(labels, "asymmetric", 1.0, classes, seed=0, class_names=names)
    return {int(y): int(z) for y, z in zip(labels, noisy, strict=True) if y != z}


def test_asymmetric_maps():
    confusions = {9: 1, 2: 0, 3: 5, 5: 3, 4: 7}  # truck, bird, cat, dog, deer
    assert _targets(10, CIFAR10) == confusions
    stl10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
    assert _targets(10, stl10) == {9: 2, 1: 0, 3: 5, 5: 3, 4: 6}
    assert _targets(10, tuple("0123456789")) == {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}
    assert _targets(10, None) == {y: (y + 1) % 10 for y in range(10)}
    hundred = ("apple", "aquarium_fish", *map(str, range(98)))
    blocks = _targets(100, hundred)
    assert blocks[3] == 4 and blocks[4] == 0 and blocks[99] == 95 and len(blocks) == 100


def test_asymmetric_leaves_clean_classes_clean():
    labels = labels_for(20_000, 10)
    noisy = corrupt(labels, "asymmetric", 0.4, 10, seed=5, class_names=CIFAR10)
    noisy_classes = np.isin(labels, [2, 3, 4, 5, 9])
    assert (noisy[~noisy_classes] == labels[~noisy_classes]).all()
    assert within_3_sigma(float((noisy != labels)[noisy_classes].mean()), 0.4, int(noisy_classes.sum()))


def test_instance_looks_at_the_image():
    """Equal images of one class that are flipped at all are flipped to the same class; other images to another one."""
    images = np.repeat(images_for(8), 500, axis=0)
    labels = np.zeros(len(images), dtype=np.int64)
    noisy = corrupt(labels, "instance", 0.6, 10, seed=2, images=images)
    targets = [set(noisy[start : start + 500].tolist()) - {0} for start in range(0, len(images), 500)]
    assert all(len(t) == 1 for t in targets)  # unscaled pixels make the softmax one-hot: the documented oddity
    spread = corrupt(labels, "instance_scaled", 0.6, 10, seed=2, images=images)
    assert min(len(set(spread[s : s + 500].tolist())) for s in range(0, len(images), 500)) > 3


def test_instance_scores_are_the_projection_of_the_flat_image():
    """The wrong class is the largest of x W, x flat in height, width, channel order, recomputed here from the seed."""
    images = np.repeat(images_for(1, seed=9), 40, axis=0)
    rng = np.random.default_rng(11)
    truncated_normal(0.7, 40, rng), rng.random(40)  # flip rates and draws come first
    weights = rng.standard_normal((48, 6), dtype=np.float32)
    scores = images[0].transpose(1, 2, 0).reshape(-1).astype(np.float32) @ weights
    scores[0] = -np.inf
    noisy = corrupt(np.zeros(40, int), "instance", 0.7, 6, seed=11, images=images)
    assert set(noisy.tolist()) == {0, int(scores.argmax())}


def test_patches_by_hand():
    """Points 0 to 19 on a line, centres 10, 11 and 7: 11 lies in the patch of 10, and that of 7 is beside it."""
    points, order = np.arange(20.0)[:, None], np.array([10, 11, 7, *range(12, 20)])
    assert patches(points, 9, order).tolist() == [10, 9, 11, 8, 12, 7, 6, 5, 4]
    assert patches(points, 3, order).tolist() == [10, 9, 11]
    assert sorted(patches(points, 20, np.random.default_rng(0).permutation(20)).tolist()) == list(range(20))


def test_fields_by_hand():
    """A channel of 16 x 8 pixels: the mean of each two rows; a constant field stays 0."""
    images = np.zeros((2, 1, 16, 8), dtype=np.uint8)
    images[0, 0, 0], images[0, 0, 1] = 10, 30
    expected = np.zeros((2, 64))
    expected[0, :8], expected[1, :8] = 1, -1  # 20 and 0: mean 10, deviation 10
    np.testing.assert_allclose(standardised(images), expected)


@pytest.mark.parametrize("rate", [0.1, 0.35, 0.7, 1.0])
def test_cluster_based_noise_has_its_rate_lies_in_patches_and_goes_to_the_nearest_class(rate):
    """Images of 60 kinds, each with 25 that are nearly alike: they are wrong together."""
    kinds, rng = np.repeat(np.arange(60), 25), np.random.default_rng(0)
    labels = kinds % 3
    images = images_for(60)[kinds] // 2 + rng.integers(0, 8, (1500, 3, 4, 4), dtype=np.uint8)
    noisy = corrupt(labels, "cluster_based", rate, 5, seed=6, images=images)
    points, wrong = standardised(images), noisy != labels
    centroids = np.stack([points[labels == y].mean(axis=0) for y in range(3)])
    for y in range(3):
        rows = np.flatnonzero(labels == y)
        assert wrong[rows].sum() == round(rate * len(rows))
        distances = ((points[rows, None] - centroids) ** 2).sum(axis=2)
        distances[:, y] = np.inf
        assert (noisy[rows] == distances.argmin(axis=1))[wrong[rows]].all()
    shares = np.array([wrong[kinds == kind].mean() for kind in range(60)])
    one_by_one = rate * (1 - rate) / 25  # the variance, if 25 images erred independently
    assert rate == 1 or shares.var() > 2 * one_by_one
    less = corrupt(labels, "cluster_based", rate / 2, 5, seed=6, images=images)
    assert ((less != labels) <= wrong).all()  # who is wrong at a lower rate is wrong at a higher one


def test_cluster_based_noise_of_one_class_has_no_other_to_go_to():
    labels = np.full(40, 3)
    assert (corrupt(labels, "cluster_based", 0.5, 5, seed=0, images=images_for(40)) == labels).all()


def test_softmax_without_the_true_class():
    table = wrong_class(np.array([[1.0, 2.0, 3.0]]), 1)
    np.testing.assert_allclose(table, [[1 / (1 + np.e**2), 0, np.e**2 / (1 + np.e**2)]])


@given(
    kind=st.sampled_from(ALL),
    rate=st.floats(0, 1),
    classes=st.integers(2, 12),
    seed=st.integers(0, 2**63 - 1),
    count=st.integers(0, 60),
)
def test_for_every_kind(kind, rate, classes, seed, count):
    """Deterministic by seed; in range; -1 stays -1; the input is left alone; rate 0 changes nothing."""
    labels = np.random.default_rng(seed).integers(-1, classes, count)
    images, before = images_for(count, seed % 1000), labels.copy()
    noisy = corrupt(labels, kind, rate, classes, seed, images=images)
    assert (labels == before).all() and noisy.dtype == np.int64
    assert ((noisy == -1) == (labels == -1)).all()
    assert noisy.min(initial=0) >= -1 and noisy.max(initial=0) < classes
    assert (noisy == corrupt(labels, kind, rate, classes, seed, images=images)).all()
    assert (corrupt(labels, kind, 0.0, classes, seed, images=images) == labels).all()


@pytest.mark.parametrize("kind", ALL)
def test_another_seed_gives_other_labels(kind):
    labels, images = labels_for(300, 10), images_for(300)
    first, second = (corrupt(labels, kind, 0.5, 10, seed, images=images) for seed in (1, 2))
    assert (first != second).any()


@pytest.mark.parametrize("kind", BY_CLASS)
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_transition_matrices_are_distributions(kind, classes):
    for rate in (0, 0.3, 1):
        table = NOISE.get(kind)().transition(classes, rate, None)
        assert table.shape == (classes, classes) and (table >= 0).all()
        np.testing.assert_allclose(table.sum(1), 1)


@pytest.mark.parametrize(
    "kind, rate, classes, labels, key, said",
    [
        ("symetric", 0.1, 3, [0, 1], "labels.noise", "did you mean: symmetric"),
        ("column:worse", 0.1, 3, [0, 1], "labels.noise", "taken from the data"),
        ("symmetric", 1.5, 3, [0, 1], "labels.rate", "0 to 1"),
        ("symmetric", float("nan"), 3, [0, 1], "labels.rate", "0 to 1"),
        ("pair", 0.1, 1, [0, 0], "labels.noise", "at least 2 classes"),
        ("pair", 0.1, 3, [0, 3], "labels", "0 to 2"),
        ("pair", 0.1, 3, [-2, 1], "labels", "out of range"),
        ("instance", 0.1, 3, [0, 1], "labels.noise", "looks at the images"),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(kind, rate, classes, labels, key, said):
    with pytest.raises(UserError) as caught:
        corrupt(np.array(labels), kind, rate, classes, seed=0)
    assert caught.value.problems[0].key == key
    assert said in str(caught.value)


def test_a_noise_of_ones_own_is_one_file(tmp_path: Path):
    file = tmp_path / "to_zero.py"
    file.write_text(
        "import numpy as np\n"
        "from platform.data.noise.noise_model import Noise\n"
        "class ToZero(Noise):\n"
        "    '''to_zero: everything may become class 0.'''\n"
        "    def transition(self, num_classes, rate, class_names):\n"
        "        table = (1 - rate) * np.eye(num_classes)\n"
        "        table[:, 0] += rate\n"
        "        return table\n"
    )
    assert (corrupt(labels_for(50, 4), str(file), 1.0, 4, seed=0) == 0).all()
    file.write_text("import nowhere_to_be_found\n")
    with pytest.raises(UserError, match="nowhere_to_be_found"):
        corrupt(labels_for(50, 4), str(file), 1.0, 4, seed=0)


def test_kinds_lists_what_can_be_written():
    assert set(ALL) < set(noise_kinds()) and {"none", "column:NAME"} < set(noise_kinds())


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("np.diag([1.0, 0.0, 1.0])", r"row 1 of Broken.transition\(\) is empty"),
        ("np.eye(3) * [1.0, 1.0, 0.8]", "sums to 0.8"),
        ("np.eye(2)", r"gives \[2, 2\], not a row and a column for each of 3 classes"),
    ],
)
def test_a_transition_matrix_that_is_none(table, words, tmp_path: Path):
    file = tmp_path / "broken.py"
    file.write_text(
        "import numpy as np\n\nfrom platform.data.noise import Noise\n\n\nclass Broken(Noise):\n"
        f"    def transition(self, num_classes, rate, class_names):\n        return {table}\n"
    )
    with pytest.raises(UserError, match=words) as caught:
        corrupt(np.arange(3), str(file), 0.5, 3, seed=0)
    assert caught.value.problems[0].key == "labels.noise"
