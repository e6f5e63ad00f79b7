"""The verdict's sentences: what was found, how sure it is, what cannot be said."""

from __future__ import annotations

from pathlib import Path

import pytest

from platform.report.judge.comparison import of_sweep, open_comparison
from platform.report.judge.judgement import judge
from platform.report.judge.sweep_folder import read_sweep
from platform.report.judge.verdict import names, verdict
from tests.report.judge.made_sweep import made_sweep

CLOSE = {"supervised": [0.80, 0.82, 0.81], "fixmatch": [0.90, 0.93, 0.92], "layermatch": [0.91, 0.92, 0.91]}


def said(folder: Path, *args: object, **kwargs: object) -> list[str]:
    return verdict(judge(open_comparison([made_sweep(folder, *args, **kwargs)])))


def test_who_beats_whom_by_how_much_and_between_whom_there_is_no_sure_difference(tmp_path: Path):
    found = said(tmp_path / "a", CLOSE)
    assert found[0] == "fixmatch beats supervised by 0.107 [0.092, 0.121] (3 studies, Holm p = 0.003)."
    # differences -0.01, 0.01, 0.01: t = 0.5 with 2 degrees of freedom
    words = "Between fixmatch and layermatch no sure difference; the difference is "
    assert found[1] == words + "0.003 [-0.025, 0.032] (3 studies, Holm p = 0.67)."
    assert "layermatch beats supervised." in found
    assert "In 0 of 9 studies (of all methods) the search found nothing better than the defaults." in found


def test_the_numbers_are_those_of_the_leaderboard(tmp_path: Path):
    judged = judge(open_comparison([made_sweep(tmp_path / "a", CLOSE)]))
    pair = judged.between("fixmatch", "supervised")
    assert f"{pair.estimate.value:.3f} [{pair.estimate.low:.3f}, {pair.estimate.high:.3f}]" in verdict(judged)[0]
    assert pair.p is not None and pair.holm == pytest.approx(3 * pair.p)


def test_where_nothing_is_sure_the_best_mean_is_not_called_a_winner(tmp_path: Path):
    found = said(tmp_path / "a", {"a": [0.8, 0.9, 0.85], "b": [0.81, 0.88, 0.86], "c": [0.7, 0.95, 0.83]})
    assert found[0].startswith("No sure difference: a has the best mean (test accuracy 0.850 [")
    assert found[0].endswith("but b and c may be as good.") or found[0].endswith("but c and b may be as good.")


@pytest.mark.parametrize(("studies", "words"), [(1, "One study on one seed"), (2, "Only 2 studies")])
def test_below_three_studies_it_says_what_cannot_be_said(tmp_path: Path, studies: int, words: str):
    found = " ".join(said(tmp_path / "a", {name: values[:studies] for name, values in CLOSE.items()}))
    assert words in found and "no interval and no test" in found and "budget.studies=3" in found
    assert "beats" not in found and "[" not in found and "Holm" not in found


def test_repeats_of_one_study_say_nothing_of_another_search(tmp_path: Path):
    again = {"a": [[0.8, 0.81, 0.82]], "b": [[0.7, 0.72, 0.71]]}
    found = said(tmp_path / "a", {"a": [0.8], "b": [0.7]}, repeats=again)
    assert found[0].startswith("a beats b by 0.100 [") and "(3 repeats of one study, Holm p" in found[0]
    assert "not what another search would have found" in found[1]


def test_equal_methods_on_equal_numbers(tmp_path: Path):
    found = " ".join(said(tmp_path / "a", {"a": [0.9] * 3, "b": [0.9] * 3}))
    assert "no sure difference" in found.lower() and "[" not in found


def test_a_method_that_lacks_the_hard_studies_does_not_win_by_that(tmp_path: Path):
    """a has the better mean; on what both have, b is better for sure."""
    a, b = [0.90, 0.91, 0.92], [0.95, 0.96, 0.9701, 0.1, 0.2, 0.15]
    lines = [f"{name},{study},0,{value}" for name, values in (("a", a), ("b", b)) for study, value in enumerate(values)]
    (tmp_path / "x.csv").write_text("\n".join(["method,study,seed,score", *lines]) + "\n")
    judged = judge(open_comparison([tmp_path / "x.csv"]))
    assert verdict(judged)[0].startswith("On the blocks that both have, b beats a by 0.050 [")
    assert all(place.leading for place in judged.places)


def test_one_method_has_nothing_to_be_compared_with(tmp_path: Path):
    assert said(tmp_path / "a", {"a": [0.8, 0.9, 0.85]})[0].endswith("there is nothing to compare it with.")


def test_methods_without_a_result_are_named_with_the_reason(tmp_path: Path):
    none = said(tmp_path / "a", CLOSE | {"x": [None] * 3, "y": [None] * 3})
    assert "x and y have no result: no completed trial: 9 diverged." in none
    assert said(tmp_path / "b", {"x": [None] * 3})[0] == "No method has a result, so nothing was found."


def test_defaults_that_won_are_counted(tmp_path: Path):
    found = said(tmp_path / "a", CLOSE, default_wins=True)
    assert "In 9 of 9 studies (of all methods) the search found nothing better than the defaults." in found
    assert not any("defaults won" in words for words in said(tmp_path / "b", CLOSE, trials=1))  # nothing was searched


def test_doubtful_labels_and_unequal_budgets_are_said(tmp_path: Path):
    assert any("accuracy against doubtful labels" in words for words in said(tmp_path / "a", CLOSE, truth=False))
    other = made_sweep(tmp_path / "b", {"mixup": [0.9, 0.91, 0.92]}, steps=300)
    judged = judge(open_comparison([tmp_path / "a", other], allow_unequal=True))
    assert any("--allow-unequal" in words for words in verdict(judged))


def test_many_methods_are_not_all_named(tmp_path: Path):
    found = said(tmp_path / "a", {f"m{i}": [0.5 + 0.01 * i, 0.52 + 0.01 * i, 0.56 + 0.01 * i] for i in range(12)})
    assert max(map(len, found)) < 600 and any("of 66 pairs differ for sure" in words for words in found)


def test_a_running_sweep_gives_the_same_verdict_as_its_folder(tmp_path: Path):
    folder = made_sweep(tmp_path / "a", CLOSE)
    assert verdict(judge(of_sweep(*read_sweep(folder)))) == verdict(judge(open_comparison([folder])))


def test_names():
    assert [names(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
