"""The separation of the classes by features, and how much of it the head uses (docs/layermatch.md, section 8).

Items 6, 7 and 10 there.

A `Probe` holds features [N, D], true labels [N] and the head's guesses [N] of images: `reference` are training images,
`query` test images that no number here is fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Probe", "cluster_quality", "density", "head_gap", "linear_cka"]

NEIGHBOURS = 20
DENSITY_NEIGHBOURS = 10
RIDGE = 1e-2  # of the mean squared feature: weak, so that the probe measures the features and not the penalty


@dataclass(frozen=True)
class Probe:
    features: np.ndarray
    true: np.ndarray
    guess: np.ndarray

    def known(self) -> Probe:
        """The probe without images whose true label is unknown (-1), or whose features are not finite."""
        keep = (self.true >= 0) & np.isfinite(self.features).all(axis=1)
        return Probe(self.features[keep].astype(np.float64), self.true[keep], self.guess[keep])


def cluster_quality(probe: Probe) -> dict[str, float]:
    """cluster_scatter, cluster_silhouette, cluster_nmi, cluster_ari, neural_collapse; NaN with under two classes."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

    names = ("cluster_scatter", "cluster_silhouette", "cluster_nmi", "cluster_ari", "neural_collapse")
    classes = np.unique(probe.true)
    if not 2 <= len(classes) < len(probe.true):
        return dict.fromkeys(names, float("nan"))
    x, y = probe.features, probe.true
    within, between = _scatter(x, y)
    clusters = KMeans(len(classes), random_state=0).fit_predict(x)
    values = (
        float(np.trace(within) / max(np.trace(between), 1e-300)),
        float(silhouette_score(x, y)),
        float(normalized_mutual_info_score(y, clusters)),
        float(adjusted_rand_score(y, clusters)),
        float(np.trace(within @ np.linalg.pinv(between, hermitian=True)) / len(classes)),
    )
    return dict(zip(names, values, strict=True))


def _scatter(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance within classes (mean over the images) and of the class means (mean over the classes), [D, D]."""
    classes, place = np.unique(y, return_inverse=True)
    means = np.stack([x[y == k].mean(axis=0) for k in classes])
    inside, outside = x - means[place], means - means.mean(axis=0)
    return inside.T @ inside / len(x), outside.T @ outside / len(classes)


def head_gap(reference: Probe, query: Probe) -> dict[str, float]:
    """knn_accuracy, centroid_accuracy, probe_accuracy, head_accuracy, head_gap on the query images."""
    names = ("knn_accuracy", "centroid_accuracy", "probe_accuracy", "head_accuracy", "head_gap")
    if not len(reference.true) or not len(query.true):
        return dict.fromkeys(names, float("nan"))
    centre, scale = reference.features.mean(axis=0), max(float(reference.features.std()), 1e-12)
    x, z = ((p.features - centre) / scale for p in (reference, query))
    probe, head = _accuracy(_ridge(x, reference.true, z), query), _accuracy(query.guess, query)
    values = (
        _accuracy(_nearest_neighbours(x, reference.true, z), query),
        _accuracy(_nearest_mean(x, reference.true, z), query),
        probe,
        head,
        probe - head,
    )
    return dict(zip(names, values, strict=True))


def _accuracy(guess: np.ndarray, probe: Probe) -> float:
    return float(np.mean(guess == probe.true))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances, [len(a), len(b)]."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2 * a @ b.T
    return np.maximum(squares, 0)


def _nearest_neighbours(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The most frequent label of the 20 nearest images; of equally frequent ones that of the nearer images."""
    count = min(NEIGHBOURS, len(x))
    order = np.argsort(_distances(z, x), axis=1, kind="stable")[:, :count]
    votes = np.zeros((len(z), y.max() + 1))
    for rank in range(count):
        votes[np.arange(len(z)), y[order[:, rank]]] += 1 + 1e-6 * (count - rank)
    return votes.argmax(axis=1)


def _nearest_mean(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    classes = np.unique(y)
    return classes[_distances(z, np.stack([x[y == k].mean(axis=0) for k in classes])).argmin(axis=1)]


def _ridge(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Least squares on one-hot labels, with an unpenalised constant; in the smaller of the two spaces."""
    classes, place = np.unique(y, return_inverse=True)
    target = np.eye(len(classes))[place]
    middle = target.mean(axis=0)  # x is centred, so this is the constant
    penalty = RIDGE * max(float((x * x).sum(axis=1).mean()), 1e-12)
    if len(x) < x.shape[1]:
        weights = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), target - middle)
    else:
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (target - middle))
    return classes[(z @ weights + middle).argmax(axis=1)]


def density(probe: Probe) -> dict[str, float]:
    """density_error, error_dense, error_sparse: whether wrong guesses lie in sparse regions."""
    from scipy.stats import rankdata

    count, wrong = len(probe.true), probe.guess != probe.true
    if count < 3:
        return dict.fromkeys(("density_error", "error_dense", "error_sparse"), float("nan"))
    distances = np.sqrt(_distances(probe.features, probe.features))
    np.fill_diagonal(distances, np.inf)
    near = min(DENSITY_NEIGHBOURS, count - 1)
    sparse = np.partition(distances, near - 1, axis=1)[:, :near].mean(axis=1)
    ranks, errors = rankdata(sparse), int(wrong.sum())
    order, third = np.argsort(sparse, kind="stable"), count // 3
    auroc = float("nan")
    if 0 < errors < count:
        auroc = float((ranks[wrong].sum() - errors * (errors + 1) / 2) / (errors * (count - errors)))
    return {
        "density_error": auroc,
        "error_dense": float(wrong[order[:third]].mean()),
        "error_sparse": float(wrong[order[-third:]].mean()),
    }


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Linear CKA of two representations [N, D], [N, E] of the same images (Kornblith et al., 2019, arXiv 1905.00414).

    1 = the same up to rotation and one scale, 0 = nothing in common (docs/layermatch.md, section 8, item 12).
    """
    grams = []
    for x in (a, b):
        x = x.reshape(len(x), -1).astype(np.float64)
        x = x - x.mean(axis=0)
        grams.append(x @ x.T)
    norms = np.linalg.norm(grams[0]) * np.linalg.norm(grams[1])
    return float((grams[0] * grams[1]).sum() / max(norms, 1e-300))
