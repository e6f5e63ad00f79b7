"""The winners of a sweep as networks, from the checkpoints that are kept of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from platform.core.row import Row
from platform.runner.guards import signals
from platform.runner.inputs import Inputs
from platform.sweepfile import Sweep
from platform.tracking.logged_model import TrainedModel

__all__ = ["WinnerModels"]

EXAMPLES = 4
"""Test images that stand beside a model; more than one, so that it takes any number."""


class WinnerModels:
    """Gives the network of a study's winner. folder: of the sweep.

    None where its checkpoint is gone, or a signal ended the sweep: making a model takes seconds, and the run that goes
    on makes it.
    """

    def __init__(self, sweep: Sweep, inputs: Inputs, folder: Path) -> None:
        self._inputs, self._folder = inputs, folder
        self._classes = {entry.name: entry.cls for entry in sweep.methods}

    def __call__(self, row: Row) -> TrainedModel | None:
        path = self._folder / "checkpoints" / f"{row.key}.pt"
        if signals.requested() or not path.exists():
            return None
        from platform.training.classifier import trained_classifier

        dataset = self._inputs.dataset
        plan = self._inputs.plans[int(row.study.rpartition("/")[2]), row.repeat]
        network = trained_classifier(row.spec, dataset, plan, self._classes[row.method], path)
        return TrainedModel(network, np.array(dataset.test.images[:EXAMPLES]), dataset.class_names)
