"""Methods that train on a CPU and not on an accelerator, or slowly: what the pretended device has to find."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from methods.base import Batch, Terms
from methods.supervised import Supervised

__all__ = ["FAULTY"]


class WeightsOnTheHost(Supervised):
    def loss(self, batch: Batch) -> Terms:
        z = self.model(batch.labelled.x)
        return Terms(labelled=F.cross_entropy(z, batch.labelled.y, torch.ones(z.shape[1])))  # here


class IndexOfTheHost(Supervised):
    def loss(self, batch: Batch) -> Terms:
        z = self.model(batch.labelled.x)
        return Terms(labelled=F.cross_entropy(z[torch.arange(4)], batch.labelled.y[:4]))  # here


class GeneratorOfTheHost(Supervised):
    def loss(self, batch: Batch) -> Terms:
        x = batch.labelled.x
        noise = torch.randn(x.shape, device=x.device, generator=torch.Generator().manual_seed(0))  # here
        return Terms(labelled=F.cross_entropy(self.model(x + noise), batch.labelled.y))


class NoiseOfTheHost(Supervised):
    def loss(self, batch: Batch) -> Terms:
        x = batch.labelled.x
        noise = torch.randn(x.shape[0], generator=self.generator)  # here
        return Terms(labelled=F.cross_entropy(self.model(x + noise.to(x.device)[0]), batch.labelled.y))


class ReadsItsLoss(Supervised):
    def loss(self, batch: Batch) -> Terms:
        terms = super().loss(batch)
        return terms if terms.total().item() > 0 else Terms()  # here


class AsksWhether(Supervised):
    def loss(self, batch: Batch) -> Terms:
        x = batch.labelled.x
        if (x > 100).any():  # here
            x = x.clamp(max=100)
        return Terms(labelled=F.cross_entropy(self.model(x), batch.labelled.y))


class CountsTheLabelled(Supervised):
    def loss(self, batch: Batch) -> Terms:
        labelled = batch.labelled.y >= 0
        z = self.model(batch.labelled.x)
        return Terms(labelled=F.cross_entropy(z[labelled], batch.labelled.y))  # here


class BringsAList(Supervised):
    def loss(self, batch: Batch) -> Terms:
        z = self.model(batch.labelled.x)
        weight = torch.tensor([1.0] * z.shape[1], device=z.device)  # here
        return Terms(labelled=F.cross_entropy(z, batch.labelled.y, weight))


class LooksAtGradients(Supervised):
    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.norm = self.model.head.weight.grad.norm().cpu()  # here


class KeepsAHostBuffer(Supervised):
    def build(self) -> None:
        super().build()
        self.seen = torch.zeros(())

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.seen += batch.labelled.x.mean(dim=0).sum()  # here


FAULTY = {
    WeightsOnTheHost: "tensors of pretend and of the CPU",
    IndexOfTheHost: "copies from the host",
    GeneratorOfTheHost: "with a generator of the CPU",
    NoiseOfTheHost: "with a generator of the device",
    ReadsItsLoss: "waits for the device",
    AsksWhether: "waits for the device",
    CountsTheLabelled: "waits for the device",
    BringsAList: "copies from the host",
    LooksAtGradients: "copies to the host",
    KeepsAHostBuffer: "device",
}
"""What the error of each says. It names the line that is marked `here`."""
