"""Selectors of pseudo-labels: a weight m in [0, 1] per unlabelled image.

`make_selector(name, setup, hyper)` makes any of them; any fits any method with hard pseudo-labels.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from methods.parts.ema import newest_weight
from methods.parts.memory import latest
from methods.types import Setup

SelectorName = Literal["fixed", "none", "ramp", "flexmatch", "freematch", "softmatch"]
SelectorStart = Literal["debiased", "published"]
"""How the averages of freematch and softmatch start: from the first batch, or from constants (1 / K, and a variance of
1), of which decay^t is left after t steps: 0.74 of them after 300 steps of the published 0.999.

The default is the one that is the method at every length. Digits, 300 steps, 4 seeds, debiased against published: 40
labels, FreeMatch 0.939 against 0.929, SoftMatch 0.940 against 0.931; all labels, 40 % wrong, FreeMatch 0.957 against
0.965, where "every pseudo-label counts", which is what published does there, is no bad choice."""


class Selector(nn.Module):
    """Base class: `forward` maps the predictions of one step to their weights; state is in buffers."""

    def forward(self, probabilities: Tensor, index: Tensor) -> Tensor:
        """Weights [N]. probabilities: [N, K] of the weak view, without gradient. index: [N] as in Stream.index."""
        raise NotImplementedError

    def fairness(self, logits: Tensor, mask: Tensor) -> Tensor:
        """A loss on the strong view's logits [N, K] that belongs to the selection; 0 for all but FreeMatch."""
        return logits.new_zeros(())


class Fixed(Selector):
    """Weight m_i = 1[max q_i >= threshold], one threshold for all classes and steps (FixMatch, arXiv 2001.07685)."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, probabilities: Tensor, index: Tensor) -> Tensor:
        return (probabilities.amax(dim=1) >= self.threshold).to(probabilities.dtype)


class Everything(Selector):
    """Weight m_i = 1: every pseudo-label counts."""

    def forward(self, probabilities: Tensor, index: Tensor) -> Tensor:
        return torch.ones_like(probabilities[:, 0])


class Ramp(Selector):
    """Weight m_i = min(1, t / length) 1[max q_i >= threshold], t the calls so far (Pseudo-Label, Lee, 2013)."""

    def __init__(self, threshold: float, length: float, device: torch.device) -> None:
        super().__init__()
        self.threshold, self.length = threshold, length
        self.register_buffer("calls", torch.zeros((), device=device))
        self.calls: Tensor

    @torch.no_grad()
    def forward(self, probabilities: Tensor, index: Tensor) -> Tensor:
        weight = (self.calls / self.length).clamp(max=1) if self.length > 0 else torch.ones_like(self.calls)
        self.calls += 1
        return weight.to(probabilities.dtype) * (probabilities.amax(dim=1) >= self.threshold)


class FlexMatchSelector(Selector):
    """Thresholds that grow with the confident images of each class (Zhang et al., 2021, arXiv 2110.08263).

    s_i in {-1, 0..K-1}: the last label with which image i passed the fixed threshold. sigma_c = #{s = c},
    beta_c = sigma_c / max(max_c sigma_c, #{s = -1}), tau_c = threshold beta_c / (2 - beta_c), m_i = 1[max q_i >= tau].
    The step's mask uses the memory from before the step. Until the first image passes every tau is 0: all count.
    #{s = -1} counts unlabelled images only, not the whole index space. (docs/semi_supervised.md, section 7.5)
    """

    def __init__(self, threshold: float, num_classes: int, num_train: int, num_unlabelled: int, device: torch.device):
        super().__init__()
        self.threshold, self.num_classes, self.num_unlabelled = threshold, num_classes, num_unlabelled
        self.register_buffer("label", torch.full((num_train,), -1, device=device))
        self.label: Tensor

    def thresholds(self) -> Tensor:
        """Thresholds tau [K] from the current memory."""
        # scatter_add, not bincount: bincount waits for the device to learn its length.
        counts = torch.zeros(self.num_classes + 1, dtype=torch.long, device=self.label.device)
        counts = counts.scatter_add(0, self.label + 1, torch.ones_like(self.label))[1:]
        unused = (self.num_unlabelled - counts.sum()).clamp(min=0)
        beta = counts / torch.maximum(counts.max(), unused).clamp(min=1)
        return self.threshold * beta / (2 - beta)

    @torch.no_grad()
    def forward(self, probabilities: Tensor, index: Tensor) -> Tensor:
        confidence, label = probabilities.max(dim=1)
        mask = confidence >= self.thresholds()[label]
        rows, passed = latest(index, confidence >= self.threshold)
        self.label.index_copy_(0, index, torch.where(passed, label[rows], self.label[index]))
        return mask.to(probabilities.dtype)


class NewestWeight(nn.Module):
    """Weight of the newest batch in an average: 1 - decay, or with `debiased` what that is without a start value."""

    def __init__(self, decay: float, start: SelectorStart, device: torch.device) -> None:
        super().__init__()
        self.decay, self.start = decay, start
        self.register_buffer("calls", torch.zeros((), device=device))
        self.calls: Tensor

    def forward(self) -> Tensor:
        """The weight of this batch, a scalar; counts the calls."""
        self.calls += 1
        if self.start == "published":
            return torch.full_like(self.calls, 1 - self.decay)
        return newest_weight(self.decay, self.calls)


class FreeMatchSelector(Selector):
    """One threshold that follows the confidence, scaled per class (Wang et al., 2023, arXiv 2205.07246).

    EMAs of the mean confidence (tau), the mean prediction (p) and the histogram of the labels (h), updated before
    masking: tau_c = tau p_c / max p, m_i = 1[max q_i >= tau_y]. clip caps tau (0.95 for SVHN; 1 = off). They start as
    SelectorStart says; published: at 1 / K. (docs/semi_supervised.md, section 7.6)
    """

    def __init__(
        self,
        decay: float,
        num_classes: int,
        device: torch.device,
        clip: float = 1.0,
        start: SelectorStart = "published",
    ) -> None:
        super().__init__()
        self.newest, self.clip = NewestWeight(decay, start, device), clip
        self.register_buffer("tau", torch.full((), 1 / num_classes, device=device))
        self.register_buffer("p", torch.full((num_classes,), 1 / num_classes, device=device))
        self.register_buffer("h", torch.full((num_classes,), 1 / num_classes, device=device))
        self.tau: Tensor
        self.p: Tensor
        self.h: Tensor

    @torch.no_grad()
    def forward(self, probabilities: Tensor, index: Tensor) -> Tensor:
        confidence, label = probabilities.max(dim=1)
        weight = self.newest()
        self.tau.lerp_(confidence.mean().to(self.tau.dtype), weight).clamp_(max=self.clip)
        self.p.lerp_(probabilities.mean(dim=0).to(self.p.dtype), weight)
        self.h.lerp_(_histogram(label, torch.ones_like(confidence), len(self.h)).to(self.h.dtype), weight)
        thresholds = self.tau * self.p / self.p.max()
        return (confidence >= thresholds[label]).to(probabilities.dtype)

    def fairness(self, logits: Tensor, mask: Tensor) -> Tensor:
        """L_f = sum_c Norm(p / h)_c log(Norm(p_s / h_s)_c + 1e-12) over the selected images; 0 where there are none.

        p_s: mean softmax of the strong logits, which alone carries a gradient; h_s: histogram of their argmax; 1 / 0
        counts as 0. Minimised: it keeps the strong view from never predicting some classes.
        """
        probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=1)
        mask = mask.to(probabilities.dtype)
        count = mask.sum()
        mean = (mask[:, None] * probabilities).sum(dim=0) / count.clamp(min=1)
        seen = _histogram(probabilities.detach().argmax(dim=1), mask, logits.shape[1])
        target = _normalised(self.p * _inverse(self.h)).to(mean.dtype)
        found = _normalised(mean * _inverse(seen))
        return torch.where(count > 0, (target * torch.log(found + 1e-12)).sum(), 0.0)


class SoftMatchSelector(Selector):
    """A truncated Gaussian of the confidence instead of a threshold (Chen et al., 2023, arXiv 2301.10921).

    p: EMA of the mean prediction, which the first step initialises; aligned q'_i ~ q_i (1 / K + 1e-6) / (p + 1e-6), for
    the weight only: labels come from q. mu, var: EMAs of mean and unbiased variance of max q', which start as
    SelectorStart says; published: at 1 / K and 1; all updated before use.
    m_i = exp(-min(max q'_i - mu, 0)^2 n_sigma^2 / (2 var)). (docs/semi_supervised.md, section 7.7)
    """

    def __init__(
        self,
        decay: float,
        n_sigma: float,
        num_classes: int,
        device: torch.device,
        start: SelectorStart = "published",
    ) -> None:
        super().__init__()
        self.newest, self.n_sigma = NewestWeight(decay, start, device), n_sigma
        self.register_buffer("p", torch.zeros(num_classes, device=device))  # sums to 0: not seen yet
        self.register_buffer("mu", torch.full((), 1 / num_classes, device=device))
        self.register_buffer("var", torch.ones((), device=device))
        self.p: Tensor
        self.mu: Tensor
        self.var: Tensor

    @torch.no_grad()
    def forward(self, probabilities: Tensor, index: Tensor) -> Tensor:
        mean, weight = probabilities.mean(dim=0).to(self.p.dtype), self.newest()
        self.p.copy_(torch.where(self.p.sum() > 0, torch.lerp(self.p, mean, weight), mean))
        aligned = probabilities * (1 / len(self.p) + 1e-6) / (self.p + 1e-6)
        confidence = (aligned / aligned.sum(dim=1, keepdim=True)).amax(dim=1)
        spread = confidence.var(correction=min(1, len(confidence) - 1))
        self.mu.lerp_(confidence.mean().to(self.mu.dtype), weight)
        self.var.lerp_(spread.to(self.var.dtype), weight)
        below = (confidence - self.mu).clamp(max=0)
        tiny = torch.finfo(self.var.dtype).tiny  # a first batch of equal confidences has a variance of 0
        return torch.exp(-(below**2) * self.n_sigma**2 / (2 * self.var).clamp(min=tiny)).to(probabilities.dtype)


def make_selector(name: str, setup: Setup, hyper: Any) -> Selector:
    """The selector called `name` (SelectorName lists them) for a trial.

    Read from `hyper` where the method declares it, else the default: threshold 0.95 (fixed, ramp, flexmatch),
    ramp 0.4 (part of the steps), selector_ema 0.999 (freematch, softmatch), clip_threshold 1 = off (freematch),
    n_sigma 2 (softmatch), selector_start debiased (freematch, softmatch). Raises ValueError for another name.
    """
    start: SelectorStart = getattr(hyper, "selector_start", "debiased")
    threshold, decay = getattr(hyper, "threshold", 0.95), getattr(hyper, "selector_ema", 0.999)
    if name == "fixed":
        return Fixed(threshold)
    if name == "none":
        return Everything()
    if name == "ramp":
        return Ramp(threshold, getattr(hyper, "ramp", 0.4) * setup.steps, setup.device)
    if name == "flexmatch":
        return FlexMatchSelector(threshold, setup.num_classes, setup.num_train, setup.num_unlabelled, setup.device)
    if name == "freematch":
        return FreeMatchSelector(decay, setup.num_classes, setup.device, getattr(hyper, "clip_threshold", 1.0), start)
    if name == "softmatch":
        return SoftMatchSelector(decay, getattr(hyper, "n_sigma", 2.0), setup.num_classes, setup.device, start)
    raise ValueError(f"no such selector: '{name}'; valid: {', '.join(get_args(SelectorName))}")


def _histogram(label: Tensor, weight: Tensor, num_classes: int) -> Tensor:
    """Share of the weight on each class [K]; 0 everywhere where all weights are 0."""
    classes = torch.arange(num_classes, device=label.device)
    sums = ((label[:, None] == classes) * weight[:, None]).sum(dim=0)
    return sums / sums.sum().clamp(min=torch.finfo(sums.dtype).tiny)


def _inverse(x: Tensor) -> Tensor:
    """1 / x, and 0 where x is 0."""
    return torch.where(x > 0, 1 / x.clamp(min=torch.finfo(x.dtype).tiny), 0)


def _normalised(x: Tensor) -> Tensor:
    return x / x.sum().clamp(min=torch.finfo(x.dtype).tiny)
