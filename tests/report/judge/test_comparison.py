"""Folders and files brought together: what is compared, what is left out, and what is refused, in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from platform.core.errors import UserError
from platform.report.judge.comparison import open_comparison
from platform.report.judge.judgement import judge
from tests.report.judge.made_sweep import made_sweep

A = {"supervised": [0.80, 0.82, 0.81], "fixmatch": [0.90, 0.93, 0.92]}


def refused(*paths: Path, allow: bool = False) -> str:
    with pytest.raises(UserError) as error:
        open_comparison(paths, allow)
    return error.value.render("nothing was compared")


def test_methods_are_compared_on_the_test_accuracy_of_winners_that_the_rule_picked(tmp_path: Path):
    found = open_comparison([made_sweep(tmp_path / "a", A)])
    assert found.metric.name == "test accuracy" and found.by_study and not found.notes
    fixmatch = found.methods[1]
    assert list(fixmatch.scores.values()) == [0.90, 0.93, 0.92]
    assert fixmatch.selection == {"0": pytest.approx(0.95), "1": pytest.approx(0.98), "2": pytest.approx(0.97)}
    assert fixmatch.searched == {"0": 33.0, "1": 33.0, "2": 33.0} and fixmatch.trained == [12.0] * 3


def test_repeats_of_a_study_count_as_one_block(tmp_path: Path):
    again = {"supervised": [[0.7, 0.9], [0.8, 0.8]], "fixmatch": [[0.85, 0.95], [0.9, 0.94]]}
    found = open_comparison([made_sweep(tmp_path / "a", {m: v[:2] for m, v in A.items()}, repeats=again)])
    assert found.on_repeats
    places = judge(found).places
    assert [place.mean.n for place in places] == [2, 2]
    assert places[0].mean.value == pytest.approx((0.9 + 0.92) / 2)


def test_repeats_of_a_single_study_are_blocks(tmp_path: Path):
    again = {"supervised": [[0.7, 0.8, 0.9]], "fixmatch": [[0.85, 0.95, 0.97]]}
    judged = judge(open_comparison([made_sweep(tmp_path / "a", {m: v[:1] for m, v in A.items()}, repeats=again)]))
    assert not judged.comparison.by_study and judged.places[0].mean.n == 3
    assert judged.differences[0].estimate.n == 3 and judged.differences[0].estimate.value == pytest.approx(0.37 / 3)


def test_without_repeats_of_all_winners_everything_is_compared_on_winners(tmp_path: Path):
    again = {"supervised": [[0.7], [0.8], [0.8]], "fixmatch": [[0.85], [0.9], []]}
    found = open_comparison([made_sweep(tmp_path / "a", A, repeats=again)])
    assert not found.on_repeats and list(found.methods[0].scores.values()) == A["supervised"]


def test_the_same_method_in_two_folders_is_two_entries_named_by_folder(tmp_path: Path):
    b = {"fixmatch": [0.91, 0.94, 0.93], "mixup": [0.85, 0.86, 0.88]}
    found = open_comparison([made_sweep(tmp_path / "a", A), made_sweep(tmp_path / "b", b)])
    assert [m.name for m in found.methods] == ["supervised", "fixmatch (a)", "fixmatch (b)", "mixup"]
    pair = judge(found).between("fixmatch (a)", "fixmatch (b)")
    assert pair.estimate.n == 3 and abs(pair.estimate.value) == pytest.approx(0.01)


def test_folders_of_one_name_are_told_apart_by_their_parents(tmp_path: Path):
    found = open_comparison([made_sweep(tmp_path / "x" / "a", A), made_sweep(tmp_path / "y" / "a", A)])
    assert {m.name for m in found.methods} >= {"fixmatch (x/a)", "fixmatch (y/a)"}


def test_studies_with_other_labels_are_not_compared_and_it_says_so(tmp_path: Path):
    paths = [made_sweep(tmp_path / "a", A), made_sweep(tmp_path / "b", {"mixup": [0.99, 0.99, 0.98]}, labels="b")]
    found = open_comparison(paths)
    mixup = found.methods[2]
    assert not mixup.scores and mixup.remark == "not compared: other labels than a"
    assert found.notes == ["Not compared: b has other labels than a in studies 0, 1, 2 (their hashes differ)."]
    assert judge(found).places[-1].mean is None


def test_a_folder_that_shares_no_study_is_not_compared(tmp_path: Path):
    a = made_sweep(tmp_path / "a", {"fixmatch": [0.9]})
    b = made_sweep(tmp_path / "b", {"mixup": [0.5, 0.8, 0.85]}, labels="b")
    found = open_comparison([a, b])
    assert not found.methods[1].scores and "no study with the data and labels of one in a" in found.notes[-1]


def test_unequal_budgets_are_refused_and_marked_where_allowed(tmp_path: Path):
    paths = [made_sweep(tmp_path / "a", A), made_sweep(tmp_path / "b", {"mixup": [0.9, 0.9, 0.91]}, trials=4)]
    words = refused(*paths)
    assert "tuning budgets differ" in words and "a: 3 trials" in words and "b: 4 trials" in words
    assert "--allow-unequal" in words
    assert open_comparison(paths, allow_unequal=True).unequal
    more_steps = made_sweep(tmp_path / "c", {"mixup": [0.9, 0.9, 0.91]}, steps=200)
    assert "at most 200 steps" in refused(paths[0], more_steps)


def test_unequal_rules_are_refused(tmp_path: Path):
    b = made_sweep(tmp_path / "b", {"mixup": [0.9, 0.9, 0.91]}, select="clean_val_accuracy")
    assert "selection rules differ" in refused(made_sweep(tmp_path / "a", A), b)


def test_scores_of_different_rules_are_refused_even_where_unequal_is_allowed(tmp_path: Path):
    b = made_sweep(tmp_path / "b", {"mixup": [0.9, 0.9, 0.91]}, select="val_loss", test=False)
    assert "different rules cannot be compared" in refused(made_sweep(tmp_path / "a", A, test=False), b, allow=True)


def test_percent_beside_accuracies_is_refused(tmp_path: Path):
    (tmp_path / "b.csv").write_text("method,study,seed,score\nusb,0,0,92.5\nusb,1,1,0.93\n")
    assert "a score of 92.5 beside test accuracies" in refused(made_sweep(tmp_path / "a", A), tmp_path / "b.csv")


def test_names_stay_apart_whatever_they_are(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("method,study,seed,score\nx,0,0,0.5\nx (b.csv),0,0,0.6\n")
    found = open_comparison([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert len({method.name for method in found.methods}) == 4


def test_a_continued_sweep_has_the_budget_of_its_latest_run(tmp_path: Path):
    """Its ledger's first line is of the first run; sweep.yaml is written anew by every run."""
    folder = made_sweep(tmp_path / "a", A, granted=2)
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"budget": {"trials": 3, "studies": 3}}))
    assert open_comparison([folder]).methods[0].info.trials_per_study == 3


def test_missing_trials_are_said(tmp_path: Path):
    found = open_comparison([made_sweep(tmp_path / "a", A, trials=2, granted=5)])
    assert "fixmatch: fewer than the 5 trials granted in studies 0, 1, 2" in " ".join(found.notes)
    unfinished = open_comparison([made_sweep(tmp_path / "b", {"mixup": [0.5, None]}, failing="preempted")])
    assert "mixup: 3 trials are unfinished" in " ".join(unfinished.notes)
    assert "mixup: no completed trial in study 1" in " ".join(unfinished.notes)
    many = open_comparison([made_sweep(tmp_path / "c", {f"m{i}": [0.5, None] for i in range(9)})])
    assert many.notes == ["m0, m1, m2, m3, m4, m5 and 3 more methods: no completed trial in study 1: not in its mean."]


def test_a_method_whose_trials_all_diverged_has_a_place_that_says_so(tmp_path: Path):
    judged = judge(open_comparison([made_sweep(tmp_path / "a", A | {"mixup": [None, None, None]})]))
    last = judged.places[-1]
    assert (last.method.name, last.mean, last.leading) == ("mixup", None, False)
    assert last.method.remark == "no completed trial: 9 diverged" and len(judged.differences) == 1


def test_accuracy_against_doubtful_labels_is_called_that(tmp_path: Path):
    found = open_comparison([made_sweep(tmp_path / "a", A, truth=False)])
    assert found.metric.name == "test accuracy (labels as given)"
    assert open_comparison([made_sweep(tmp_path / "b", A, truth=None)]).metric.name == "test accuracy"


def test_without_test_accuracy_the_selection_score_is_compared(tmp_path: Path):
    found = open_comparison([made_sweep(tmp_path / "a", A, test=False)])
    assert found.metric.name == "selection score (noisy_val_accuracy)"
    assert list(found.methods[0].scores.values()) == [pytest.approx(v + 0.05) for v in A["supervised"]]


def test_the_best_and_what_is_not_significantly_worse_lead(tmp_path: Path):
    methods = A | {"mixup": [0.91, 0.90, 0.93]}
    judged = judge(open_comparison([made_sweep(tmp_path / "a", methods)]))
    assert {place.method.name: place.leading for place in judged.places} == {
        "fixmatch": True,
        "mixup": True,
        "supervised": False,
    }
    assert judged.between("fixmatch", "supervised").sure and not judged.between("fixmatch", "mixup").sure


def test_folders_that_cannot_be_read_are_refused_all_at_once(tmp_path: Path):
    for name in ("empty", "other", "nothing"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    made_sweep(tmp_path / "nothing" / "inside", A)
    old = made_sweep(tmp_path / "old", A)
    header = json.loads((old / "ledger.jsonl").read_text().splitlines()[0])
    del header["crc"]  # which format 1 did not have
    (old / "ledger.jsonl").write_text(json.dumps(header | {"format": 1}) + "\n")
    words = refused(*(tmp_path / name for name in ("missing", "empty", "other", "nothing", "old")))
    assert "missing: no such folder" in words and "empty: an empty folder" in words
    assert (
        "other: a folder without ledger.jsonl" in words and f"sweeps in it: {tmp_path / 'nothing' / 'inside'}" in words
    )
    assert "not a ledger of this version" in words and words.endswith("5 errors; nothing was compared.")


def test_a_ledger_without_a_trial_is_refused(tmp_path: Path):
    assert "no trial yet" in refused(made_sweep(tmp_path / "a", {"mixup": []} | {"supervised": []}))


def test_a_rule_that_is_not_there_is_refused(tmp_path: Path):
    assert "no such selection rule: 'my_rule'" in refused(made_sweep(tmp_path / "a", A, select="my_rule"))
