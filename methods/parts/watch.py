"""Diagnostics during training: gradients of each loss to the head and the features, and quality of pseudo-labels.

Every EVERY-th step is observed. Of each loss term only the gradient to the logits is computed, R = dL/dZ [N, K], which
ends before the network; the rest is closed form (docs/layermatch.md, sections 2.4 and 8, items 2 to 4 and 9):

    head       grad_W L = R^T Phi: the gradient to the head, whether or not a gate lets it through
    features   delta_i = R_i W: the gradient to the features of image i

No random number is drawn and no number of the training is changed. Nothing waits for the device.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from methods.parts.precision import full_precision
from methods.types import Stream, Terms

__all__ = ["EVERY", "Guess", "Watch"]

EVERY = 32

COLUMNS = ("guesses", "confidence", "known", "right", "mask", "mask_known", "mask_right", "seen", "flipped")
"""Sums over the pseudo-labels of each class since the last reading. mask: selection weights; known: with a known truth;
seen: of images that had a pseudo-label before; flipped: those whose pseudo-label has changed."""

Pair = tuple[Tensor, Tensor]
"""(sum, count), as Method.record_ratio takes them."""


class Guess(Protocol):
    """Hard pseudo-labels of one step, as in parts/pseudo_labels.py."""

    @property
    def label(self) -> Tensor: ...
    @property
    def confidence(self) -> Tensor: ...
    @property
    def mask(self) -> Tensor: ...
    @property
    def trained(self) -> list[Tensor]: ...


class Watch(nn.Module):
    """Observer of the steps of one method. `num_images` 0: no pseudo-labels. Off, it does nothing and has no state."""

    guesses: Tensor | None
    latest: Tensor | None

    def __init__(self, on: bool, head: tuple[int, ...] | None, num_classes: int, num_images: int, device: torch.device):
        super().__init__()
        self.on, self.head = on, head
        guessing = on and num_images > 0
        self.register_buffer("guesses", torch.zeros(num_classes, len(COLUMNS), device=device) if guessing else None)
        latest = torch.full((num_images,), -1, dtype=torch.int16, device=device) if guessing else None
        self.register_buffer("latest", latest)
        self._guessed = False  # since the last reading; host copy: the buffer would wait for the device
        self._forget()

    def _forget(self) -> None:
        self._calls: _HeadCalls | None = None
        self._labels: list[tuple[Guess, Tensor]] = []
        self._found: dict[str, Pair] = {}

    # -- called in a step -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def observe(self, step: int, compiled: bool) -> Iterator[dict[str, Pair]]:
        """Observe the step inside, if it is an EVERY-th one; fills the dictionary, by name."""
        if not self.on or self.head is None or step % EVERY:
            yield {}
            return
        self._calls = _HeadCalls(self.head)
        try:
            # The layers of a compiled model cannot be observed; this step runs uncompiled.
            eager = torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
            with eager, self._calls:
                yield self._found
        finally:
            self._forget()

    def compare(self, terms: Terms) -> None:
        """Compare the gradients of the losses; call just before the backward pass, when the graph is complete."""
        if self._calls is None:
            return
        calls = list(self._calls.found.values())
        self._calls.found.clear()  # what comes later in the step belongs to the next comparison
        if calls:
            with full_precision(calls[0].logits.device):
                self._found.update(_compare_losses(calls, terms))
                for guess, true in self._labels[-1:]:
                    self._found.update(_compare_right_and_wrong(calls, guess, true))

    def pseudo_labels(self, guess: Guess, stream: Stream) -> None:
        """Add the pseudo-labels of a step to the sums."""
        if self._calls is not None:
            self._labels.append((guess, stream.true))
        if self.guesses is None or self.latest is None:
            return
        self._guessed = True
        mask = guess.mask
        known = (stream.true >= 0).to(mask.dtype)
        right = known * (stream.true == guess.label)
        before = self.latest[stream.index]
        seen = (before >= 0).to(mask.dtype)
        flipped = seen * (before != guess.label)
        self.latest[stream.index] = guess.label.to(self.latest.dtype)
        rows = (torch.ones_like(mask), guess.confidence, known, right, mask, mask * known, mask * right, seen, flipped)
        self.guesses.index_add_(0, guess.label, torch.stack(rows, dim=1).to(self.guesses.dtype))

    # -- read at an evaluation -------------------------------------------------------------------------------

    def read(self) -> dict[str, Tensor]:
        """Quality of the pseudo-labels since the last reading, on the device; resets the sums. NaN where unknown."""
        if self.guesses is None or not self._guessed:
            return {}
        by_class = dict(zip(COLUMNS, self.guesses.unbind(dim=1), strict=True))
        total = dict(zip(COLUMNS, self.guesses.sum(dim=0).unbind(), strict=True))
        share = by_class["mask"] / total["mask"]
        known = by_class["mask_known"]
        impurity = torch.where(known > 0, 1 - by_class["mask_right"] / known, 0).amax()
        found = {
            "mask_rate": total["mask"] / total["guesses"],
            "confidence": total["confidence"] / total["guesses"],
            "pseudo_label_accuracy": total["right"] / total["known"],
            "pseudo_label_accuracy_selected": total["mask_right"] / total["mask_known"],
            "pseudo_label_impurity": torch.where(total["mask_known"] > 0, impurity, torch.nan),
            "pseudo_label_flips": total["flipped"] / total["seen"],
            "pseudo_label_kl": torch.xlogy(share, share).sum() + math.log(len(share)),
        }
        self.guesses.zero_()
        self._guessed = False
        return found

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Load a state that was saved with other diagnostics, too: they do not decide how a trial goes on."""
        state_dict, prefix = args[:2]
        for name, buffer in self.named_buffers(recurse=False):
            if (saved := state_dict.get(prefix + name)) is not None:
                buffer.copy_(saved)
        self._guessed = self.guesses is not None and bool(self.guesses.any())


# -- closed forms ------------------------------------------------------------------------------------------------------


class _Call:
    """One pass through the head: features [N, D], weight [K, D] without gradient; logits [N, K] with their graph."""

    def __init__(self, features: Tensor, weight: Tensor, logits: Tensor) -> None:
        self.attached = features.requires_grad
        self.features, self.weight, self.logits = features.detach().float(), weight.detach().float(), logits


class _HeadCalls(TorchFunctionMode):
    """Recorder of calls of linear layers of the head's shape, by module, functional_call or F.linear.

    Where the same features pass twice, once cut off from the network (gates do that), the attached pass counts.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.found: dict[tuple[Any, ...], _Call] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is F.linear and out.requires_grad and len(args) > 1 and tuple(args[1].shape) == self.shape:
            if not is_functorch_wrapped_tensor(out):
                key = (args[0].data_ptr(), *args[0].shape)
                if key not in self.found or not self.found[key].attached:
                    self.found[key] = _Call(args[0], args[1], out)
        return out


def _logit_gradients(loss: Tensor, calls: list[_Call]) -> list[Tensor]:
    """dL/dZ of each call, [N, K] float32; zeros where the loss does not depend on it."""
    if not loss.requires_grad:
        return [torch.zeros_like(call.logits, dtype=torch.float32) for call in calls]
    logits = [call.logits for call in calls]
    found = torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True, materialize_grads=True)
    return [gradient.float() for gradient in found]


def _head_gradient(gradients: list[Tensor], calls: list[_Call]) -> Tensor:
    """R^T Phi over all calls, [K, D]."""
    return torch.stack([r.T @ call.features for r, call in zip(gradients, calls, strict=True)]).sum(dim=0)


def _compare_losses(calls: list[_Call], terms: Terms) -> dict[str, Pair]:
    """Norms and cosine of the labelled and the unlabelled loss's head gradients, as the losses are weighted."""
    found, norms, heads = {}, {}, {}
    one = torch.ones((), device=calls[0].logits.device)
    for name in ("labelled", "unlabelled"):
        if name in terms:
            heads[name] = _head_gradient(_logit_gradients(terms[name], calls), calls)
            norms[name] = heads[name].norm()
            found[f"head_gradient_{name}"] = (norms[name], one)
    if len(heads) == 2:
        cosine = _cosine(heads["labelled"].flatten(), heads["unlabelled"].flatten())
        there = ((norms["labelled"] > 0) & (norms["unlabelled"] > 0)).float()
        found["head_gradient_cosine"] = (cosine * there, there)
        found["head_gradient_conflict"] = ((cosine < 0) * there, there)
    return found


def _compare_right_and_wrong(calls: list[_Call], guess: Guess, true: Tensor) -> dict[str, Pair]:
    """Gradients of the unlabelled loss, without its weight, over right and over wrong pseudo-labels; and those of the
    wrong ones' images with their true labels (the oracle). Empty where the pseudo-labels were not trained on."""
    if not guess.trained:
        return {}
    logits = guess.trained[-1]
    known = (true >= 0) * guess.mask
    right, wrong = known * (guess.label == true), known * (guess.label != true)
    losses = F.cross_entropy(logits, guess.label, reduction="none")
    oracle = F.cross_entropy(logits, true.clamp(min=0), reduction="none")
    parts = {"right": (right * losses).mean(), "wrong": (wrong * losses).mean(), "oracle": (wrong * oracle).mean()}
    residual = {name: _logit_gradients(loss, calls) for name, loss in parts.items()}
    head = {name: _head_gradient(gradients, calls) for name, gradients in residual.items()}
    delta = {name: _feature_gradients(gradients, calls) * len(true) for name, gradients in residual.items()}
    selected = {"right": (right > 0).sum(), "wrong": (wrong > 0).sum()}
    found: dict[str, Pair] = {}
    for name, count in selected.items():
        there = (count > 0).float()
        found[f"head_gradient_{name}"] = (head[name].norm() * there, there)
        found[f"feature_gradient_{name}"] = (delta[name].norm(dim=1).sum(), count)
    there = (selected["wrong"] > 0).float()
    cosine = _cosine(head["wrong"].flatten(), head["oracle"].flatten())
    found["head_gradient_wrong_oracle"] = (cosine * there, there)
    found["feature_gradient_wrong_oracle"] = (_cosine(delta["wrong"], delta["oracle"]).sum(), selected["wrong"])
    return found


def _feature_gradients(gradients: list[Tensor], calls: list[_Call]) -> Tensor:
    """R_i W for the images of all calls, [M, D]; zero rows where the loss does not depend on an image."""
    return torch.cat([r @ call.weight for r, call in zip(gradients, calls, strict=True)])


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine along the last axis; 0 where one of them is 0."""
    return F.cosine_similarity(a, b, dim=-1, eps=1e-20)
