"""Label plans: noise, a validation part as noisy as training, a labelled subset.

In this order, each with a seed of its own, so that one choice never changes another:

1. Noise on the labels of all training images (seeds["noise"]), before anything is split off.
2. The validation part (seeds["split"]): of the images with a label, every class with its share. Its given labels are as
   noisy as those trained on; `plan.true` at the same positions is its clean twin where the truth is known.
3. Images with verified labels (`clean`, seeds["split"]), out of the rest; they are given their true labels, and are
   neither labelled nor unlabelled images.
4. The labelled subset (seeds["split"]) of the rest: `per_class`, `total` or all.
5. Unlabelled: all training images outside the validation part and the verified images, the labelled ones included (as
   USB does), and `extra`.

Classes are balanced by the true label where it is known, else by the given one. That is how USB and the papers on noisy
labels draw: noise shifts the given labels afterwards, so the counts per given class may differ. A larger `per_class`
contains the smaller one.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.spec import LabelSettings, derive_seed
from platform.data import cache, draw
from platform.data.clean_set import clean_set
from platform.data.dataset import Dataset, LabelPlan, Split
from platform.data.group_noise import drawn_noise, members

_ARRAYS = ("labelled", "unlabelled", "val", "given", "true", "clean")


def make_plan(dataset: Dataset, labels: LabelSettings, seeds: dict[str, int]) -> LabelPlan:
    """The label plan of `dataset` under `labels`. Needs seeds["noise"] and seeds["split"]. Raises UserError.

    imbalance gamma: class c of C gets n_max * gamma ** (-c / (C - 1)) labelled images, rounded, at least 1. With
    `per_class`, n_max is that number; with `total`, the sizes add up to it; with neither, n_max is the largest the data
    allow. Without imbalance, a `total` that the number of classes does not divide gives some classes one more.
    """
    given, true = _noisy(dataset, labels, seeds["noise"])
    strata = given if true is None else np.where(true >= 0, true, given)
    val = _validation(given, strata, labels.val, seeds["split"])
    held_out = np.setdiff1d(np.arange(len(given)), val)
    clean = clean_set(labels.clean, true, held_out, dataset.class_names, seeds["split"])
    if true is not None:
        given[clean] = true[clean]
    held = np.concatenate([val, clean])
    rest = np.setdiff1d(np.flatnonzero(given >= 0), held)
    if len(rest) == 0:
        text = f"all {len(held):,} images with a label are in the validation part: none is left to train on"
        raise UserError(Problem(text, "labels.val", hint="take fewer"))
    counts = _labelled_counts(np.bincount(strata[rest], minlength=dataset.num_classes), labels, dataset, seeds["split"])
    labelled = draw.take(strata, dict(enumerate(counts.tolist())), derive_seed(seeds["split"], "labelled"), rest)
    extra = 0 if dataset.extra is None else len(dataset.extra)
    unlabelled = np.setdiff1d(np.arange(len(dataset.train) + extra), held)
    settings = json.dumps({"labels": labels.model_dump(mode="json"), "seeds": _used(seeds)}, sort_keys=True)
    arrays: dict[str, Any] = dict(
        labelled=labelled, unlabelled=unlabelled, val=val, given=given, true=true, clean=clean
    )
    notes = _notes(dataset, labels, labelled, unlabelled, val, given, true, counts)
    if len(clean):
        notes.insert(1, f"{len(clean):,} images with verified labels are set aside: nothing but a meta set uses them")
    return LabelPlan(**arrays, sha256=_digest(arrays, settings), notes=tuple(notes), settings=settings)


def save_plan(plan: LabelPlan, path: Path | str) -> None:
    """Write the plan as .npz, whole or not at all."""
    arrays = {name: getattr(plan, name) for name in _ARRAYS if getattr(plan, name) is not None}
    texts = {"sha256": plan.sha256, "settings": plan.settings, "notes": json.dumps(plan.notes)}
    buffer = io.BytesIO()
    arrays.update({name: np.array(text) for name, text in texts.items()})
    np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType] - as in image_store.py
    with cache.disk_errors("cannot write the label plan"):
        cache.write_atomically(Path(path), buffer.getvalue())


def load_plan(path: Path | str) -> LabelPlan:
    """Read a plan back. Raises UserError where it is missing, damaged, or not what its sha256 says."""
    try:
        with np.load(path, allow_pickle=False) as content:
            stored = {name: content[name] for name in content.files}
        arrays: dict[str, Any] = {name: stored.get(name) for name in _ARRAYS}
        arrays["clean"] = stored.get("clean", np.empty(0, dtype=np.int64))  # plans of before there were such images
        sha256, settings, notes = (str(stored[name]) for name in ("sha256", "settings", "notes"))
        true_digest = _digest(arrays, settings)
    except FileNotFoundError as error:
        raise UserError(Problem("no such label plan", where=str(path))) from error
    except (OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(Problem(f"not a readable label plan: {error}", where=str(path))) from error
    if true_digest != sha256:
        text = f"its content has sha256 {true_digest[:12]}, its label says {sha256[:12]}: it was changed or damaged"
        raise UserError(Problem(text, where=str(path), hint="make it anew from the sweep file"))
    return LabelPlan(**arrays, sha256=sha256, notes=tuple(json.loads(notes)), settings=settings)


def _used(seeds: dict[str, int]) -> dict[str, int]:
    return {name: seeds[name] for name in ("noise", "split")}


def _digest(arrays: dict[str, np.ndarray | None], settings: str) -> str:
    total = hashlib.sha256(settings.encode())
    for name in _ARRAYS:
        values = arrays[name]
        if name == "clean" and (values is None or len(values) == 0):
            continue  # the hashes of plans without such images are those of before there were any
        total.update(f"\0{name}\0{'none' if values is None else len(values)}\0".encode())
        if values is not None:
            total.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
    return total.hexdigest()


# -- noise --


def _noisy(dataset: Dataset, labels: LabelSettings, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Given labels of all training images, and the true ones or None.

    Where the data bring no true labels, the labels before synthetic or column noise are taken for true.
    """
    train, classes = dataset.train, dataset.num_classes
    before = train.labels.astype(np.int64)
    if labels.noise == "none" or labels.noise.startswith("column:"):
        if labels.rate > 0:
            text = f"a rate of {labels.rate} has no effect with noise: {labels.noise}"
            raise UserError(Problem(text, "labels.rate", hint="leave it out, or choose a synthetic noise"))
    if labels.noise == "none":
        return before, train.true_labels
    if labels.noise.startswith("column:"):
        given = _column(train, labels.noise.removeprefix("column:"), classes)
    else:
        given = drawn_noise(dataset, labels, before, seed)
    return given, before if train.true_labels is None else train.true_labels.astype(np.int64)


def _column(train: Split[np.ndarray], name: str, num_classes: int) -> np.ndarray:
    if name not in train.columns:
        has = sorted(train.columns)
        hint = did_you_mean(name, has) if has else "the data have no further label column"
        raise UserError(Problem(f"no label column '{name}'", "labels.noise", hint=hint))
    values = train.columns[name].astype(np.int64)
    bad = np.flatnonzero((values < -1) | (values >= num_classes))
    if len(bad):
        text = f"column '{name}' holds {values[bad[0]]} (row {bad[0]}, {len(bad):,} such rows)"
        hint = f"there are {num_classes} classes; allowed: 0 to {num_classes - 1}, or nothing"
        raise UserError(Problem(text, "labels.noise", hint=hint))
    return values


# -- parts --


def _validation(given: np.ndarray, strata: np.ndarray, val: float, seed: int) -> np.ndarray:
    candidates = np.flatnonzero(given >= 0)
    if len(candidates) == 0:
        hint = "check data.label_column, or the column of labels.noise"
        raise UserError(
            Problem("no training image has a label: nothing to learn from or to select on", "labels", hint=hint)
        )
    if val >= 1 and val != int(val):
        raise UserError(Problem(f"{val} is neither a share below 1 nor a whole number of images", "labels.val"))
    count = int(val) if val >= 1 else max(1, round(val * len(candidates)))
    if count >= len(candidates):
        text = f"{count:,} validation images asked, only {len(candidates):,} training images have a label"
        raise UserError(
            Problem(text, "labels.val", hint=f"allowed: below 1 (a share), or at most {len(candidates) - 1}")
        )
    return draw.stratified(strata, count, derive_seed(seed, "val"), candidates)


def _labelled_counts(available: np.ndarray, labels: LabelSettings, dataset: Dataset, seed: int) -> np.ndarray:
    """[C] labelled images per class, of the `available` [C]; UserError where they do not suffice."""
    classes = len(available)
    sizes = draw.long_tail(classes, labels.imbalance)
    if labels.per_class is not None and labels.total is not None:
        raise UserError(Problem("per_class and total exclude each other", "labels.total", hint="leave one of them out"))
    if labels.per_class is not None:
        counts, key = np.maximum(1, np.rint(labels.per_class * sizes)).astype(np.int64), "labels.per_class"
    elif labels.total is not None:
        counts, key = _share_total(sizes, labels, seed), "labels.total"
    elif labels.imbalance > 1:
        largest = float((available / sizes).min())
        counts, key = np.maximum(1, np.floor(largest * sizes + 1e-9)).astype(np.int64), "labels.imbalance"
    else:
        return available
    short = np.flatnonzero(counts > available)
    if len(short):
        raise UserError(_too_few(short, counts, available, key, dataset))
    return counts


def _share_total(sizes: np.ndarray, labels: LabelSettings, seed: int) -> np.ndarray:
    assert labels.total is not None
    classes = len(sizes)
    if labels.total < classes:
        text = f"{labels.total} labelled images for {classes} classes leave some without any"
        raise UserError(Problem(text, "labels.total", hint=f"allowed: {classes} and more"))
    if labels.imbalance > 1:
        counts = np.maximum(1, draw.apportion(sizes, labels.total))
        while counts.sum() > labels.total:  # what rounding up gave the smallest classes is taken from the largest
            counts[counts.argmax()] -= 1
        return counts
    one_more = np.random.default_rng(derive_seed(seed, "remainder")).permutation(classes)[: labels.total % classes]
    counts = np.full(classes, labels.total // classes)
    counts[one_more] += 1
    return counts


def _too_few(short: np.ndarray, counts: np.ndarray, available: np.ndarray, key: str, dataset: Dataset) -> Problem:
    first = short[np.argmin(available[short] - counts[short])]
    text = (
        f"{counts[first]:,} labelled images of class '{dataset.class_names[first]}' asked, "
        f"{available[first]:,} are there (outside the validation part)"
    )
    listing = ", ".join(f"{dataset.class_names[c]} {available[c]:,}" for c in short[:10])
    more = f", ... ({len(short)} classes)" if len(short) > 10 else ""
    hint = f"classes with too few: {listing}{more}\n"
    smallest = int(available.min())
    hint += (
        f"balanced, at most {smallest:,} per class are possible"
        if smallest
        else "a class without any label cannot be learnt"
    )
    return Problem(text, key, hint=hint)


# -- notes --


def _notes(
    dataset: Dataset,
    labels: LabelSettings,
    labelled: np.ndarray,
    unlabelled: np.ndarray,
    val: np.ndarray,
    given: np.ndarray,
    true: np.ndarray | None,
    counts: np.ndarray,
) -> list[str]:
    """Remarks on the plan for the user: counts, and the measured noise."""
    per_class = (
        f"{counts.min()} per class" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()} per class"
    )
    notes = [
        f"{len(labelled):,} labelled ({per_class}), {len(unlabelled):,} unlabelled (the labelled ones included), "
        f"{len(val):,} validation images"
    ]
    gaps = int((given < 0).sum())
    if gaps:
        notes.append(f"{gaps:,} of {len(given):,} training images have no label: they are used as unlabelled")
    if true is None:
        notes.append(f"the true labels are unknown: no clean validation accuracy ({dataset.truth_hint})")
    else:
        rates = (f"{name} {_wrong(given, true, rows)}" for name, rows in _parts(labelled, val, given).items())
        before = "the truth" if dataset.train.true_labels is not None else "those before it"  # which may be wrong, too
        notes.append(f"noise {labels.noise}, labels that differ from {before}: " + ", ".join(rates))
        if labels.group is not None:
            inside = members(dataset, labels.group)
            parts = (f"{name} {_wrong(given, true, np.flatnonzero(rows))}" for name, rows in _sides(inside).items())
            notes.append(f"group {labels.group} ({int(inside.sum()):,} images): " + ", ".join(parts))
    if not dataset.knows_test_truth:
        notes.append("test images are judged by their labels as given, which may be as wrong as those trained on")
    missing = np.flatnonzero(np.bincount(given[labelled], minlength=dataset.num_classes) == 0)
    if len(missing):
        listing = ", ".join(dataset.class_names[c] for c in missing[:10])
        notes.append(f"no labelled image is given the label of {len(missing)} classes: {listing}")
    if _misleading(labels, dataset.num_classes):
        notes.append(
            f"at rate {labels.rate} of {labels.noise} noise a wrong class is as likely as the true one, or likelier"
        )
    return notes


def _parts(labelled: np.ndarray, val: np.ndarray, given: np.ndarray) -> dict[str, np.ndarray]:
    return {"all": np.arange(len(given)), "labelled": labelled, "validation": val}


def _sides(inside: np.ndarray) -> dict[str, np.ndarray]:
    return {"inside": inside, "outside": ~inside}


def _wrong(given: np.ndarray, true: np.ndarray, rows: np.ndarray) -> str:
    known = rows[(given[rows] >= 0) & (true[rows] >= 0)]
    return f"{100 * float((given[known] != true[known]).mean()):.1f} %" if len(known) else "unknown"


def _misleading(labels: LabelSettings, num_classes: int) -> bool:
    limits = {"symmetric": (num_classes - 1) / num_classes, "uniform": 1.0}
    known = {"pair", "asymmetric", "instance", "instance_scaled", "cluster_based", *limits}
    return labels.noise in known and labels.rate >= limits.get(labels.noise, 0.5)
