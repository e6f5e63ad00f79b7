"""All that decides a trial's outcome, as plain data. The hash of a `TrialSpec` is the key of its row in the table."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

AXES = ("data", "noise", "split", "init", "order", "search")
"""What has a seed of its own, so that methods meet the same splits, noise and initial weights."""

TRAINING_VERSION = 2
"""A part of every row's key. Raise it by hand whenever the same TrialSpec trains to other numbers than before: training
loop, optimisers, schedules, evaluation, batches, augmentations or models changed, or a file in methods/ that methods
get without importing it. Rows of before are then run anew. A method's own code needs no raise (core/code_hash.py)."""
MOST_IMAGES = 10_000_000
"""That a setting may ask for."""

LARGEST_SEED = 2**62
"""Of a file: what is added to it for a study or a repeat still fits into what torch takes."""


LATER_DATA_KEYS = ("open_set", "open_set_rate")
LATER_LABEL_KEYS = ("clean", "group", "group_rate")


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), validate_default=True)


class PlugIn(Settings):
    """A plug-in file by its text: a worker needs no copy of the file. kind: as in core/registry.py."""

    source: str
    path: str
    kind: str = "method"


class DataSettings(Settings):
    """The source of the images. Further keys are the source's own options (python -m platform.catalog SOURCE)."""

    model_config = ConfigDict(extra="allow", frozen=True)  # the source's Options model forbids what it does not know

    source: str = Field("digits", description="name of a data source, or the path of a plug-in file (./my_source.py)")
    limit: int | None = Field(
        None, ge=2, le=MOST_IMAGES, description="use at most this many training (and as many test) images"
    )
    on_bad_image: Literal["stop", "skip"] = Field("stop", description="unreadable images stop the run, or are counted")
    open_set: tuple[str | int, ...] = Field(
        (), description="classes that are none here: their training images carry labels of other classes"
    )
    open_set_rate: float | None = Field(
        None, gt=0, lt=1, description="share of the training images that are of these classes; none = all there are"
    )

    @model_serializer(mode="wrap")
    def _without_later_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys of later versions, as LabelSettings does: hashes of rows made before stay as they are."""
        return {key: value for key, value in serialise(self).items() if value or key not in LATER_DATA_KEYS}

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class LabelSettings(Settings):
    """The training images that keep their label, the damage to those labels, the part held out to select on."""

    per_class: int | None = Field(None, ge=1, le=MOST_IMAGES, description="labelled images per class")
    total: int | None = Field(
        None, ge=1, le=MOST_IMAGES, description="labelled images in all, balanced over the classes"
    )
    imbalance: float = Field(1.0, ge=1, le=1e6, description="largest class / smallest class among the labelled images")
    noise: str = Field(
        "none",
        pattern=r"^([A-Za-z_]\w*|column:.+|.+\.py)$",  # names are plug-ins' own: they are looked up, not listed here
        description="none | symmetric | uniform | pair | asymmetric | instance | column:NAME | a plug-in or its file",
    )
    rate: float = Field(0.0, ge=0, le=1, description="noise rate of a synthetic noise")
    group: str | None = Field(
        None,
        pattern=r"^\s*[^=]*[^=\s][^=]*=.*\S",
        description="images with a noise rate of their own: COLUMN=VALUE of a label column, or class=NAME",
    )
    group_rate: float = Field(0.0, ge=0, le=1, description="noise rate inside the group")
    val: float = Field(
        0.1,
        gt=0,
        lt=10_000_000,
        description="validation part: a fraction of the training images if below 1, else a count",
    )
    clean: int = Field(
        0, ge=0, description="images with verified labels set aside from training: the meta set of mw_net and l2rw"
    )

    @model_serializer(mode="wrap")
    def _without_later_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys of later versions at their defaults: hashes of rows and plans made before stay as they are."""
        return {key: value for key, value in serialise(self).items() if value or key not in LATER_LABEL_KEYS}


class TrainSettings(Settings):
    """The settings of training one trial."""

    steps: int = Field(1000, ge=1, le=100_000_000, description="optimisation steps")
    batch_size: int = Field(64, ge=1, le=100_000, description="labelled images per step")
    accumulate: int = Field(1, ge=1, le=100_000, description="parts a batch is split into, to save memory")
    lr: float = Field(0.03, gt=0, description="peak learning rate")
    optimizer: Literal["sgd", "adamw", "adam"] = Field(
        "sgd", description="SGD with momentum, AdamW, or Adam (its decay added to the gradient)"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD's momentum")
    nesterov: bool = Field(True, description="SGD's look-ahead")
    weight_decay: float = Field(5e-4, ge=0, description="by how much weights shrink, times the rate")
    decayed: Literal["weights", "all"] = Field(
        "weights",
        description="what decays: weights without biases and normalisation, or all, as PyTorch by itself does",
    )
    schedule: Literal[
        "cosine_7_16", "cosine_half", "constant", "multistep", "linear", "warm_restarts", "cosine_waves"
    ] = Field(
        "cosine_7_16",
        description="lr cos(7 pi t / 16 N); lr (1 + cos(pi t / N)) / 2; lr; lr gamma^(milestones passed); lr, and from "
        "the first milestone on straight to 0; a cosine that starts anew each period; one that falls and rises in turn",
    )
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.5, 0.75),
        description="multistep, linear: parts of the run after which the rate falls, ascending",
    )
    gamma: float = Field(0.1, gt=0, le=1, description="multistep: factor of the rate at each milestone")
    period: float = Field(
        0.1, gt=0, le=1, description="warm_restarts, cosine_waves: part of the run in which the rate falls once"
    )
    lr_min: float = Field(0.0, ge=0, description="warm_restarts, cosine_waves: the rate at the end of a period")
    warmup: int = Field(0, ge=0, le=100_000_000, description="steps of linear warm-up")
    evaluations: int = Field(
        10, ge=1, le=10_000, description="evaluations per trial, evenly spaced; also the rungs' grid"
    )
    eval_batch_size: int = Field(1024, ge=1, le=1_000_000, description="images per forward of an evaluation")
    grad_clip: float | None = Field(None, gt=0, description="largest gradient norm")
    amp: Literal["auto", "on", "off"] = Field("auto", description="bf16 autocast; auto = on CUDA")
    channels_last: bool = Field(True, description="memory format of the model on CUDA")
    compile: Literal["auto", "on", "off"] = Field("auto", description="torch.compile; auto = long runs on CUDA")
    diagnostics: Literal["off", "cheap", "full"] = Field(
        "cheap", description="full also looks at gradients and features of probe images at each evaluation"
    )

    @field_validator("milestones")
    @classmethod
    def _milestones_ascend(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(first >= second for first, second in itertools.pairwise(value)):
            raise ValueError(f"milestones: {', '.join(map(str, value))} do not ascend")
        return value


class TrialSpec(Settings):
    """Everything that decides a row. `hyper` is complete (defaults filled in); `seeds` has one number per axis."""

    method: str
    hyper: dict[str, Any]
    model: str
    train: TrainSettings
    data: DataSettings
    labels: LabelSettings
    seeds: dict[str, int]
    code: str = Field("", description="hash of the method's code")
    data_hash: str = ""
    labels_hash: str = ""
    parent: str = Field(
        default="", description="KEY@EVALUATION: starts from the state of that row (population-based training)"
    )

    @property
    def key(self) -> str:
        """12 hex digits: the name of the row, of its folder and of its MLflow tag.

        The search seed chooses configurations, it does not change what one of them gives: it is left out. So are the
        diagnostics, which only look.
        """
        content = self.model_dump(mode="json")
        content["seeds"].pop("search", None)
        content["train"].pop("diagnostics", None)
        if not self.parent:
            del content["parent"]
        if content["train"]["accumulate"] == 1:
            del content["train"]["accumulate"]  # the keys of before there was a choice
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def branch_point(parent: str) -> tuple[str, int]:
    """The row and the evaluation that a TrialSpec.parent names; ("", 0) for a trial that begins at step 0."""
    key, _, evaluation = parent.partition("@")
    return key, int(evaluation or 0)


def derive_seed(seed: int, *names: str | int) -> int:
    """An independent seed for a name: adding a name never shifts another's. In [0, 2**63)."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
