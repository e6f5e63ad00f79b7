"""Supervised training in a sweep whose GPUs are pretended: importing this file brings the device to a worker of Ray."""

from __future__ import annotations

from methods.base import Batch, Terms
from methods.supervised import Supervised
from tests.pretend import backend

backend.register()


class PretendedSupervised(Supervised):
    """Cross-entropy of the labelled images, on the pretended device and nowhere else."""

    def loss(self, batch: Batch) -> Terms:
        found = {batch.labelled.x.device.type, self.generator.device.type, self.model.head.weight.device.type}
        if found != {backend.NAME}:
            raise AssertionError(f"trains on {found}")
        return super().loss(batch)
