"""The toy problem of the conformance suite, under the name that these tests know it by."""

from __future__ import annotations

from platform.conformance.toy import (
    CHANNELS,
    CLASSES,
    LABELLED,
    SIDE,
    UNLABELLED,
    ToyBatches,
    ToyModel,
    make_method,
    make_optimizer,
    make_setup,
    train,
)

__all__ = [
    "CHANNELS",
    "CLASSES",
    "LABELLED",
    "SIDE",
    "UNLABELLED",
    "ToyBatches",
    "ToyModel",
    "make_method",
    "make_optimizer",
    "make_setup",
    "train",
]
