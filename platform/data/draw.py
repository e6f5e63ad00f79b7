"""Random draws by class: stratified parts, exact numbers per class, exponential class sizes.

Every class has a generator of its own, so an additional class, or a larger number, changes no other draw; and a larger
number per class contains the smaller one.
"""

from __future__ import annotations

import numpy as np

from platform.core.spec import derive_seed


def apportion(weights: np.ndarray, total: int, caps: np.ndarray | None = None) -> np.ndarray:
    """[C] whole numbers that sum to `total`, proportional to `weights` [C] up to rounding (largest remainder).

    caps: [C] upper bounds; what does not fit goes to the classes with room. Needs sum(caps) >= total.
    """
    weights = np.asarray(weights, dtype=np.float64)
    caps = np.full(len(weights), total) if caps is None else np.asarray(caps)
    shares = weights / max(weights.sum(), 1e-300) * total
    counts = np.minimum(np.floor(shares + 1e-9).astype(np.int64), caps)
    order = np.argsort(-(shares - counts), kind="stable")
    while counts.sum() < total:
        room = [c for c in order if counts[c] < caps[c]]
        if not room:
            raise ValueError(f"cannot place {total} among classes of at most {caps.tolist()}")
        for c in room[: total - int(counts.sum())]:
            counts[c] += 1
    return counts


def take(strata: np.ndarray, counts: dict[int, int], seed: int, among: np.ndarray | None = None) -> np.ndarray:
    """Sorted positions: counts[c] of those where strata == c (and that are in `among`), drawn by `seed`."""
    allowed = np.arange(len(strata)) if among is None else np.sort(among)
    chosen = [np.empty(0, dtype=np.int64)]
    for stratum, count in counts.items():
        rows = allowed[strata[allowed] == stratum]
        rng = np.random.default_rng(derive_seed(seed, "class", int(stratum)))
        chosen.append(rng.permutation(rows)[:count])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def stratified(strata: np.ndarray, total: int, seed: int, among: np.ndarray | None = None) -> np.ndarray:
    """Sorted positions of a part of `total` rows in which every stratum has its share, drawn by `seed`."""
    allowed = np.arange(len(strata)) if among is None else among
    values, sizes = np.unique(strata[allowed], return_counts=True)
    counts = apportion(sizes, min(total, len(allowed)), caps=sizes)
    return take(strata, dict(zip(values.tolist(), counts.tolist(), strict=True)), seed, allowed)


def long_tail(num_classes: int, gamma: float) -> np.ndarray:
    """[C] relative class sizes gamma ** (-c / (C - 1)): 1 for class 0 down to 1 / gamma for the last."""
    return gamma ** (-np.arange(num_classes) / max(num_classes - 1, 1))
