"""What a budget says: presets and where they stand, seconds without trials, repeats and their seeds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from platform.core.spec import AXES, derive_seed
from platform.sweepfile import Sweep, load, load_plain, smoke
from platform.sweepfile.presets import PRESETS
from platform.sweepfile.schema import UNLIMITED, Budget

Make = Callable[..., Sweep]
ROOT = Path(__file__).parents[2]
SHIPPED = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "search_spaces").rglob("*.yaml"))
SPACE = "methods: [mixup, fixmatch]\nlabels: {per_class: 4}\nsearch: {train.lr: {log_uniform: [1e-3, 0.3]}}\n"


def counts(sweep: Sweep) -> dict[str, Any]:
    return {key: getattr(sweep.budget, key) for key in ("trials", "studies", "repeats")}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_what_the_file_leaves_out(sweep: Make, name: str) -> None:
    assert counts(sweep(f"{SPACE}budget: {{preset: {name}}}")) == PRESETS[name]
    there = sweep(f"{SPACE}budget: {{preset: {name}, trials: 7, grace: 2}}")
    assert counts(there) == PRESETS[name] | {"trials": 7}
    assert (there.budget.grace, there.budget.preset) == (2, name)


def test_the_help_says_what_the_presets_are() -> None:
    words = Budget.model_fields["preset"].description or ""
    for name, values in PRESETS.items():
        assert f"{name} = {', '.join(map(str, values.values()))}" in words


PLACES: list[dict[str, Any]] = [{}, {"trials": 7}, {"preset": "paper", "repeats": 9}]


@pytest.mark.parametrize(("file", "typed"), [*product(PLACES, repeat=2)])
def test_what_is_typed_beats_what_is_written(sweep: Make, file: dict[str, Any], typed: dict[str, Any]) -> None:
    """Word on the command line > preset on the command line > word in the file > preset in the file > default."""
    words = [f"budget.{key}={value}" for key, value in typed.items()]
    found = counts(sweep(f"{SPACE}budget: {file}".replace("'", ""), *words))
    expected = {"trials": 16, "studies": 1, "repeats": 0}
    for layer in (file, typed):
        expected |= PRESETS.get(layer.get("preset", ""), {}) | {k: v for k, v in layer.items() if k != "preset"}
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED)
@pytest.mark.parametrize("typed", ["budget.preset=quick", "budget={preset: quick}"])
def test_quick_shrinks_every_shipped_file(path: str, typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    small = load(path, [typed])
    assert counts(small) == PRESETS["quick"]
    assert small.train == load(path).train  # a preset never touches a trial: its rows are the rows of paper
    assert all(study.trials <= 5 for study in small.studies())


def test_rows_of_quick_are_rows_of_paper(sweep: Make) -> None:
    quick, paper = (sweep(SPACE, f"budget.preset={name}").studies() for name in ("quick", "paper"))
    assert [s.resolve(s.start).key for s in quick] == [s.resolve(s.start).key for s in paper[:2]]


@pytest.mark.parametrize("budget", ["{preset: paper}", "{seconds: 60}", "{seconds: 60, trials: 4}", "{repeats: 2}"])
def test_what_was_filled_in_loads_again(sweep: Make, budget: str) -> None:
    found = sweep(f"{SPACE}budget: {budget}")
    assert load_plain(found.resolved(), found.path) == found


def test_seconds_alone_leave_the_trials_open(sweep: Make) -> None:
    open_, both = sweep(SPACE, "budget.seconds=90"), sweep(f"{SPACE}budget: {{trials: 4}}", "budget.seconds=90")
    assert (open_.budget.trials, {s.trials for s in open_.studies()}) == (None, {UNLIMITED})
    assert (both.budget.trials, {s.trials for s in both.studies()}) == (4, {4})
    assert open_.budget.per_study == "90 device-seconds"
    assert both.budget.per_study == "4 trials or 90 device-seconds"
    few = sweep("methods: [mixup]\nsearch: {train.batch_size: {choice: [8, 16]}}", "budget.seconds=90").studies()[0]
    assert few.trials == 2 and few.notes[0] == "the space has only 2 points: 2 trials, not more"


def test_repeats_have_fresh_seeds_the_same_for_every_method(sweep: Make) -> None:
    found = sweep(SPACE, "budget={studies: 2, repeats: 2}", "seed=5", "seeds.split=3")
    seen = [study.seeds for study in found.studies()]
    for index, repeat in product(range(2), (1, 2)):
        seeds = found.repeat_seeds(index, repeat)
        assert seeds["data"] == derive_seed(5, "data") and seeds["split"] == 3
        for axis in ("noise", "init", "order"):
            assert seeds[axis] not in [other[axis] for other in seen]
        seen.append(seeds)
        again = sweep(SPACE, f"seed={found.repeat_seed(index, repeat)}", f"seeds.data={seeds['data']}", "seeds.split=3")
        mine = again.studies()[0].seeds
        assert {axis: mine[axis] for axis in AXES if axis != "search"} == {
            axis: seeds[axis] for axis in AXES if axis != "search"
        }  # a repeat is a sweep's trial under its plain seed


def test_a_smoke_run_is_small_whatever_the_budget(sweep: Make) -> None:
    small = smoke(sweep(SPACE, "budget={preset: paper, seconds: 9000}"))
    assert (small.budget.seconds, counts(small)) == (None, {"trials": 2, "studies": 1, "repeats": 1})
    assert smoke(sweep(SPACE)).budget.repeats == 0


def test_repeats_need_a_fresh_axis(sweep: Make, problems: Callable[..., list[str]]) -> None:
    pinned = "seeds={noise: 1, split: 2, init: 3, order: 4}"
    assert problems(SPACE, "budget.repeats=2", pinned) == [
        "command line: budget.repeats=2: budget.repeats: seeds pins every axis: all repeats would be one trial\n"
        "    leave one of noise, split, init, order out of seeds, or write repeats: 0"
    ]
    assert sweep(SPACE, "budget.repeats=2", pinned.replace(", order: 4", "")).budget.repeats == 2
