"""A tiny float64 model and toy batches: enough to step any method in milliseconds and to check gradients exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from methods.base import Batch, Method, Setup, Stream
from platform.core.registry import METHODS

CLASSES, CHANNELS, SIDE = 3, 1, 4
LABELLED, UNLABELLED = 30, 120


class ToyModel(nn.Module):
    """Linear, BN, ReLU, linear head on 4 x 4 images: the interface of the platform's models."""

    def __init__(self, seed: int = 0, width: int = 12, norm: bool = True, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = [nn.Flatten(), nn.Linear(CHANNELS * SIDE * SIDE, width), nn.ReLU()]
            if norm:
                layers.insert(2, nn.BatchNorm1d(width))
            self.body = nn.Sequential(*layers)
            self.head = nn.Linear(width, CLASSES)
        self.to(dtype)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor, with_features: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        features = self.features(x)
        return (features, self.head(features)) if with_features else self.head(features)


def make_optimizer(model: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)


def make_setup(steps: int = 50, seed: int = 0, device: str = "cpu") -> Setup:
    return Setup(
        num_classes=CLASSES,
        steps=steps,
        num_labelled=LABELLED,
        num_unlabelled=UNLABELLED,
        num_train=LABELLED + UNLABELLED,
        device=torch.device(device),
        seed=seed,
        make_model=ToyModel,
        make_optimizer=make_optimizer,
        label_counts=(LABELLED // CLASSES,) * CLASSES,
    )


def make_method(
    name: str | type[Method], seed: int = 0, model: nn.Module | None = None, steps: int = 50, **values: Any
) -> Any:
    """A method, by its class or its name, on the toy model, in train mode."""
    found = METHODS.get(name) if isinstance(name, str) else name
    model = ToyModel(seed) if model is None else model
    return found(model, found.Hyper(**values), make_setup(steps, seed)).train()


class ToyBatches:
    """Three noisy class prototypes; a share of the labels is wrong. A batch depends on seed and step only."""

    def __init__(self, method: Method, batch_size: int = 8, wrong: float = 0.0, seed: int = 0, steps: int = 50) -> None:
        self.views = type(method).views_for(method.hyper)
        self.sizes = type(method).stream_sizes(method.hyper, batch_size)
        self.seed, self.steps = seed, steps
        self.dtype = next(method.model.parameters()).dtype
        generator = torch.Generator().manual_seed(seed)
        self.true = torch.arange(LABELLED + UNLABELLED) % CLASSES
        self.verified = self.true.clone() if getattr(method.hyper, "meta_source", "") in ("clean", "held_out") else None
        prototypes = torch.randn(CLASSES, CHANNELS, SIDE, SIDE, generator=generator)
        noise = torch.randn(len(self.true), CHANNELS, SIDE, SIDE, generator=generator)
        self.images = (prototypes[self.true] + 0.5 * noise).to(self.dtype)
        flip = torch.rand(len(self.true), generator=generator) < wrong
        self.given = torch.where(flip, (self.true + 1) % CLASSES, self.true)

    def stream(self, kind: str, step: int) -> Stream | None:
        names = getattr(self.views, kind)
        if not names:
            return None
        generator = torch.Generator().manual_seed(self.seed * 100_003 + step * 7 + len(kind))
        low, high = (0, LABELLED) if kind == "labelled" else (0, LABELLED + UNLABELLED)
        index = torch.randint(low, high, (self.sizes[kind],), generator=generator)
        views = []
        for name in names:
            noise = torch.randn(self.images[index].shape, generator=generator, dtype=self.dtype)
            views.append(self.images[index] + {"plain": 0.0, "weak": 0.1, "strong": 0.6}[name] * noise)
        y = self.given[index] if kind == "labelled" else torch.full_like(index, -1)
        if kind == "meta" and self.verified is not None:
            y = self.verified[index]
        return Stream(names, tuple(views), y, self.true[index], index)

    def next(self, step: int) -> Any:
        streams = {kind: self.stream(kind, step) for kind in ("labelled", "unlabelled", "meta")}
        return Batch(**streams, step=step, progress=step / self.steps)  # type: ignore[arg-type]


def train(
    method: Method, batches: ToyBatches, optimizer: torch.optim.Optimizer, first: int = 0, last: int = 50
) -> list[dict[str, float]]:
    """Steps first..last - 1, as the platform makes them; the losses of each."""
    losses = []
    for step in range(first, last):
        terms = method.take_step(batches.next(step), optimizer)
        losses.append({name: float(value.detach()) for name, value in terms.items()})
    return losses
