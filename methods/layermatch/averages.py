"""Avg-Clustering of LayerMatch: its settings, and the averages that are not class centres.

The paper (arXiv 2406.14207) says that consistent outputs are integrated so that features find stable centres sooner;
its formula was not available. The readings (docs/layermatch.md, section 3.2): A1 centres of features
(parts/centres.py), A2 an average prediction of each image, A3 averaged rows of the classifier, A4 the averaged network
as labeller, and A1 with A3. All are ours.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from methods.base import Method, hyper
from methods.parts.memory import latest
from methods.parts.precision import at_least_float32, full_precision
from methods.ranges import choice, log_uniform, uniform

CENTRES = ("attract", "proto", "attract_rows", "proto_rows")
"""Values of centre_mode that keep class centres."""


class AverageHyper(Method.Hyper):
    """Settings of Avg-Clustering."""

    centre_mode: Literal["attract", "proto", "predictions", "rows", "teacher", "attract_rows", "proto_rows", "off"] = (
        hyper(
            "attract",
            search=choice("attract", "proto", "predictions", "rows", "teacher", "attract_rows", "proto_rows", "off"),
            help="what is averaged: features (attract, proto), predictions, classifier rows, the whole network",
        )
    )
    centre_ema: float = hyper(
        0.99,
        search=uniform(0.9, 0.9995),
        ge=0,
        lt=1,
        when={"centre_mode": CENTRES},
        help="attract, proto: EMA coefficient of the centres",
    )
    centre_weight: float = hyper(
        0.5,
        search=log_uniform(0.01, 2.0),
        ge=0,
        when={"centre_mode": CENTRES},
        help="attract, proto: weight of the centre loss",
    )
    centre_temperature: float = hyper(
        0.1,
        search=log_uniform(0.05, 0.5),
        gt=0,
        when={"centre_mode": ("proto", "proto_rows")},
        help="proto: temperature",
    )
    centre_ramp: float = hyper(
        0.02,
        search=uniform(0.0, 0.1),
        ge=0,
        le=1,
        when={"centre_mode": CENTRES},
        help="attract, proto: part of the steps that ramps centre_weight up",
    )
    labelled_weight: float = hyper(
        1.0,
        search=choice(0.0, 1.0, 5.0),
        ge=0,
        when={"centre_mode": CENTRES},
        help="attract, proto: weight of labelled images in the centres",
    )
    view_agreement: bool = hyper(
        True,
        search=choice(True, False),
        when={"centre_mode": CENTRES},
        help="attract, proto: centres take only images whose two views agree",
    )
    prediction_ema: float = hyper(
        0.5,
        search=uniform(0.2, 0.9),
        ge=0,
        lt=1,
        when={"centre_mode": "predictions"},
        help="predictions: EMA coefficient per visit of an image",
    )
    prediction_share: float = hyper(
        1.0,
        search=uniform(0.0, 1.0),
        ge=0,
        le=1,
        when={"centre_mode": "predictions"},
        help="predictions: part of the average in the label; rest: the current",
    )
    average_ema: float | None = hyper(
        None,
        search=uniform(0.99, 0.9999),
        ge=0,
        lt=1,
        when={"centre_mode": ("rows", "teacher", "attract_rows", "proto_rows")},
        help="rows, teacher: EMA coefficient of the averaged weights; none = model_ema",
    )

    @property
    def centre_form(self) -> str:
        """Form of the centre loss: attract, proto, or "" without centres."""
        form = self.centre_mode.removesuffix("_rows")
        return form if form in ("attract", "proto") else ""

    @property
    def averages_rows(self) -> bool:
        return self.centre_mode.endswith("rows")


class PredictionAverage(nn.Module):
    """A2: P_i <- ema P_i + (1 - ema) q_i at each visit of image i; the estimate is P_i / (1 - ema^visits), as in Adam.

    [images, K] in full precision on the device, `images` = the index space of Stream.index: 20 MB for 50,000 images of
    100 classes. Of an image that a batch holds twice, the last visit counts.
    """

    def __init__(self, images: int, num_classes: int, decay: float, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.decay = decay
        dtype = torch.promote_types(dtype, torch.float32)
        self.register_buffer("average", torch.zeros(images, num_classes, device=device, dtype=dtype))
        self.register_buffer("visits", torch.zeros(images, device=device, dtype=dtype))
        self.average: Tensor
        self.visits: Tensor

    @torch.no_grad()
    def update(self, probabilities: Tensor, index: Tensor) -> Tensor:
        """Take in this step's predictions [N, K] of the images `index` [N]; returns their averages, which sum to 1."""
        with full_precision(index.device):
            rows, _ = latest(index)
            current = at_least_float32(probabilities).to(self.average.dtype)[rows]
            new, visits = torch.lerp(current, self.average[index], self.decay), self.visits[index] + 1
            self.average.index_copy_(0, index, new)
            self.visits.index_copy_(0, index, visits)
            return new / (1 - self.decay**visits)[:, None]
