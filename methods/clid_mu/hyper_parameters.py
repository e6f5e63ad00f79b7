"""Hyper-parameters of CLID-MU, and the methods that it can be built on."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from methods.base import Method, hyper
from methods.clid_mu.composition import base_hyper
from methods.clid_mu.layers import FEATURES, parse_layers
from methods.clid_mu.meta_objectives import SMALL_LOSS, Goal
from methods.fixmatch import FixMatch
from methods.flexmatch import FlexMatch
from methods.layermatch import LayerMatch
from methods.mixup import MixUp
from methods.ranges import choice, int_log_uniform, log_uniform, uniform
from methods.supervised import Supervised
from methods.uda import UDA

BASES: dict[str, type[Method]] = {
    "supervised": Supervised,
    "mixup": MixUp,
    "fixmatch": FixMatch,
    "flexmatch": FlexMatch,
    "uda": UDA,
    "layermatch": LayerMatch,
}
SEMI = ("fixmatch", "flexmatch", "uda", "layermatch")
"""Bases with unlabelled images, which the release has an own code for."""

META_VIEWS = {"weak": ("weak",), "strong": ("strong",), "both": ("weak", "strong")}


class ClidMuHyper(Method.Hyper):
    """Hyper-parameters of CLID-MU itself; `with_bases` adds BASE_KEY of each base (fixmatch_threshold, ...)."""

    base: Literal["supervised", "mixup", "fixmatch", "flexmatch", "uda", "layermatch"] = hyper(
        "supervised", help="the method whose labelled loss is weighted"
    )
    meta_model: Literal["wnet", "vri"] = hyper(
        "wnet", search=choice("wnet", "vri"), help="a weight of each loss, or a rectifier of each logit"
    )
    meta_goal: Goal = hyper("clid", help="what judges the virtual step; ce reads true labels (an oracle)")
    meta_lr: float = hyper(1e-5, search=log_uniform(1e-5, 1e-1), gt=0, help="learning rate of the meta-model")
    meta_optimizer: Literal["auto", "sgd", "nesterov"] = hyper(
        "auto",
        when={"meta_model": "wnet"},
        help="wnet: plain SGD or with Nesterov momentum 0.9; auto = as released: nesterov on a semi-supervised base",
    )
    virtual_step: Literal["auto", "plain", "optimizer"] = hyper(
        "auto",
        help="plain SGD at the current rate, or a copy of the optimiser's own step; auto = as released: plain for SGD "
        "where all images are labelled, else optimizer",
    )
    meta_batch_size: int | None = hyper(
        None,
        search=int_log_uniform(50, 400),
        ge=2,
        help="images of a meta batch; none = as released: 100, with CLID on a semi-supervised base 1000",
    )
    meta_set_size: int | None = hyper(
        None,
        ge=2,
        help="images that meta batches are drawn from; none = as released: 1000, with CLID on a semi-supervised base "
        "10000, as in its reported runs",
    )
    meta_source: Literal["auto", "training", "unlabelled", "held_out"] = hyper(
        "auto",
        when={"meta_goal": ("clid", "ce", "ce_noisy", "mae")},
        help="where the meta set is drawn from; auto = as released: unlabelled with CLID on a semi-supervised base, "
        "else training",
    )
    meta_view: Literal["auto", "weak", "strong", "both"] = hyper(
        "auto",
        help="views of meta images; both = twice the rows; auto = as released: both with CLID on a semi-supervised "
        "base, else weak",
    )
    temperature: float | None = hyper(
        None,
        search=uniform(0.1, 1.0),
        gt=0,
        when={"meta_goal": "clid"},
        help="CLID's temperature on feature cosines; none = as released: 0.5, on a semi-supervised base 0.1",
    )
    normalizer_grad: bool = hyper(
        False,
        search=choice(False, True),
        when={"meta_goal": "clid"},
        help="differentiate CLID's row sums; off = as released",
    )
    layers: str = hyper(
        FEATURES,
        when={"meta_goal": "clid"},
        help="hidden layers of CLID with weights: features, or for instance stage1=0.5, features=1",
    )
    normalise: Literal["auto", "sum", "none"] = hyper(
        "auto",
        when={"meta_model": "wnet"},
        help="wnet: weights sum to 1, or not; auto = as released: none on top of unlabelled images, else sum",
    )
    vri_lambda: float = hyper(
        0.0,
        ge=0,
        when={"meta_model": "vri"},
        help="vri: weight of its regulariser; without effect (see meta_models.py)",
    )
    hypergradient: Literal["auto", "exact_reverse", "exact_forward", "finite_difference", "top_stage", "last_layer"] = (
        hyper("auto", help="how the meta-gradient is computed; auto = the cheaper exact one")
    )
    every: int = hyper(1, ge=1, help="meta update every so many steps; 1 = as released")
    warmup_epochs: int | None = hyper(
        None, ge=0, help="passes over the labelled images without weights first; none = 10 for *_sloss, else 0"
    )
    reselect_epochs: int = hyper(
        1, ge=1, when={"meta_goal": SMALL_LOSS}, help="*_sloss: passes over the labelled images between two selections"
    )

    def released(self) -> dict[str, Any]:
        """The release's values of what is left to the base: by hyper-parameter, those that are None or auto."""
        semi = self.base in SEMI
        clid = semi and self.meta_goal == "clid"
        values: dict[str, Any] = {
            "meta_optimizer": "nesterov" if semi else "sgd",
            "meta_batch_size": 1000 if clid else 100,
            "meta_set_size": 10_000 if clid else 1000,
            "meta_source": "unlabelled" if clid else "training",
            "meta_view": "both" if clid else "weak",
            "temperature": 0.1 if semi else 0.5,
        }
        if self.meta_set_size is not None:
            values["meta_batch_size"] = min(values["meta_batch_size"], self.meta_set_size)
        elif self.meta_batch_size is not None:
            values["meta_set_size"] = max(values["meta_set_size"], self.meta_batch_size)
        return {key: value for key, value in values.items() if getattr(self, key) in (None, "auto")}

    @property
    def uses_truth(self) -> bool:
        return self.meta_goal == "ce"

    @field_validator("layers")
    @classmethod
    def _layers_parse(cls, value: str) -> str:
        parse_layers(value)
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        released = self.released()
        batch, whole = (released.get(key, getattr(self, key)) for key in ("meta_batch_size", "meta_set_size"))
        if batch > whole:
            raise ValueError(
                f"meta_batch_size: {batch} is larger than the meta set (meta_set_size: {whole}); at most that"
            )
        if self.meta_goal in SMALL_LOSS and self.meta_source not in ("auto", "training"):
            raise ValueError(f"meta_source: {self.meta_goal} selects among the training images; allowed: training")
        if self.meta_source == "unlabelled" and self.meta_goal not in ("clid", "ce"):
            raise ValueError(f"meta_source: {self.meta_goal} reads given labels; allowed: training, held_out")
        base_hyper(self, self.base, BASES[self.base])
        return self
