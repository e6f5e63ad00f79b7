"""Numbers about features, against what is known of simple clouds of points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform.training.diagnostics.features import Probe, cluster_quality, density, head_gap, linear_cka


def clouds(spread: float, count: int = 40, classes: int = 3, dim: int = 5, seed: int = 0) -> Probe:
    """Classes around the corners of a simplex; the head guesses right."""
    rng = np.random.default_rng(seed)
    y = np.arange(count * classes) % classes
    return Probe(np.eye(dim)[y] + spread * rng.standard_normal((len(y), dim)), y, y)


def test_points_in_one_place_are_perfect_clusters() -> None:
    found = cluster_quality(clouds(1e-4))
    assert found["cluster_scatter"] == pytest.approx(0, abs=1e-6)
    assert found["neural_collapse"] == pytest.approx(0, abs=1e-6)
    assert found["cluster_silhouette"] == pytest.approx(1, abs=1e-3)
    assert (found["cluster_nmi"], found["cluster_ari"]) == pytest.approx((1, 1))


def test_labels_at_random_are_no_clusters() -> None:
    probe = clouds(1e-4)
    shuffled = Probe(probe.features, np.random.default_rng(1).permutation(probe.true), probe.guess)
    found = cluster_quality(shuffled)
    assert abs(found["cluster_ari"]) < 0.1 and found["cluster_nmi"] < 0.1 and found["cluster_silhouette"] < 0
    assert found["cluster_scatter"] > 5


def test_neural_collapse_and_scatter_by_hand() -> None:
    """Two classes on a line at -1 and 1, each with points half a unit to both sides: within 0.25, between 1."""
    x = np.array([[-1.5], [-0.5], [0.5], [1.5]])
    found = cluster_quality(Probe(x, np.array([0, 0, 1, 1]), np.zeros(4)))
    assert found["cluster_scatter"] == pytest.approx(0.25)
    assert found["neural_collapse"] == pytest.approx(0.25 / 2)


def test_the_gap_is_what_the_head_loses() -> None:
    reference, query = clouds(0.1), clouds(0.1, seed=1)
    swapped = Probe(query.features, query.true, (query.true + (np.arange(len(query.true)) % 4 == 0)) % 3)
    found = head_gap(reference, swapped)
    assert found["knn_accuracy"] == found["centroid_accuracy"] == found["probe_accuracy"] == 1
    assert found["head_accuracy"] == 0.75 and found["head_gap"] == 0.25


@pytest.mark.parametrize("dim", [4, 400])
def test_the_linear_probe_sees_what_means_and_neighbours_do_not(dim: int) -> None:
    """A small shift along one axis under large noise along another; also with more axes than images."""
    rng = np.random.default_rng(0)

    def probe(count: int) -> Probe:
        y = np.arange(count) % 2
        x = np.zeros((count, dim))
        x[:, 0] = 0.5 * (2 * y - 1)
        x[:, 1] = 20 * rng.standard_normal(count)
        return Probe(x, y, 1 - y)

    found = head_gap(probe(100), probe(60))
    assert found["probe_accuracy"] == 1 and found["knn_accuracy"] < 0.9 and found["head_gap"] == 1


def test_errors_in_sparse_regions() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((60, 2)) * 0.1, rng.standard_normal((30, 2)) * 10])
    y = np.zeros(90, dtype=int)
    guess = np.concatenate([np.zeros(60), np.ones(30)]).astype(int)
    found = density(Probe(x, y, guess))
    assert found["density_error"] > 0.98 and found["error_dense"] == 0 and found["error_sparse"] > 0.9
    assert density(Probe(x, y, 1 - guess))["density_error"] == pytest.approx(1 - found["density_error"])
    assert np.isnan(density(Probe(x, y, y))["density_error"])


def test_no_truth_is_nan() -> None:
    probe = clouds(0.1)
    nobody = Probe(probe.features, np.full(len(probe.true), -1), probe.guess).known()
    found = cluster_quality(nobody) | head_gap(nobody, nobody) | density(nobody)
    assert len(found) == 13 and all(np.isnan(value) for value in found.values())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 10))
def test_cka_knows_neither_rotation_nor_scale_nor_place(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((30, 6)), rng.standard_normal((30, 4))
    turn, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    assert linear_cka(a, scale * a @ turn + 3) == pytest.approx(1)
    assert linear_cka(a, b) == pytest.approx(linear_cka(scale * a @ turn + 3, b))
    cross = np.linalg.norm((a - a.mean(0)).T @ (b - b.mean(0))) ** 2
    own = [np.linalg.norm((x - x.mean(0)).T @ (x - x.mean(0))) for x in (a, b)]
    assert linear_cka(a, b) == pytest.approx(cross / (own[0] * own[1])) and 0 <= linear_cka(a, b) < 1
