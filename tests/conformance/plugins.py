"""Plug-ins that break one rule each, and one that keeps all."""

from __future__ import annotations

from pathlib import Path

from platform.conformance import Subject

GOOD = '''\
"""Cross-entropy, softened."""

import torch
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.ranges import uniform


class Mine(Method):
    """Cross-entropy against softened labels (Szegedy et al., 2016, arXiv 1512.00567).

    L = (1 - s) CE(z, y) + s CE(z, uniform). When: some labels are wrong.
    """

    class Hyper(Method.Hyper):
        smoothing: float = hyper(0.1, search=uniform(0.0, 0.3), ge=0, lt=1, help="share of the uniform distribution")

    views = Views(labelled=("weak",))

    def build(self) -> None:
        self.register_buffer("level", torch.zeros(()))

    def loss(self, batch: Batch) -> Terms:
        x, y = batch.labelled.weak, batch.labelled.y
        losses = F.cross_entropy(self.model(x), y, reduction="none", label_smoothing=self.hyper.smoothing)
        return Terms(labelled=losses.mean())
'''
LOSS = "        return Terms(labelled=losses.mean())\n"
BUILD = '        self.register_buffer("level", torch.zeros(()))\n'

BROKEN: dict[str, list[tuple[tuple[str, str], str]]] = {
    # check: [((text, what stands there instead), part of the complaint)]
    "docs": [
        (("When: some labels are wrong.", ""), "does not say when"),
        ((" (Szegedy et al., 2016, arXiv 1512.00567)", ""), "names no source"),
        (("    L = (1 - s) CE(z, y) + s CE(z, uniform).", "   "), "no equation"),
        (('help="share of the uniform distribution"', 'help=""'), "'smoothing' has no help"),
    ],
    "ranges": [
        (("search=uniform(0.0, 0.3)", "search=uniform(0.0, 1.5)"), "smoothing=1.5, an end of its range, is refused"),
        ((LOSS, "        return Terms(labelled=losses.mean() / self.hyper.smoothing)\n"), "not finite"),
    ],
    "state": [
        ((LOSS, "        self.memory = 0.9 * getattr(self, 'memory', 0) + losses.detach().mean()\n"
          "        return Terms(labelled=losses.mean() * self.memory)\n"), "the losses are others"),
    ],
    "determinism": [
        ((LOSS, "        return Terms(labelled=losses.mean() * torch.rand(()))\n"), "differ from step 0"),
    ],
    "own_generator": [
        ((BUILD, BUILD + "        self.net = torch.nn.Linear(1, 1)\n"), "building draws from the global"),
        ((LOSS, "        import numpy\n        return Terms(labelled=losses.mean() + 0 * numpy.random.rand())\n"),
         "a step draws from the global generator of numpy"),
    ],
    "no_waiting": [
        ((LOSS, "        return Terms(labelled=losses[losses > 0].mean())\n"), "boolean index"),
        ((LOSS, "        if losses.mean() > 100:\n            raise ValueError\n" + LOSS), "waits for the device"),
    ],
    "learns": [
        ((LOSS, "        return Terms(labelled=-losses.mean().clamp(max=1))\n"), "50 steps on an easy toy"),
    ],
    "without_batch_norm": [
        ((BUILD, BUILD + "        self.norm = next(m for m in self.model.modules() if hasattr(m, 'running_mean'))\n"),
         "StopIteration"),
    ],
    "truth_unused": [
        (("batch.labelled.y", "batch.labelled.true.clamp(min=0)"), "the losses are others where the true labels"),
        ((LOSS, "        true = batch.labelled.true\n        assert (true >= 0).all()\n" + LOSS), "AssertionError"),
    ],
    "two_networks": [
        ((BUILD, BUILD + "        self.stem = self.model.get_submodule('stem')\n"), "with timm:test_vit:patch=2"),
    ],
    "mixed_precision": [
        ((LOSS, "        half = self.model(x).dtype == torch.bfloat16\n"
          "        return Terms(labelled=losses.mean() * (float('nan') if half else 1))\n"), "ends as 'diverged'"),
    ],
    "all_labelled": [
        ((LOSS, "        assert self.setup.num_labelled < 100\n" + LOSS), "120 labelled images and no others"),
    ],
    "no_unlabelled": [
        ((LOSS, "        assert self.setup.num_unlabelled\n" + LOSS), "without unlabelled images: AssertionError"),
    ],
    "checkpoint": [
        ((LOSS, "        self.memory = getattr(self, 'memory', 0) + 1\n"
          "        return Terms(labelled=losses.mean() / self.memory)\n"), "after a reload the evaluation"),
    ],
}  # fmt: skip


def write(folder: Path, old: str = "", new: str = "") -> Path:
    """The good plug-in with one text in it replaced."""
    assert old in GOOD
    file = folder / "mine.py"
    file.write_text(GOOD.replace(old, new) if old else GOOD)
    return file


def subject(folder: Path, old: str = "", new: str = "") -> Subject:
    return Subject.of(str(write(folder, old, new)))
