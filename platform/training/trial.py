"""One trial: an ordinary iterator of reports that a debugger can step through, without Ray and MLflow."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

import platform.core.accelerator as accelerator
from methods.base import Batch, Method, Setup, Terms
from platform.core.errors import Problem, UserError
from platform.core.rungs import evaluation_steps
from platform.core.spec import TrialSpec, derive_seed
from platform.data.batches import Batches
from platform.data.dataset import Dataset, LabelPlan
from platform.data.device_images import DeviceImages
from platform.models import build
from platform.training import checkpoint
from platform.training.accumulation import check_parts
from platform.training.diagnostics import Diagnostics
from platform.training.evaluation import Evaluator
from platform.training.optimisers import make_optimizer
from platform.training.report import Report
from platform.training.schedules import learning_rate
from platform.training.tally import Tally

__all__ = ["Trial", "check_truth"]

COMPILE_FROM = 2000  # steps; below, compiling takes longer than it saves
CHECK_EVERY = 32  # steps between two looks at the divergence flag on a GPU


class StepLosses(NamedTuple):
    """A training step that was made. step: its number, 1 = the first. lr: the rate it was made with. losses: by name,
    weighted; their sum was minimised."""

    step: int
    lr: float
    losses: dict[str, float]


class Trial:
    """Trains `spec` on `dataset` with the labels of `plan`.

        for report in Trial(spec, dataset, plan, FixMatch).reports():
            print(report.step, report.metrics["noisy_val_accuracy"])

    images: the device-resident images of an earlier trial (`trial.images`), to upload them once. Random numbers come
    from the trial's own states, the global one included, so that trials of one process do not disturb each other.
    accumulate: parts of each step; spec.train.accumulate, unless a step of that size did not fit into memory.
    Raises UserError where model, data and labels do not fit together.
    """

    def __init__(
        self,
        spec: TrialSpec,
        dataset: Dataset,
        plan: LabelPlan,
        method_class: type[Method],
        device: str | torch.device = "cpu",
        images: DeviceImages | None = None,
        accumulate: int | None = None,
    ) -> None:
        self.spec, self.dataset, self.plan = spec, dataset, plan
        self.device = torch.device(device)
        self.step, self.seconds = 0, 0.0
        self.outcome: Literal["completed", "diverged"] | None = None
        self.interrupted: Callable[[], bool] = lambda: False  # called after each step: then `reports` ends there
        self.compiled = False
        self._accelerated = accelerator.is_accelerator(self.device)
        self.amp = spec.train.amp == "on" or (spec.train.amp == "auto" and self._accelerated)
        self._channels_last = self._accelerated and spec.train.channels_last
        accelerator.prepare(self.device)
        self._random = _seeded_states(self.device, derive_seed(spec.seeds["order"], "global"))
        hyper = method_class.resolve(method_class.Hyper(**spec.hyper), spec.train.steps)
        check_truth(spec.method, method_class, plan, hyper, dataset.truth_hint)
        self.accumulate = accumulate or spec.train.accumulate
        check_parts(spec.method, method_class, hyper, spec.train.batch_size, self.accumulate)
        sizes = method_class.stream_sizes(hyper, spec.train.batch_size)
        with self._own_random_state():
            self.batches = self._make_batches(method_class, hyper, sizes, images)
            model = self._make_model(spec.seeds["init"])
            self.method = method_class(model, hyper, self._setup()).to(self.device).train()
        self.method.accumulate = self.accumulate
        level = spec.train.diagnostics
        self._evaluate = Evaluator(dataset, plan, self.batches, spec.train.eval_batch_size, self.amp, level != "off")
        self.diagnostics = Diagnostics(level, dataset, plan, self.batches, self.method, spec.seeds["split"], self.amp)
        self._tally = Tally(self.device)
        self._compile(method_class)

    @functools.cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser, made at first use: with the first one torch loads its compiler, two seconds that a trial which
        is only built to see whether it fits need not take."""
        return make_optimizer(self.method.model, self.spec.train, self.method.trainable())

    @property
    def images(self) -> DeviceImages:
        """The images on the device, for the next trial on the same data."""
        return self.batches.images

    # -- training, saving, loading -------------------------------------------------------------------------------------

    def reports(self) -> Iterator[Report]:
        """Train on from the current step, and stop at each evaluation. The last report carries the outcome.

        Without an outcome it was interrupted: what `save` then writes goes on at that step.
        """
        for milestone in evaluation_steps(self.spec.train.steps, self.spec.train.evaluations):
            if self.outcome is not None:
                return
            if milestone > self.step:
                if self.advance(milestone - self.step):
                    return
                yield self._report()

    def steps(self) -> Iterator[StepLosses]:
        """Train on step by step without evaluating, to look at the trial in between: in a debugger, a notebook.

        Ends with the last step or one whose loss is not finite. Reads every loss, for which a GPU is waited for. The
        numbers are those of `reports`, which may go on from there.
        """
        _ = self.optimizer  # before the clock starts
        while self.outcome is None and self.step < self.spec.train.steps:
            begin = time.perf_counter()
            with self._own_random_state():
                terms = self._train_step()
            losses = {name: float(term.detach()) for name, term in terms.items()}
            self._clock(begin, training=True)
            yield StepLosses(self.step, learning_rate(self.spec.train, self.step - 1), losses)
            if not all(map(math.isfinite, losses.values())):
                return

    def advance(self, count: int) -> bool:
        """Train at most `count` steps without an evaluation; ends early where a loss was not finite.

        Returns whether it was interrupted before.
        """
        end = min(self.step + count, self.spec.train.steps)
        _ = self.optimizer  # before the clock starts
        every = CHECK_EVERY if self._accelerated else 1
        begin = time.perf_counter()
        stop = False
        try:
            with self._own_random_state():
                while self.step < end and not stop:
                    self._train_step()
                    if self.step % every == 0 and self._tally.diverged():
                        break
                    stop = self.step < end and self.interrupted()
        except Exception:
            self._clock(begin, training=True)  # the time of a trial that fails is charged, too
            raise
        accelerator.synchronize(self.device)
        self._clock(begin, training=True)
        return stop

    def save(self, path: str | Path, beside: dict[str, Any] | None = None) -> None:
        """Write everything that decides how the trial goes on, and `beside` (plain data), atomically."""
        content = {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "tally": self._tally.state_dict(),
            "diagnostics": self.diagnostics.state_dict(),
            "evaluation": self._evaluate.state_dict(),
            "random": self._random,
            "step": self.step,
            "seconds": self.seconds,
            "outcome": self.outcome,
            "beside": beside or {},
        }
        checkpoint.write(path, self.spec.key, content)

    def branch(self, path: str | Path, parent: str) -> dict[str, Any]:
        """Start from the state that another trial of this method saved, with the settings of this one: a changed value
        acts from the next step on, where the method lists it in `in_flight`. Seconds are counted from here.

        parent: key of that trial. Returns what was saved beside. Raises UserError as `load` does.
        """
        decay = [group["weight_decay"] for group in self.optimizer.param_groups]
        beside = self._restore(path, parent)
        for group, value in zip(self.optimizer.param_groups, decay, strict=True):
            group["weight_decay"] = value
        self.seconds, self.outcome = 0.0, None
        return beside

    def load(self, path: str | Path) -> dict[str, Any]:
        """Restore the state that `save` wrote; returns what was saved beside.

        The next losses are those of the trial that went on, to the bit on a CPU. Call `reports()` anew afterwards.
        Raises UserError for a file that is no checkpoint of this trial.
        """
        return self._restore(path, self.spec.key)

    def _restore(self, path: str | Path, key: str) -> dict[str, Any]:
        content = checkpoint.read(path, key, self.device)
        self._check_device(content["random"], path)
        self.method.load_state_dict(content["method"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.batches.load_state_dict(content["batches"])
        self._tally.load_state_dict(content["tally"])
        self.diagnostics.load_state_dict(content.get("diagnostics", {}))
        self._evaluate.load_state_dict(content.get("evaluation", {}))
        self._random = {name: state.cpu() for name, state in content["random"].items()}
        self.step, self.seconds, self.outcome = content["step"], content["seconds"], content["outcome"]
        return content["beside"]

    def _check_device(self, states: dict[str, torch.Tensor], path: str | Path) -> None:
        """Raise UserError where the states of the generators are of another kind of device: they cannot go on here."""
        saved = [name for name in states if name != "cpu"] or ["cpu"]
        if saved != [self.device.type]:
            problem = f"checkpoint of a trial on {saved[0]}; this one trains on {self.device.type}"
            hint = "go on there; or delete it, and the trial starts anew"
            raise UserError(Problem(problem, where=str(path), hint=hint))

    # -- a step and an evaluation --------------------------------------------------------------------------------------

    def _train_step(self) -> Terms:
        rate = learning_rate(self.spec.train, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch: Batch = self.batches.next(self.step, self.spec.train.steps)
        terms = self.method.take_step(batch, self.optimizer)
        streams = (batch.labelled, batch.unlabelled, batch.meta)
        self._tally.add(terms, images=sum(len(stream.index) for stream in streams if stream is not None))
        self.step += 1
        return terms

    def _report(self) -> Report:
        begin = time.perf_counter()
        speed = self._tally.images / self._tally.seconds if self._tally.seconds else float("nan")
        metrics, diverged = self._tally.read()
        metrics |= self._evaluate(self.method.eval_model, diverged)
        metrics |= {"lr": learning_rate(self.spec.train, self.step - 1), "images_per_second": speed}
        metrics |= {f"diag/{name}": value for name, value in self.diagnostics(self.method, self.compiled).items()}
        self._clock(begin, training=False)
        if diverged:
            self.outcome = "diverged"
        elif self.step >= self.spec.train.steps:
            self.outcome = "completed"
        counts = self._evaluate.test_counts() if self.outcome == "completed" else None
        return Report(self.step, self.seconds, metrics, self.outcome, counts)

    def _clock(self, begin: float, training: bool) -> None:
        took = time.perf_counter() - begin
        self.seconds += took
        self._tally.seconds += took if training else 0.0

    # -- how it is put together ----------------------------------------------------------------------------------------

    def _make_batches(
        self, method_class: type[Method], hyper: Any, sizes: dict[str, int], images: DeviceImages | None
    ) -> Batches:
        return Batches(
            self.dataset,
            self.plan,
            method_class.views_for(hyper),
            sizes,
            self.device,
            self.spec.seeds["order"],
            meta_set_size=getattr(hyper, "meta_set_size", None),
            meta_source=getattr(hyper, "meta_source", "training"),
            images=images,
            channels_last=self._channels_last,
        )

    def _make_model(self, seed: int) -> nn.Module:
        model = build(self.spec.model, self.dataset.image_shape, self.dataset.num_classes, seed)
        model = model.to(self.device)
        return model.to(memory_format=torch.channels_last) if self._channels_last else model

    def _setup(self) -> Setup:
        spec, plan, dataset = self.spec, self.plan, self.dataset
        counts = np.bincount(plan.given[plan.labelled], minlength=dataset.num_classes)
        return Setup(
            num_classes=dataset.num_classes,
            steps=spec.train.steps,
            num_labelled=len(plan.labelled),
            num_unlabelled=len(plan.unlabelled),
            num_train=len(dataset.train) + (0 if dataset.extra is None else len(dataset.extra)),
            device=self.device,
            seed=derive_seed(spec.seeds["order"], "method"),
            make_model=lambda number: self._make_model(derive_seed(spec.seeds["init"], "further", number)),
            make_optimizer=lambda model: make_optimizer(model, spec.train),
            label_counts=tuple(counts.tolist()),
            amp=self.amp,
            grad_clip=spec.train.grad_clip,
            labelled_images=self.batches.labelled_images(),
            diagnostics=spec.train.diagnostics != "off",
        )

    def _compile(self, method_class: type[Method]) -> None:
        """Compile the model in place where the settings say so; "auto": where it saves time. Else it runs eagerly."""
        setting = self.spec.train.compile
        worthwhile = self._accelerated and self.spec.train.steps >= COMPILE_FROM
        if setting == "off" or (setting == "auto" and not worthwhile) or not method_class.compilable:
            return
        import torch._dynamo

        torch._dynamo.config.suppress_errors = True  # without a compiler on this machine: eager, with a warning
        self.method.model.compile()
        self.compiled = True

    @contextlib.contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """The global generators are the trial's while it trains (dropout draws from them), then the caller's again."""
        outer = accelerator.rng_states(self.device)
        accelerator.set_rng_states(self.device, self._random)
        try:
            yield
        finally:
            self._random = accelerator.rng_states(self.device)
            accelerator.set_rng_states(self.device, outer)


def check_truth(name: str, method_class: type[Method], plan: LabelPlan, hyper: Any = None, hint: str = "") -> None:
    """Check that true labels are known where the method, or its hyper-parameters, learn from them; else UserError.

    hint: how a user of the data's source names them.
    """
    oracle = getattr(method_class, "uses_truth", False) or getattr(hyper, "uses_truth", False)
    if oracle and (plan.true is None or not (plan.true[plan.labelled] >= 0).any()):
        message = f"'{name}' learns from true labels; of the labelled images none has a known one"
        raise UserError(Problem(message, "methods", hint="leave it out" + (f"; {hint}" if hint else "")))


def _seeded_states(device: torch.device, seed: int) -> dict[str, torch.Tensor]:
    places = {"cpu": torch.device("cpu"), device.type: device}
    return {name: torch.Generator(place).manual_seed(seed).get_state() for name, place in places.items()}
