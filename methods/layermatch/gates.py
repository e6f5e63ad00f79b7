"""Gates: how much of a loss reaches the classifier's own weights, while all of it reaches the features.

For a head z = h(phi; W, b) and an unlabelled loss L_u the head's gradient becomes grad L_labelled + alpha lambda_u
grad L_u; the value of the logits and the gradient to the features stay those of the plain head. Alpha may be a number,
depend on time, on the image, on the class, on a random draw, or on whether the two gradients agree. The paper
(LayerMatch, arXiv 2406.14207) blocks: alpha = 0. All else is our reading: G0 to G10 of docs/layermatch.md, section 2.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from methods.base import Method, Setup, hyper
from methods.layermatch.heads import Share, call_head, find_head, gated_head, linear_gradient
from methods.parts.memory import latest
from methods.parts.pseudo_labels import PseudoLabels
from methods.ranges import choice, int_uniform, log_uniform, uniform


class GateHyper(Method.Hyper):
    """Settings of a gate."""

    gate_mode: Literal[
        "hard",
        "scalar",
        "schedule",
        "sample",
        "class",
        "random",
        "conflict",
        "weight_only",
        "bias_only",
        "stages",
        "mirror",
    ] = hyper(
        "scalar",
        search=choice("scalar", "sample", "class", "conflict"),
        help="what decides how much of L_u trains the head; scalar with gate 0 = hard = LayerMatch",
    )
    gate: float = hyper(
        0.0,
        search=choice(0.0, 0.1, 0.3, 1.0),
        ge=0,
        le=1,
        when={"gate_mode": "scalar"},
        help="scalar: share of L_u that trains the head; 1 = FixMatch",
    )
    gate_schedule: Literal["open_linear", "open_cosine", "close_linear", "close_cosine", "block_until"] = hyper(
        "block_until",
        search=choice("open_linear", "open_cosine", "close_linear", "close_cosine", "block_until"),
        when={"gate_mode": "schedule"},
        help="schedule: the share rises 0 to 1, falls 1 to 0, or is 0 and then 1",
    )
    gate_time: float = hyper(
        0.5,
        search=uniform(0.05, 1.0),
        ge=0,
        le=1,
        when={"gate_mode": "schedule"},
        help="schedule: part of the steps after which it has ended",
    )
    gate_sample: Literal["threshold", "power"] = hyper(
        "threshold",
        search=choice("threshold", "power"),
        when={"gate_mode": "sample"},
        help="sample: 1[confidence >= gate_threshold], or its power",
    )
    gate_threshold: float = hyper(
        0.99,
        search=uniform(0.9, 0.9999),
        ge=0,
        le=1,
        when={"gate_sample": "threshold"},
        help="sample: confidence from which an image trains the head",
    )
    gate_power: float = hyper(
        4.0,
        search=log_uniform(1.0, 32.0),
        ge=0,
        when={"gate_sample": "power"},
        help="sample: exponent of the confidence",
    )
    gate_target: float = hyper(
        0.5,
        search=uniform(0.1, 1.0),
        ge=0,
        when={"gate_mode": "class"},
        help="class: opens once this part of the images that it should have carry its pseudo-label",
    )
    gate_keep: float = hyper(
        0.5,
        search=uniform(0.0, 1.0),
        ge=0,
        le=1,
        when={"gate_mode": "random"},
        help="random: probability of letting through",
    )
    gate_grain: Literal["rows", "entries"] = hyper(
        "rows",
        search=choice("rows", "entries"),
        when={"gate_mode": "random"},
        help="random: what is drawn, whole classes or single weights",
    )
    gate_conflict: Literal["sign", "cosine", "project"] = hyper(
        "sign",
        search=choice("sign", "cosine", "project"),
        when={"gate_mode": "conflict"},
        help="conflict: open where the gradients agree, by how much they agree, or without the part that disagrees",
    )
    gate_stages: int = hyper(
        1,
        search=int_uniform(1, 3),
        ge=1,
        when={"gate_mode": "stages"},
        help="stages: how many stages before the head are blocked like it",
    )
    head_lr_factor: float = hyper(
        1.0, search=log_uniform(0.3, 10.0), gt=0, help="learning rate of the head, in units of the others' (any mode)"
    )


@dataclass(frozen=True)
class Evidence:
    """Tensors of a step that a gate may depend on. features: [B, D], logits: [B, K], y: [B] of the labelled images;
    guess, index: of the [N] unlabelled ones."""

    step: int
    features: Tensor
    logits: Tensor
    y: Tensor
    guess: PseudoLabels
    index: Tensor


# -- the gates ---------------------------------------------------------------------------------------------------------


class Gate(nn.Module):
    """Base class, and the constant share: G0 (hard) and G1 (scalar)."""

    linear: ClassVar[bool] = False
    """Whether the gate's form needs a linear head."""

    def __init__(self, head: nn.Module, settings: Any, setup: Setup, generator: torch.Generator) -> None:
        super().__init__()
        self.settings, self.setup, self.generator = settings, setup, generator

    def forward(self, head: nn.Module, features: Tensor, evidence: Evidence, at: nn.Module | None = None) -> Tensor:
        """Logits of the strong views [N, K]; see gated_head."""
        return gated_head(head, features, self.share(head, evidence), at)

    def share(self, head: nn.Module, evidence: Evidence) -> Share | Mapping[str, Share]:
        return 0.0 if self.settings.gate_mode in ("hard", "stages") else self.settings.gate

    def readings(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Diagnostics of the last step as (sum, count); none where the share is a setting."""
        return {}


class ScheduleGate(Gate):
    """G2: the share follows the training's progress t / (gate_time N)."""

    def share(self, head: nn.Module, evidence: Evidence) -> float:
        name, length = self.settings.gate_schedule, self.settings.gate_time * self.setup.steps
        progress = min(1.0, evidence.step / length) if length > 0 else 1.0
        if name == "block_until":
            return float(progress >= 1)
        if name.endswith("cosine"):
            progress = (1 - math.cos(math.pi * progress)) / 2
        return progress if name.startswith("open") else 1 - progress


class SampleGate(Gate):
    """G3: z_i = h(phi_i; sg W) + alpha_i [v_i - sg v_i], v_i = h(sg phi_i; W), alpha_i = 1[c_i >= tau] or c_i^gamma."""

    def forward(self, head: nn.Module, features: Tensor, evidence: Evidence, at: nn.Module | None = None) -> Tensor:
        confidence = evidence.guess.confidence
        if self.settings.gate_sample == "power":
            alpha = confidence**self.settings.gate_power
        else:
            alpha = (confidence >= self.settings.gate_threshold).to(confidence.dtype)
        self._open = alpha
        self._weight = evidence.guess.mask
        own = head(features.detach())
        return gated_head(head, features, 0.0, at) + alpha[:, None].to(own.dtype) * (own - own.detach())

    def readings(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {"gate_open": ((self._open * self._weight).sum(), self._weight.sum())}


class RowGate(Gate):
    """Base class of the gates with a share per class: the head's parameters have one row each."""

    def __init__(self, head: nn.Module, settings: Any, setup: Setup, generator: torch.Generator) -> None:
        super().__init__(head, settings, setup, generator)
        for name, parameter in head.named_parameters():
            if len(parameter) != setup.num_classes:
                mode = settings.gate_mode
                raise ValueError(f"gate_mode: '{mode}' needs a head with one row per class; its {name} has other rows")

    def by_row(self, head: nn.Module, share: Tensor) -> dict[str, Share]:
        """Share by parameter of the head, from the share [K] of each class."""
        self._open = share
        return {name: share.view(-1, *[1] * (p.ndim - 1)).to(p.dtype) for name, p in head.named_parameters()}

    def readings(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {"gate_open": (self._open.sum(), torch.full_like(self._open, 1.0).sum())}


class ClassGate(RowGate):
    """G4: row k is open once the images that carry pseudo-label k reach gate_target times their expected number.

    An image carries the label that it was last selected with; the expected number is N_u times the class's part of the
    given labels. A class is judged by the steps before. [num_train] integers on the device.
    """

    def __init__(self, head: nn.Module, settings: Any, setup: Setup, generator: torch.Generator) -> None:
        super().__init__(head, settings, setup, generator)
        device = setup.device
        counts = torch.tensor(setup.label_counts or [1] * setup.num_classes, dtype=torch.float, device=device)
        if not all(setup.label_counts):  # a class nobody labelled is as large as any other
            counts = torch.ones_like(counts)
        self.register_buffer("target", settings.gate_target * setup.num_unlabelled * counts / counts.sum())
        self.register_buffer("carried", torch.full((setup.num_train,), -1, device=device))
        self.target: Tensor
        self.carried: Tensor

    @torch.no_grad()
    def share(self, head: nn.Module, evidence: Evidence) -> Mapping[str, Share]:
        found = torch.zeros(len(self.target) + 1, dtype=torch.long, device=self.carried.device)
        found.scatter_add_(0, self.carried + 1, torch.ones_like(self.carried))  # integers: the same on every run
        open_ = (found[1:] >= self.target).float()
        guess, index = evidence.guess, evidence.index
        rows, passed = latest(index, guess.mask > 0)
        self.carried.index_copy_(0, index, torch.where(passed, guess.label[rows], self.carried[index]))
        return self.by_row(head, open_)


class RandomGate(RowGate):
    """G5: each row (or each weight) passes with probability gate_keep, drawn anew in every step."""

    def share(self, head: nn.Module, evidence: Evidence) -> Mapping[str, Share]:
        if self.settings.gate_grain == "rows":
            return self.by_row(head, self._draw((self.setup.num_classes,), torch.float32))
        drawn = {name: self._draw(p.shape, p.dtype) for name, p in head.named_parameters()}
        self._open = torch.cat([mask.flatten().float() for mask in drawn.values()])
        return drawn

    def _draw(self, shape: Iterable[int], dtype: torch.dtype) -> Tensor:
        chance = torch.full(tuple(shape), self.settings.gate_keep, dtype=dtype, device=self.setup.device)
        return torch.bernoulli(chance, generator=self.generator)


class OneOfTwoGate(Gate):
    """G7: weight_only blocks W alone, bias_only b alone."""

    linear = True

    def __init__(self, head: nn.Module, settings: Any, setup: Setup, generator: torch.Generator) -> None:
        super().__init__(head, settings, setup, generator)
        if head.bias is None:
            raise ValueError(f"gate_mode: '{settings.gate_mode}' tells weight and bias apart; this head has no bias")

    def share(self, head: nn.Module, evidence: Evidence) -> Mapping[str, Share]:
        blocked = self.settings.gate_mode.removesuffix("_only")
        return {name: 0.0 if name == blocked else 1.0 for name, _ in head.named_parameters()}


class MirrorGate(Gate):
    """G9, the control: the unlabelled loss trains the head alone, no gradient of it reaches the features."""

    def forward(self, head: nn.Module, features: Tensor, evidence: Evidence, at: nn.Module | None = None) -> Tensor:
        return gated_head(head, features.detach(), 1.0, at)


class ConflictGate(Gate):
    """G6: how much passes depends on the angle between the head's two gradients, g_l of L_labelled and g_u of L_u.

    sign: alpha = 1[<g_l, g_u> > 0]. cosine: alpha = ReLU(cos(g_l, g_u)). project, in alpha's place:
    g_u - min(0, <g_l, g_u>) / |g_l|^2 g_l. W and b are one vector. g_l is the closed form (softmax(Z) - Y)^T Phi / B of
    the plain labelled loss; g_u is what arrives in the backward pass, every loss on the logits included. That costs one
    small matrix product and no second backward pass.
    """

    linear = True

    def __init__(self, head: nn.Module, settings: Any, setup: Setup, generator: torch.Generator) -> None:
        super().__init__(head, settings, setup, generator)
        self.opened = self.cosine = torch.zeros((), device=setup.device)  # of the last backward pass; diagnostics only

    def forward(self, head: nn.Module, features: Tensor, evidence: Evidence, at: nn.Module | None = None) -> Tensor:
        live = dict(head.named_parameters())
        known = linear_gradient(evidence.features, evidence.logits, evidence.y)
        reference = [known[name].to(parameter.dtype) for name, parameter in live.items()]
        passed = _GradientFilter.apply(self, self.settings.gate_conflict, *reference, *live.values())
        frozen = {name: parameter.detach() for name, parameter in (at or head).named_parameters()}
        gated = {name: frozen[name] + (p - p.detach()) for name, p in zip(live, passed, strict=True)}
        return call_head(head, gated, features)

    def readings(self) -> dict[str, tuple[Tensor, Tensor]]:
        one = torch.ones_like(self.cosine)
        return {"gate_open": (self.opened, one), "gate_cosine": (self.cosine, one)}


class _GradientFilter(torch.autograd.Function):
    """Identity on the head's parameters whose backward lets through what agrees with the reference gradients."""

    @staticmethod
    def forward(ctx: Any, gate: ConflictGate, rule: str, *tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(tensors) // 2
        ctx.gate, ctx.rule = gate, rule
        ctx.save_for_backward(*tensors[:count])
        return tuple(parameter.view_as(parameter) for parameter in tensors[count:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        reference = ctx.saved_tensors
        tiny = torch.finfo(gradients[0].dtype).tiny
        product = torch.stack([(g * r).sum() for g, r in zip(gradients, reference, strict=True)]).sum()
        arriving, known = (torch.stack([(g * g).sum() for g in part]).sum() for part in (gradients, reference))
        cosine = product / (arriving.sqrt() * known.sqrt()).clamp_min(tiny)
        passed: tuple[Tensor, ...]
        if ctx.rule == "project":
            excess = product.clamp_max(0) / known.clamp_min(tiny)
            passed = tuple(g - excess * r for g, r in zip(gradients, reference, strict=True))
            opened = torch.where(cosine < 0, 1 - cosine * cosine, torch.ones_like(cosine))  # of the squared length
        else:
            opened = (product > 0).to(product.dtype) if ctx.rule == "sign" else cosine.clamp_min(0)
            passed = tuple(opened * g for g in gradients)
        ctx.gate.opened, ctx.gate.cosine = opened.detach(), cosine.detach()
        return (None, None, *[None] * len(reference), *passed)


GATES: dict[str, type[Gate]] = {
    "hard": Gate,
    "scalar": Gate,
    "schedule": ScheduleGate,
    "sample": SampleGate,
    "class": ClassGate,
    "random": RandomGate,
    "conflict": ConflictGate,
    "weight_only": OneOfTwoGate,
    "bias_only": OneOfTwoGate,
    "stages": Gate,  # the head hard; blocked_stages.py does the rest
    "mirror": MirrorGate,
}


def make_gate(model: nn.Module, settings: GateHyper, setup: Setup, generator: torch.Generator) -> Gate:
    """The gate of `settings.gate_mode`. Raises ValueError, naming the setting, where it does not fit the model."""
    found = GATES[settings.gate_mode]
    head = find_head(model, f"gate_mode: '{settings.gate_mode}'" if found.linear else "")
    return found(head, settings, setup, generator)
