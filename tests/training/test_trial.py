"""One trial: what it reports, that it repeats, resumes, ends where it diverges, and that evaluating leaves no trace."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views
from platform.core.spec import derive_seed
from platform.data.dataset import Dataset, LabelPlan
from platform.models import build
from platform.training.report import Report
from platform.training.trial import Trial
from tests.training.conftest import make_spec


class Plain(Method):
    """plain: cross-entropy, with everything that must survive a checkpoint: buffers, generators, the global one."""

    views = Views(labelled=("weak",), unlabelled=("plain",))
    centre: torch.Tensor
    losses: list[float]

    def build(self) -> None:
        self.register_buffer("centre", torch.zeros(self.setup.num_classes))
        self.losses = []

    def loss(self, batch: Batch) -> Terms:
        noise = torch.randn(batch.labelled.y.shape, generator=self.generator) + torch.rand(())  # dropout's generator
        features, logits = self.model(batch.labelled.weak, with_features=True)
        unlabelled = self.model(batch.stream("unlabelled").x)
        self.centre.lerp_(unlabelled.detach().float().mean(dim=0), 0.1)
        loss = F.cross_entropy(logits * (1 + 0.01 * noise[:, None]), batch.labelled.y)
        self.losses.append(loss.item())
        self.record(spread=features.std(), step=torch.tensor(float(batch.step)))
        return Terms(labelled=loss, pull=0.01 * (unlabelled - self.centre).square().mean())


class Explodes(Plain):
    """explodes: the loss of step 5 is no number."""

    def loss(self, batch: Batch) -> Terms:
        terms = super().loss(batch)
        if batch.step == 5:
            terms["labelled"] = terms["labelled"] * float("nan")
        return terms


class PlainTrial(Trial):
    method: Plain


def trial(dataset: Dataset, plan: LabelPlan, method: type[Plain] = Plain, **settings: Any) -> PlainTrial:
    return PlainTrial(make_spec(**settings), dataset, plan, method)


def run(one: Trial) -> list[Report]:
    return list(one.reports())


def test_reports(dataset: Dataset, plan: LabelPlan):
    one = trial(dataset, plan)
    reports = run(one)
    assert [report.step for report in reports] == [4, 8, 12]
    assert [report.outcome for report in reports] == [None, None, "completed"]
    names = (
        "train_loss loss/labelled loss/pull noisy_val_accuracy clean_val_accuracy val_loss val_clid test_accuracy lr"
    )
    watched = {"diag/head_gradient_labelled"}  # in every 32nd step
    look = {"diag/ece", "diag/confidence_right", "diag/confidence_wrong", "diag/head_drift"}
    over_time = {"val_accuracy_spread", *(f"test_accuracy_clid_{size}" for size in (1, 3, 5))}
    expected = {*names.split(), "images_per_second", "diag/spread", "diag/step"} | look | over_time
    assert [set(report.metrics) for report in reports] == [expected | watched, expected, expected]
    finite = [{k: math.isfinite(v) for k, v in report.metrics.items()} for report in reports]
    assert [found.pop("val_accuracy_spread") for found in finite] == [False, True, True]  # one alone has no spread
    assert all(all(found.values()) or not found["diag/confidence_wrong"] for found in finite)  # nothing wrong: NaN
    for k, report in enumerate(reports):
        losses = one.method.losses[4 * k : 4 * k + 4]
        assert report.metrics["loss/labelled"] == pytest.approx(sum(losses) / 4)
        parts = report.metrics["loss/labelled"] + report.metrics["loss/pull"]
        assert report.metrics["train_loss"] == pytest.approx(parts)
        assert report.metrics["diag/step"] == 4 * k + 1.5
        assert report.metrics["lr"] == pytest.approx(0.05 * math.cos(7 * math.pi * (4 * k + 3) / (16 * 12)))
    assert 0 < reports[0].seconds < reports[1].seconds < reports[2].seconds
    assert run(one) == []


def test_it_learns(dataset: Dataset, plan: LabelPlan):
    reports = run(trial(dataset, plan, steps=60))
    assert reports[-1].metrics["train_loss"] < 0.6 * reports[0].metrics["train_loss"]
    assert reports[-1].metrics["test_accuracy"] > 0.8


def test_evaluation_is_what_it_says(dataset: Dataset, plan: LabelPlan):
    """Against a plain computation: clean and noisy accuracy, loss and test accuracy of the averaged weights."""
    from methods.parts.clid import clid

    one = trial(dataset, plan, eval_batch_size=7)
    metrics = run(one)[-1].metrics
    assert plan.true is not None
    model = one.method.eval_model

    def logits(images) -> torch.Tensor:
        return model(one.batches.normalise(torch.tensor(images)))

    val = logits(dataset.train.images[plan.val])
    given, true = torch.tensor(plan.given[plan.val]), torch.tensor(plan.true[plan.val])
    assert metrics["noisy_val_accuracy"] == pytest.approx((val.argmax(1) == given).double().mean().item())
    assert metrics["clean_val_accuracy"] == pytest.approx((val.argmax(1) == true).double().mean().item())
    assert metrics["val_loss"] == pytest.approx(F.cross_entropy(val, given).item(), rel=1e-5)
    test = logits(dataset.test.images).argmax(1) == torch.tensor(dataset.test.labels)
    assert metrics["test_accuracy"] == pytest.approx(test.double().mean().item())
    features, z = model(one.batches.normalise(torch.tensor(dataset.train.images[plan.val])), with_features=True)
    assert metrics["val_clid"] == pytest.approx(clid(features, z, 0.5).item(), rel=1e-5)
    assert not torch.equal(given, true)


def test_unknown_truth_is_nan_and_unlabelled_rows_do_not_count(dataset: Dataset, plan: LabelPlan):
    given = plan.given.copy()
    given[130:] = -1
    blind = LabelPlan(plan.labelled, plan.unlabelled, plan.val, given, None, "blind")
    one = Trial(make_spec(steps=2, evaluations=1), dataset, blind, Plain)
    metrics = run(one)[0].metrics
    assert math.isnan(metrics["clean_val_accuracy"])
    z = one.method.eval_model(one.batches.normalise(torch.tensor(dataset.train.images[120:130])))
    expected = (z.argmax(1) == torch.tensor(given[120:130])).double().mean().item()
    assert metrics["noisy_val_accuracy"] == pytest.approx(expected)


def test_the_same_trial_twice(dataset: Dataset, plan: LabelPlan):
    torch.manual_seed(1)
    first = trial(dataset, plan)
    one = [r.metrics for r in run(first)]
    torch.manual_seed(2)
    second = trial(dataset, plan)
    two = [r.metrics for r in run(second)]
    for a, b in zip(one, two, strict=True):
        assert str(a | {"images_per_second": 0}) == str(b | {"images_per_second": 0})  # by text: NaN equals itself
    assert first.method.losses == second.method.losses


def test_trials_of_one_process_do_not_disturb_each_other(dataset: Dataset, plan: LabelPlan):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    alone = trial(dataset, plan)
    run(alone)
    one, two = trial(dataset, plan), trial(dataset, plan, lr=0.2)
    for _ in zip(one.reports(), two.reports(), strict=True):
        pass
    assert one.method.losses == alone.method.losses != two.method.losses
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluations_leave_no_trace(dataset: Dataset, plan: LabelPlan):
    few, many = trial(dataset, plan, evaluations=2), trial(dataset, plan, evaluations=6)
    run(few)
    run(many)
    assert few.method.losses == many.method.losses
    pairs = zip(few.method.state_dict().items(), many.method.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for (name, a), b in pairs if isinstance(a, torch.Tensor))


def test_methods_meet_the_same_start(dataset: Dataset, plan: LabelPlan):
    model = trial(dataset, plan).method.model
    fresh = build("small_cnn", (1, 8, 8), 4, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))


def test_setup_tells_the_method_its_trial(dataset: Dataset, plan: LabelPlan):
    setup = trial(dataset, plan, grad_clip=0.5).method.setup
    assert (setup.num_classes, setup.steps, setup.num_labelled, setup.num_unlabelled) == (4, 12, 32, 120)
    assert setup.num_train == 160 and setup.grad_clip == 0.5 and not setup.amp
    assert sum(setup.label_counts) == 32 and setup.seed == derive_seed(1, "method")
    one, two, again = (next(setup.make_model(number).parameters()) for number in (0, 1, 0))
    assert torch.equal(one, again) and not torch.equal(one, two)
    assert setup.make_optimizer(setup.make_model(0)).param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize("settings", [{"optimizer": "sgd"}, {"optimizer": "adamw", "lr": 0.003}], ids=["sgd", "adamw"])
@pytest.mark.parametrize("stop", [4, 6], ids=["at an evaluation", "between evaluations"])
def test_a_resumed_trial_goes_on_bit_for_bit(
    dataset: Dataset, plan: LabelPlan, tmp_path, settings: dict[str, Any], stop: int
):
    straight = trial(dataset, plan, **settings)
    expected = run(straight)

    one = trial(dataset, plan, **settings)
    done = [next(one.reports())]
    one.advance(stop - one.step)
    one.save(tmp_path / "trial.pt", {"reports": [1.5]})
    two = trial(dataset, plan, **settings)
    assert two.load(tmp_path / "trial.pt") == {"reports": [1.5]}
    resumed = run(two)

    assert two.method.losses == straight.method.losses[stop:]
    for ours, theirs in zip(done + resumed, expected, strict=True):
        assert str(ours.metrics | {"images_per_second": 0}) == str(theirs.metrics | {"images_per_second": 0})
        assert (ours.step, ours.outcome) == (theirs.step, theirs.outcome)
    state, wanted = two.method.ema.state_dict(), straight.method.ema.state_dict()
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)
    assert resumed[0].seconds > done[0].seconds


def test_a_finished_trial_stays_finished(dataset: Dataset, plan: LabelPlan, tmp_path):
    one = trial(dataset, plan, steps=2, evaluations=1)
    run(one)
    one.save(tmp_path / "trial.pt")
    two = trial(dataset, plan, steps=2, evaluations=1)
    two.load(tmp_path / "trial.pt")
    assert two.outcome == "completed" and run(two) == []


def test_divergence_ends_the_trial_at_once(dataset: Dataset, plan: LabelPlan):
    one = trial(dataset, plan, Explodes, evaluations=1, steps=1000)
    (report,) = run(one)
    assert report.outcome == "diverged" and report.step == one.step == 6
    assert report.metrics["train_loss"] == pytest.approx(sum(one.method.losses[:5]) / 5 + report.metrics["loss/pull"])
    # Weights that are no numbers predict nothing.
    assert report.metrics["test_accuracy"] == report.metrics["noisy_val_accuracy"] == 0
    assert run(one) == []


def test_the_ema_averages_weights_and_copies_buffers(dataset: Dataset, plan: LabelPlan):
    one = trial(dataset, plan, steps=2, evaluations=2)
    one.advance(1)
    first = {name: value.clone() for name, value in one.method.model.named_parameters()}
    for name, value in one.method.ema.module.named_parameters():
        torch.testing.assert_close(value, first[name])
    run(one)
    live = dict(one.method.model.named_parameters())
    for name, value in one.method.ema.module.named_parameters():
        torch.testing.assert_close(value, (0.9 * first[name] + live[name]) / 1.9)
    buffers = dict(one.method.model.named_buffers())
    assert all(torch.equal(value, buffers[name]) for name, value in one.method.ema.module.named_buffers())
    assert any(value.any() for name, value in buffers.items() if name.endswith("running_mean"))


def test_images_are_handed_on(dataset: Dataset, plan: LabelPlan):
    first = trial(dataset, plan)
    second = Trial(make_spec(), dataset, plan, Plain, images=first.images)
    assert second.images is first.images


@pytest.mark.slow
def test_what_does_not_compile_runs_as_it_is(dataset: Dataset, plan: LabelPlan, monkeypatch: pytest.MonkeyPatch):
    """`compile: on` with a compiler that fails: the losses are those of eager mode."""
    monkeypatch.setattr(torch._dynamo.config, "suppress_errors", False)

    def broken(*_):
        raise RuntimeError("no compiler on this machine")

    compile = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile(self, backend=broken))
    eager, compiled = (trial(dataset, plan, steps=3, evaluations=1, compile=mode) for mode in ("off", "on"))
    run(eager)
    run(compiled)
    assert compiled.compiled and not eager.compiled
    assert compiled.method.losses == eager.method.losses


def test_twice_differentiated_steps_are_not_compiled(dataset: Dataset, plan: LabelPlan):
    class Twice(Plain):
        compilable = False

    assert not trial(dataset, plan, Twice, compile="on").compiled


def test_mixed_precision_on_request(dataset: Dataset, plan: LabelPlan):
    one = trial(dataset, plan, steps=2, evaluations=1, amp="on")
    assert one.method.setup.amp and run(one)[0].outcome == "completed"
    assert all(parameter.dtype == torch.float32 for parameter in one.method.model.parameters())


def test_interrupted_between_two_evaluations_it_goes_on_at_that_step(dataset, plan, tmp_path):
    undisturbed = [dict(report.metrics) for report in trial(dataset, plan).reports()]
    first = trial(dataset, plan)
    first.interrupted = lambda: first.step == 6  # evaluations come at 4, 8, 12
    reports = [report for report in first.reports()]
    assert [report.step for report in reports] == [4] and first.step == 6 and first.outcome is None
    first.save(tmp_path / "a.pt")
    second = trial(dataset, plan)
    second.load(tmp_path / "a.pt")
    reports += list(second.reports())
    assert [report.step for report in reports] == [4, 8, 12]
    for report, other in zip(reports, undisturbed, strict=True):
        for name in other.keys() - {"images_per_second"}:
            assert report.metrics[name] == pytest.approx(other[name], nan_ok=True, rel=0, abs=0), name


def test_stepping_trains_to_the_same_numbers_and_reports_go_on_from_there(dataset: Dataset, plan: LabelPlan) -> None:
    whole, stepped = trial(dataset, plan), trial(dataset, plan)
    expected = list(whole.reports())
    steps = [step for step, _ in zip(stepped.steps(), range(5), strict=False)]
    assert [step.step for step in steps] == [1, 2, 3, 4, 5]
    assert [step.losses["labelled"] for step in steps] == whole.method.losses[:5]
    assert steps[0].lr == 0.05 > steps[4].lr and set(steps[0].losses) == {"labelled", "pull"}
    rest = list(stepped.reports())
    assert [report.step for report in rest] == [8, 12]
    for name in ("test_accuracy", "val_loss"):
        assert [report.metrics[name] for report in rest] == [report.metrics[name] for report in expected[1:]]
    assert list(stepped.steps()) == []


def test_stepping_ends_with_a_loss_that_is_no_number(dataset: Dataset, plan: LabelPlan) -> None:
    assert [step.step for step in trial(dataset, plan, Explodes).steps()][-1] == 6
