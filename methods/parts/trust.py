"""Trust in the label of each training image, and how well it separates right from wrong labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.base import Method, Stream
from methods.parts.precision import at_least_float32

QUANTILES = (0.1, 0.5, 0.9)


class Trust(nn.Module):
    """Last trust of each training image: `value` [images], -1 = not seen yet; `wrong` [images]: whether the given label
    is, -1 = unknown. Both in the index space of Stream.index.

    True labels are for these diagnostics alone. Under MixUp a mixture's trust is noted for its first image.
    """

    def __init__(self, images: int, device: torch.device) -> None:
        super().__init__()
        self.register_buffer("value", torch.full((images,), -1.0, device=device))
        self.register_buffer("wrong", torch.full((images,), -1, dtype=torch.int8, device=device))
        self.value: Tensor
        self.wrong: Tensor

    @torch.no_grad()
    def note(self, trust: Tensor, stream: Stream, method: Method) -> None:
        """Store the trust [B] of a step's images; record its mean over right and over wrong labels (weight_clean,
        weight_noisy). Never waits for the device."""
        trust = at_least_float32(trust)
        known = stream.true >= 0
        wrong = torch.where(known, (stream.y != stream.true).to(torch.int8), -1)
        self.value[stream.index] = trust.to(self.value.dtype)
        self.wrong[stream.index] = wrong
        clean, noisy = (wrong == 0).to(trust.dtype), (wrong == 1).to(trust.dtype)
        method.record_ratio(
            weight_clean=((trust * clean).sum(), clean.sum()), weight_noisy=((trust * noisy).sum(), noisy.sum())
        )

    @torch.no_grad()
    def read(self) -> dict[str, float]:
        """Diagnostics weight_auroc, the probability that a right label has more trust than a wrong one (0.5 = random),
        and weight_clean_p10, _p50, _p90 and weight_noisy_..., quantiles. NaN where there are none. Waits once."""
        seen = self.value >= 0
        groups = {"clean": self.value[seen & (self.wrong == 0)], "noisy": self.value[seen & (self.wrong == 1)]}
        values = {"weight_auroc": auroc(groups["clean"], groups["noisy"])}
        for name, group in groups.items():
            quantiles = torch.tensor(QUANTILES, device=group.device)
            ordered = group.sort().values if len(group) else torch.full((1,), float("nan"), device=group.device)
            places = (quantiles * (len(ordered) - 1)).round().long()
            values |= {f"weight_{name}_p{round(100 * q)}": v for q, v in zip(QUANTILES, ordered[places], strict=True)}
        numbers = torch.stack([value.double() for value in values.values()]).tolist()
        return dict(zip(values, numbers, strict=True))


def auroc(higher: Tensor, lower: Tensor) -> Tensor:
    """Area under the ROC curve: P(h > l) + P(h = l) / 2 for h from `higher` [N], l from `lower` [M].

    NaN where either is empty. By sorting and searching: O((N + M) log M).
    """
    ordered = lower.sort().values
    below = torch.searchsorted(ordered, higher.contiguous(), right=False)
    not_above = torch.searchsorted(ordered, higher.contiguous(), right=True)
    return (below + not_above).double().sum() / (2.0 * len(higher) * len(lower) or float("nan"))
