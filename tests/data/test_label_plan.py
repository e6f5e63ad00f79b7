"""Label plans: what is labelled, what is held out, what is noisy, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from platform.core.errors import UserError
from platform.core.spec import LabelSettings
from platform.data import draw
from platform.data.dataset import Augment, Dataset, Split
from platform.data.label_plan import load_plan, make_plan, save_plan

SEEDS = {"noise": 1, "split": 2}


def dataset(
    labels: np.ndarray, classes: int = 4, true: np.ndarray | None = None, extra: int = 0, **columns: np.ndarray
) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 2, 2), dtype=np.uint8)
    train = Split(images, labels.astype(np.int64), true, columns)
    return Dataset(
        name="made",
        class_names=tuple(f"c{i}" for i in range(classes)),
        train=train,
        test=train,
        augment=Augment(),
        sha256="",
        extra=images[:extra] if extra else None,
    )


def balanced(per_class: int = 50, classes: int = 4) -> np.ndarray:
    return np.random.default_rng(3).permutation(np.repeat(np.arange(classes), per_class))


def plan_of(data: Dataset, seeds: dict[str, int] = SEEDS, **settings: Any) -> Any:
    return make_plan(data, LabelSettings(**settings), seeds)


def counts(labels: np.ndarray, classes: int = 4) -> list[int]:
    return np.bincount(labels, minlength=classes).tolist()


def test_parts_are_disjoint_and_complete():
    data = dataset(balanced(), extra=30)
    plan = plan_of(data, per_class=3, val=0.2)
    assert set(plan.val.tolist()).isdisjoint(plan.unlabelled.tolist())
    assert set(plan.labelled.tolist()) <= set(plan.unlabelled.tolist())  # as in USB
    assert sorted([*plan.val, *plan.unlabelled]) == list(range(200 + 30))
    assert len(plan.val) == 40 and counts(data.train.labels[plan.val]) == [10] * 4
    assert counts(data.train.labels[plan.labelled]) == [3] * 4
    assert plan.true is None  # noise none, no true labels: nobody knows
    assert any("true labels are unknown" in note for note in plan.notes)


def test_noise_is_on_validation_and_training_alike_and_measured():
    labels = balanced(2_000)
    plan = plan_of(dataset(labels), noise="symmetric", rate=0.4, val=0.25)
    assert (plan.true == labels).all()
    wrong = plan.given != plan.true
    for rows in (plan.val, plan.labelled):
        assert abs(wrong[rows].mean() - 0.4) < 4 * np.sqrt(0.24 / len(rows))
    assert f"all {100 * wrong.mean():.1f} %" in plan.notes[1]
    assert f"validation {100 * wrong[plan.val].mean():.1f} %" in plan.notes[1]


def test_balanced_by_the_truth_not_by_the_noisy_label():
    labels = balanced(200)
    plan = plan_of(dataset(labels), noise="pair", rate=0.45, per_class=20)
    assert counts(plan.true[plan.labelled]) == [20] * 4
    unknown = plan_of(dataset(labels), per_class=20)
    assert counts(unknown.given[unknown.labelled]) == [20] * 4


def test_one_choice_changes_no_other():
    data = dataset(balanced(100))
    base = plan_of(data, per_class=5, noise="symmetric", rate=0.3)
    same = plan_of(data, per_class=5, noise="symmetric", rate=0.3)
    assert same.sha256 == base.sha256
    other_noise = plan_of(data, {"noise": 9, "split": 2}, per_class=5, noise="symmetric", rate=0.3)
    assert (other_noise.val == base.val).all() and (other_noise.labelled == base.labelled).all()
    assert (other_noise.given != base.given).any() and other_noise.sha256 != base.sha256
    other_split = plan_of(data, {"noise": 1, "split": 9}, per_class=5, noise="symmetric", rate=0.3)
    assert (other_split.given == base.given).all() and other_split.val.tolist() != base.val.tolist()
    more = plan_of(data, per_class=9, noise="symmetric", rate=0.3)
    assert set(base.labelled.tolist()) < set(more.labelled.tolist())  # the larger subset contains the smaller


@pytest.mark.parametrize("total", [4, 7, 40, 41, 43])
def test_total_is_spread_evenly(total):
    plan = plan_of(dataset(balanced()), total=total)
    there = counts(plan.given[plan.labelled])
    assert sum(there) == total and max(there) - min(there) <= (total % 4 > 0)


def test_imbalance_is_exponential():
    labels = balanced(300, classes=5)
    plan = plan_of(dataset(labels, 5), per_class=160, imbalance=16)
    assert counts(plan.given[plan.labelled], 5) == [160, 80, 40, 20, 10]
    by_total = plan_of(dataset(labels, 5), total=310, imbalance=16)
    assert counts(by_total.given[by_total.labelled], 5) == [160, 80, 40, 20, 10]
    largest = plan_of(dataset(labels, 5), imbalance=16, val=0.1)
    assert counts(largest.given[largest.labelled], 5) == [270, 135, 67, 33, 16]
    smallest = plan_of(dataset(labels, 5), total=6, imbalance=1000)
    assert min(counts(smallest.given[smallest.labelled], 5)) == 1 and len(smallest.labelled) == 6


def test_imbalance_fits_data_that_are_imbalanced_the_other_way():
    labels = np.repeat(np.arange(4), [10, 100, 100, 100])
    plan = plan_of(dataset(labels), imbalance=8, val=4)
    there = counts(plan.given[plan.labelled])
    assert there[0] == 10 and there[0] >= there[1] >= there[2] >= there[3] >= 1


def test_gaps_are_unlabelled_counted_and_said():
    labels = balanced(50)
    labels[:40] = -1
    plan = plan_of(dataset(labels), val=0.1)
    gaps = set(range(40))
    assert gaps.isdisjoint(plan.labelled.tolist()) and gaps.isdisjoint(plan.val.tolist())
    assert gaps <= set(plan.unlabelled.tolist())
    assert len(plan.val) == 16 and len(plan.labelled) == 144
    assert any(note.startswith("40 of 200 training images have no label") for note in plan.notes)


def test_a_noise_column_with_gaps():
    labels = balanced(50)
    worse = (labels + 1) % 4
    worse[:100] = labels[:100]
    worse[:10] = -1
    plan = plan_of(dataset(labels, worse=worse), noise="column:worse", val=20)
    assert (plan.given == worse).all() and (plan.true == labels).all()
    assert set(range(10)).isdisjoint([*plan.labelled, *plan.val])
    assert any("all 52.6 %" in note for note in plan.notes)  # 100 of the 190 that have a label


def test_the_truth_of_the_data_wins():
    labels = balanced(50)
    true = labels.copy()
    true[:20] = (true[:20] + 2) % 4
    true[20:30] = -1
    plan = plan_of(dataset(labels, true=true))
    assert (plan.true == true).all() and (plan.given == labels).all()
    assert f"all {100 * 20 / 190:.1f} %" in plan.notes[1]


def test_misleading_rates_are_said():
    for kind, rate, said in [("symmetric", 0.8, True), ("symmetric", 0.7, False), ("pair", 0.5, True)]:
        notes = plan_of(dataset(balanced()), noise=kind, rate=rate).notes
        assert any("as likely as the true one" in n for n in notes) is said, (kind, rate)


@pytest.mark.parametrize(
    "settings, key, said",
    [
        (dict(per_class=46), "labels.per_class", "at most 45 per class"),
        (dict(total=200), "labels.total", "45 are there"),
        (dict(total=3), "labels.total", "allowed: 4 and more"),
        (dict(per_class=2, total=8), "labels.total", "exclude each other"),
        (dict(val=200), "labels.val", "at most 199"),
        (dict(val=10.5), "labels.val", "whole number"),
        (dict(noise="column:wors"), "labels.noise", "did you mean: worse"),
        (dict(noise="column:wide"), "labels.noise", "allowed: 0 to 3"),
        (dict(rate=0.2), "labels.rate", "no effect"),
        (dict(noise="column:worse", rate=0.2), "labels.rate", "no effect"),
    ],
)
def test_errors_name_the_key_and_what_is_there(settings, key, said):
    data = dataset(balanced(), worse=balanced(), wide=np.arange(200))
    with pytest.raises(UserError) as caught:
        plan_of(data, **settings)
    assert [p.key for p in caught.value.problems] == [key]
    assert said in str(caught.value)


def test_nothing_labelled_is_an_error():
    with pytest.raises(UserError, match="no training image has a label"):
        plan_of(dataset(np.full(20, -1)))
    with pytest.raises(UserError, match="'c3' asked, 0 are there"):
        plan_of(dataset(np.repeat(np.arange(3), 20)), per_class=1)


def test_saved_and_loaded(tmp_path: Path):
    for true in (None, balanced()):
        plan = plan_of(dataset(balanced(), true=true, extra=5), per_class=4)
        save_plan(plan, tmp_path / "plan.npz")
        again = load_plan(tmp_path / "plan.npz")
        for name in ("labelled", "unlabelled", "val", "given"):
            assert (getattr(again, name) == getattr(plan, name)).all()
        assert (again.true is None) == (true is None) and again.notes == plan.notes
        assert again.sha256 == plan.sha256 and again.settings == plan.settings
    assert [f.name for f in tmp_path.iterdir() if f.name != "cache"] == ["plan.npz"]


def test_a_changed_plan_is_found_out(tmp_path: Path):
    plan, path = plan_of(dataset(balanced()), per_class=4), tmp_path / "plan.npz"
    save_plan(plan, path)
    with np.load(path) as content:
        arrays = dict(content)
    arrays["given"][0] = (arrays["given"][0] + 1) % 4
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="changed or damaged"):
        load_plan(path)
    save_plan(plan, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="not a readable label plan"):
        load_plan(path)
    with pytest.raises(UserError, match="no such label plan"):
        load_plan(tmp_path / "none.npz")


# -- a group with a rate of its own ------------------------------------------------------------------------------------


def test_a_group_has_a_rate_of_its_own_and_changes_nothing_outside():
    labels, line = balanced(500), np.arange(2_000) % 5
    data = dataset(labels, line=line)
    plan = plan_of(data, noise="symmetric", rate=0.05, group="line=3", group_rate=0.6)
    alone = plan_of(data, noise="symmetric", rate=0.05)
    inside, wrong = line == 3, plan.given != labels
    assert abs(wrong[inside].mean() - 0.6) < 4 * np.sqrt(0.24 / 400)
    assert (plan.given[~inside] == alone.given[~inside]).all() and wrong[(alone.given != labels) & inside].all()
    assert (plan.val == alone.val).all() and plan.sha256 != alone.sha256
    percent = f"{100 * wrong[inside].mean():.1f} %"
    assert any(f"group line=3 (400 images): inside {percent}, outside" in note for note in plan.notes)
    assert "group" not in alone.settings


def test_a_group_can_be_a_class_of_origin_and_the_only_noise():
    labels = balanced(500)
    for group in ("class=c2", "class = 2"):
        plan = plan_of(dataset(labels), noise="pair", rate=0, group=group, group_rate=0.3)
        wrong = plan.given != labels
        assert not wrong[labels != 2].any() and abs(wrong[labels == 2].mean() - 0.3) < 0.09
        assert (plan.given[wrong] == 3).all()
    true = (labels + 1) % 4  # labels that are wrong already: the class of origin is the true one
    plan = plan_of(dataset(labels, true=true), noise="pair", rate=0, group="class=c2", group_rate=1.0)
    assert ((plan.given != labels) == (true == 2)).all()


@pytest.mark.parametrize(
    ("group", "message", "hint"),
    [
        ("lime=3", "no label column 'lime'", "did you mean: line"),
        ("line=9", "no training image has line=9", "0, 1, 2, 3, 4"),
        ("class=c7", "no training image has class=c7", "c0"),
        ("line=three", "no training image has line=three", "0, 1"),
    ],
)
def test_a_group_that_is_not_there(group, message, hint):
    with pytest.raises(UserError) as caught:
        plan_of(dataset(balanced(), line=np.arange(200) % 5), noise="pair", rate=0.1, group=group, group_rate=0.3)
    (problem,) = caught.value.problems
    assert problem.key == "labels.group" and problem.message == message and hint in problem.hint


# -- images with verified labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 20, 22])
def test_verified_images_are_balanced_right_and_trained_on_by_nobody(count, tmp_path: Path):
    data = dataset(balanced(), extra=30)
    plan = plan_of(data, noise="symmetric", rate=0.5, per_class=5, clean=count)
    there = counts(plan.true[plan.clean])
    assert sum(there) == count and max(there) - min(there) <= 1
    assert (plan.given[plan.clean] == data.train.labels[plan.clean]).all()
    parts = [plan.clean, plan.val, plan.unlabelled]
    assert sorted(np.concatenate(parts).tolist()) == list(range(200 + 30))
    assert set(plan.labelled.tolist()) <= set(plan.unlabelled.tolist())
    assert any(f"{count} images with verified labels are set aside" in note for note in plan.notes)
    save_plan(plan, tmp_path / "plan.npz")
    again = load_plan(tmp_path / "plan.npz")
    assert (again.clean == plan.clean).all() and again.sha256 == plan.sha256


def test_verified_images_change_neither_the_noise_nor_the_validation_part():
    data, settings = dataset(balanced()), {"noise": "symmetric", "rate": 0.5}
    plan, few, many = plan_of(data, **settings), plan_of(data, **settings, clean=8), plan_of(data, **settings, clean=40)
    for other in (few, many):
        assert (other.val == plan.val).all() and other.sha256 != plan.sha256
        trained = np.isin(plan.labelled, other.clean, invert=True)
        assert (other.labelled == plan.labelled[trained]).all()
        assert (other.given[other.labelled] == plan.given[other.labelled]).all()
    assert set(few.clean.tolist()) < set(many.clean.tolist())
    assert len(plan.clean) == 0 and "clean" not in plan.settings  # hashes of plans without any stay as they were


def test_verified_images_may_be_ones_without_a_given_label():
    true = balanced(10)
    labels = np.where(np.arange(40) < 20, true, -1)
    plan = plan_of(dataset(labels, true=true), val=4, clean=24)
    assert (plan.given[plan.clean] == true[plan.clean]).all() and set(plan.clean.tolist()).isdisjoint(plan.labelled)


def test_verified_images_that_are_not_there():
    with pytest.raises(UserError, match="no true label is known") as caught:
        plan_of(dataset(balanced()), clean=8)
    assert caught.value.problems[0].key == "labels.clean" and "true_label_column" in caught.value.problems[0].hint
    uneven = np.repeat(np.arange(4), [50, 50, 50, 6])
    for count in (40, 2_000):
        with pytest.raises(UserError, match="of class 'c3'") as caught:
            plan_of(dataset(uneven), noise="pair", rate=0.2, val=1, clean=count)
        assert caught.value.problems[0].key == "labels.clean"
        most = int(caught.value.problems[0].hint.split("at most ")[1].split()[0])
        assert most == 24
    assert len(plan_of(dataset(uneven), noise="pair", rate=0.2, val=1, clean=24).clean) == 24
    with pytest.raises(UserError, match="40 training images"):
        plan_of(dataset(balanced(11)), noise="pair", rate=0.2, val=4, clean=40)


@given(
    sizes=st.lists(st.integers(0, 40), min_size=2, max_size=6),
    total=st.integers(1, 100),
    seed=st.integers(0, 2**63 - 1),
)
def test_stratified_draws(sizes, total, seed):
    """Exactly `total` rows, each stratum within one of its share, the same by the same seed."""
    strata = np.repeat(np.arange(len(sizes)), sizes)
    assume(len(strata) > 0)
    rows = draw.stratified(strata, total, seed)
    expected = min(total, len(strata))
    assert len(rows) == len(set(rows.tolist())) == expected
    share = np.array(sizes) * expected / len(strata)
    assert (np.abs(np.bincount(strata[rows], minlength=len(sizes)) - share) < 1).all()
    assert (rows == draw.stratified(strata, total, seed)).all()


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=8), total=st.integers(0, 500))
def test_apportion(weights, total):
    shares = np.array(weights) / sum(weights) * total
    there = draw.apportion(np.array(weights), total)
    assert there.sum() == total and (np.abs(there - shares) < 1 + 1e-6).all()
