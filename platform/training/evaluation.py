"""Evaluation of a trial: validation, the fixed CLID batch and test in one pass, without an effect on the training."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.clid import clid
from platform.data.batches import Batches
from platform.data.dataset import Dataset, LabelPlan
from platform.training.clid_batch import CLID_IMAGES, CLID_TEMPERATURE, clid_positions
from platform.training.clid_ensemble import SIZES, ClidEnsemble
from platform.training.diagnostics.calibration import calibration
from platform.training.prediction_counts import prediction_counts
from platform.training.preserved_state import preserve_state

__all__ = ["Evaluator"]

SPREAD_OVER = 5  # evaluations


class Evaluator:
    """Evaluates a model on the validation images, the fixed CLID batch of them, and the test images.

    Noisy labels are the plan's given ones, as noisy as the training labels; clean ones those before the noise. Images
    whose label is unknown (-1) count nowhere. The test labels are those of Dataset.test_labels. The state holds what
    later evaluations need of earlier ones.
    """

    def __init__(
        self, dataset: Dataset, plan: LabelPlan, batches: Batches, size: int, amp: bool, calibrate: bool = True
    ) -> None:
        self.batches, self.size, self.amp, self.device = batches, size, amp, batches.device
        self.calibrate = calibrate
        self.names = dataset.class_names
        self.val = np.asarray(plan.val, dtype=np.int64)
        self.noisy = self._labels(plan.given[self.val])
        self.clean = None if plan.true is None else self._labels(plan.true[self.val])
        self.test_labels = self._labels(dataset.test_labels)
        self.ensemble = ClidEnsemble()
        self._test_labels_cpu = self.test_labels.cpu()
        self._last_test: Tensor | None = None  # logits of the last evaluation
        self._recent: list[float] = []  # noisy_val_accuracy of the last evaluations
        self.clid_positions = clid_positions(self.val)

    def _labels(self, labels: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(labels, dtype=np.int64)).to(self.device)

    @torch.no_grad()
    def __call__(self, model: nn.Module, diverged: bool = False) -> dict[str, float]:
        """Metrics by name: noisy_val_accuracy, clean_val_accuracy, val_loss, val_clid, test_accuracy, with `calibrate`
        the calibration as diag/NAME; val_accuracy_spread, test_accuracy_clid_1, _3, _5. NaN where labels are unknown.

        diverged: the test logits are not kept for later evaluations. Waits for the device once, and for the copy of
        the test logits where they are kept. Modes of the modules and random states are as before.
        """
        with preserve_state(model, self.device), torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            logits = self._logits(model, self.batches.plain(self.val, self.size))
            test = self._logits(model, self.batches.test(self.size))
            features = self._clid(model)
        self._last_test = test
        known = self.noisy >= 0
        loss = F.cross_entropy(logits, self.noisy, ignore_index=-1, reduction="sum") / known.sum()
        values = {
            "noisy_val_accuracy": _accuracy(logits, self.noisy),
            "clean_val_accuracy": loss * float("nan") if self.clean is None else _accuracy(logits, self.clean),
            "val_loss": loss,
            "val_clid": features,
            "test_accuracy": _accuracy(test, self.test_labels),
        }
        if self.calibrate and self.clean is not None:
            values |= {f"diag/{name}": value for name, value in calibration(logits, self.clean).items()}
        numbers = torch.stack([value.double() for value in values.values()]).tolist()
        metrics = dict(zip(values, numbers, strict=True))
        if not diverged:
            self.ensemble.offer(metrics["val_clid"], test)
        return metrics | self._spread(metrics["noisy_val_accuracy"]) | self._ensembles()

    def test_counts(self) -> dict[str, Any] | None:
        """`prediction_counts` of the last evaluation; None before the first. Waits for the device."""
        if self._last_test is None:
            return None
        return prediction_counts(self._last_test.cpu(), self._test_labels_cpu, self.names)

    def state_dict(self) -> dict[str, Any]:
        return {"snapshots": self.ensemble.state_dict(), "recent": list(self._recent)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """An empty state, of an older checkpoint, starts without earlier evaluations."""
        self.ensemble.load_state_dict(state.get("snapshots", {}))
        self._recent = list(state.get("recent", []))

    def _spread(self, accuracy: float) -> dict[str, float]:
        """Sample standard deviation of noisy_val_accuracy over the last 5 evaluations."""
        self._recent = [*self._recent, accuracy][-SPREAD_OVER:]
        known = [value for value in self._recent if value == value]
        return {"val_accuracy_spread": statistics.stdev(known) if len(known) > 1 else float("nan")}

    def _ensembles(self) -> dict[str, float]:
        sums = self.ensemble.sums()
        return {
            f"test_accuracy_clid_{size}": _accuracy(sums[size], self._test_labels_cpu).item()
            if size in sums
            else float("nan")
            for size in SIZES
        }

    def _logits(self, model: nn.Module, chunks: Iterator[Tensor]) -> Tensor:
        """[N, K] in float32."""
        logits = [model(x).float() for x in chunks]
        return torch.cat(logits) if logits else torch.zeros(0, 1, device=self.device)

    def _clid(self, model: nn.Module) -> Tensor:
        """CLID of the output and feature graphs of the fixed batch (arXiv 2507.11807), labels unused."""
        for x in self.batches.plain(self.clid_positions, CLID_IMAGES):
            features, logits = model(x, with_features=True)
            return clid(features.float(), logits.float(), CLID_TEMPERATURE)
        return torch.full((), float("nan"), device=self.device)


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the known labels that are predicted. Logits that are not finite count as wrong."""
    known = labels >= 0
    correct = (logits.argmax(dim=1) == labels) & logits.isfinite().all(dim=1) & known
    return correct.sum().double() / known.sum()
