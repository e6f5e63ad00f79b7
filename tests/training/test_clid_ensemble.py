"""What evaluations remember: the snapshots that CLID likes best, and the spread of the validation accuracy."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from platform.data.dataset import Dataset, LabelPlan
from platform.training import checkpoint
from platform.training.clid_ensemble import SIZES, ClidEnsemble
from platform.training.evaluation import Evaluator
from platform.training.trial import Trial
from tests.training.test_trial import Explodes, run, trial

OVER_TIME = ("val_accuracy_spread", "test_accuracy_clid_1", "test_accuracy_clid_3", "test_accuracy_clid_5")


def evaluator(one: Trial) -> Evaluator:
    return Evaluator(one.dataset, one.plan, one.batches, 64, False)


def over_time(one: Trial) -> list[str]:
    return [repr([report.metrics[name] for name in OVER_TIME]) for report in run(one)]


def test_by_hand():
    """Three images, two classes. The best alone guesses 0 1 0; the worse ones outvote it where it is unsure."""
    kept = ClidEnsemble()
    kept.offer(3.0, torch.tensor([[1.0, 0], [1, 0], [0, 2]]))
    kept.offer(1.0, torch.tensor([[4.0, 0], [0, 1.5], [1, 0]]))
    kept.offer(2.0, torch.tensor([[0.0, 2], [0, 1], [0, 0.5]]))
    kept.offer(4.0, torch.tensor([[0.0, 4], [5, 0], [0, 0]]))
    sums = kept.sums()
    assert sums[1].tolist() == [[4, 0], [0, 1.5], [1, 0]]
    assert sums[3].tolist() == [[5, 2], [1, 2.5], [1, 2.5]]
    assert sums[5].tolist() == [[5, 6], [6, 2.5], [1, 2.5]]  # of the four there are
    assert [sums[size].argmax(dim=1).tolist() for size in SIZES] == [[0, 1, 0], [0, 1, 1], [1, 0, 1]]


@given(st.lists(st.sampled_from([1.0, 2.0, 2.5, 3.0, math.nan, math.inf]), max_size=14))
def test_the_lowest_are_kept_and_of_ties_the_earlier(criteria: list[float]):
    kept = ClidEnsemble()
    for place, criterion in enumerate(criteria):
        kept.offer(criterion, torch.full((1, 1), float(place)))
    ranked = sorted((value, place) for place, value in enumerate(criteria) if math.isfinite(value))[:5]
    assert list(zip(kept.criteria, (int(z) for z in kept.logits), strict=True)) == ranked
    assert set(kept.sums()) == (set(SIZES) if ranked else set())


@given(st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4))
def test_five_identical_ones_guess_as_one(row: list[float]):
    """Acceptance test 8 of docs/clid_mu.md, section 8.4, numbers that rounding could tie included."""
    first = torch.tensor(row)
    logits = torch.stack([first, first.flip(0), torch.nextafter(first[0], torch.tensor(200.0)).expand(4)])
    logits[2, 0] = first[0]  # the next smaller number, at the first place
    kept = ClidEnsemble()
    for _ in range(5):
        kept.offer(1.0, logits)
    guesses = [kept.sums()[size].argmax(dim=1).tolist() for size in SIZES]
    assert guesses == [logits.argmax(dim=1).tolist()] * 3


def test_logits_that_are_no_numbers_are_not_kept():
    kept = ClidEnsemble()
    kept.offer(1.0, torch.tensor([[1.0, math.nan]]))
    kept.offer(1.0, torch.tensor([[1.0, -math.inf]]))
    kept.offer(1.0, torch.zeros(0, 2))
    assert not kept.criteria and not kept.logits


def test_memory_is_bounded():
    small, large = torch.zeros(2, 2), torch.zeros(2, 3)
    kept = ClidEnsemble(limit=5 * 4 * small.numel())
    kept.offer(1.0, large)
    assert not kept.logits
    for criterion in range(9):
        kept.offer(-float(criterion), small)
    assert kept.criteria == [-8, -7, -6, -5, -4] and len(kept.logits) == 5
    assert all(logits is not small and logits.dtype == torch.float32 for logits in kept.logits)


def test_identical_evaluations(dataset: Dataset, plan: LabelPlan):
    one = trial(dataset, plan, steps=30, evaluations=1)
    run(one)
    evaluate = evaluator(one)
    for count in range(1, 7):
        metrics = evaluate(one.method.eval_model)
        assert 0 < metrics["test_accuracy"] < 1
        assert {metrics[f"test_accuracy_clid_{size}"] for size in SIZES} == {metrics["test_accuracy"]}
        assert len(evaluate.ensemble.logits) == min(count, 5)
    assert evaluate(one.method.eval_model)["val_accuracy_spread"] == 0


def test_a_trial_reports_what_its_evaluations_add_up_to(dataset: Dataset, plan: LabelPlan):
    """Against a plain computation over the whole trial: ranked anew at each evaluation."""
    one = trial(dataset, plan, steps=32, evaluations=8)
    seen: list[tuple[float, torch.Tensor]] = []
    labels, accuracies = torch.from_numpy(dataset.test.labels), []
    for report in one.reports():
        with torch.no_grad():
            z = one.method.eval_model(one.batches.normalise(torch.tensor(dataset.test.images)))
        seen.append((report.metrics["val_clid"], z.double()))
        accuracies.append(report.metrics["noisy_val_accuracy"])
        ranked = [logits for _, logits in sorted(seen, key=lambda pair: pair[0])]
        for size in SIZES:
            total = torch.stack(ranked[:size]).sum(dim=0)
            share = (total.argmax(dim=1) == labels).double().mean().item()
            assert report.metrics[f"test_accuracy_clid_{size}"] == pytest.approx(share)
        if len(accuracies) > 1:
            assert report.metrics["val_accuracy_spread"] == pytest.approx(statistics.stdev(accuracies[-5:]))
    assert len(seen) == 8


def test_a_resumed_trial_reports_the_same(dataset: Dataset, plan: LabelPlan, tmp_path):
    expected = over_time(trial(dataset, plan, steps=32, evaluations=8))
    one = trial(dataset, plan, steps=32, evaluations=8)
    reports = one.reports()
    for _ in range(6):
        next(reports)
    one.save(tmp_path / "trial.pt")
    two = trial(dataset, plan, steps=32, evaluations=8)
    two.load(tmp_path / "trial.pt")
    assert over_time(two) == expected[6:]


def test_an_older_checkpoint_remembers_nothing(dataset: Dataset, plan: LabelPlan, tmp_path):
    one = trial(dataset, plan)
    next(one.reports())
    one.save(tmp_path / "trial.pt")
    content = checkpoint.read(tmp_path / "trial.pt", one.spec.key, one.device)
    del content["evaluation"], content["kurabe"], content["key"]
    checkpoint.write(tmp_path / "trial.pt", one.spec.key, content)
    two = trial(dataset, plan)
    two.load(tmp_path / "trial.pt")
    first = run(two)[0].metrics
    assert math.isnan(first["val_accuracy_spread"]) and first["test_accuracy_clid_5"] == first["test_accuracy"]


def test_what_diverged_is_not_kept(dataset: Dataset, plan: LabelPlan):
    """Even where the evaluated model is whole: an average of the weights can be, for a while."""
    one = trial(dataset, plan, Explodes, evaluations=1)
    assert math.isnan(run(one)[0].metrics["test_accuracy_clid_1"])
    whole = trial(dataset, plan, steps=30, evaluations=1)
    run(whole)
    evaluate = evaluator(whole)
    lost = evaluate(whole.method.eval_model, diverged=True)
    assert math.isfinite(lost["val_clid"]) and math.isnan(lost["test_accuracy_clid_5"])
    assert evaluate(whole.method.eval_model)["test_accuracy_clid_5"] == lost["test_accuracy"]
    assert len(evaluate.ensemble.logits) == 1


def test_without_a_validation_part(dataset: Dataset, plan: LabelPlan):
    nothing = LabelPlan(plan.labelled, plan.unlabelled, plan.val[:0], plan.given, plan.true, "no validation")
    for report in run(trial(dataset, nothing)):
        assert all(math.isnan(report.metrics[name]) for name in OVER_TIME)
