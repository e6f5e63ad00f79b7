"""What a sweep file may say: one pydantic model, from which the checks and the editors' JSON schema both come."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from platform.spec import AXES, DataSettings, LabelSettings, Settings, TrainSettings

Axis = Literal["data", "noise", "split", "init", "order", "search"]
assert Axis.__args__ == AXES  # a Literal cannot be built from a variable

TRACKING = "sqlite:///results/mlflow.db"


class Budget(Settings):
    """How much is tried. Every method of a sweep gets the same."""

    trials: int = Field(16, ge=1, description="trials per study, the defaults included")
    studies: int = Field(1, ge=1, description="independent searches per method, each with seeds of its own")
    scheduler: Literal["asha", "none"] = Field("asha", description="stops bad trials early, or none")
    sampler: Literal["tpe", "random"] = Field("tpe", description="how the next configuration is proposed")
    reduction_factor: int = Field(3, ge=2, description="a rung lets the best 1/reduction_factor go on")
    grace: int = Field(1, ge=1, description="evaluations before a trial may be stopped")


class Resources(Settings):
    """What one trial occupies, and how many run at once."""

    cpu: float = Field(1, gt=0, description="CPU cores per trial")
    gpu: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="GPUs per trial, fractions allowed; auto = one where there are any"
    )
    concurrent: Annotated[int, Field(ge=1)] | Literal["auto"] = Field("auto", description="trials at once")
    retries: int = Field(2, ge=0, description="restarts of a trial whose worker died")


class SweepFile(Settings):
    """A sweep file, before names are looked up and ranges are checked."""

    name: str = Field("", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$", description="folder below results/")
    methods: list[str] = Field([], description="methods by name, or paths of plug-in files (./my_method.py)")
    data: DataSettings = Field(DataSettings.model_validate({}), description="where images come from")
    labels: LabelSettings = Field(
        LabelSettings.model_validate({}), description="which labels a trial sees, and how they are damaged"
    )
    model: str = Field("small_cnn", description="a model, or timm:NAME")
    train: TrainSettings = Field(TrainSettings.model_validate({}), description="how one trial is trained")
    seed: int = Field(0, ge=0, description="study k uses seed + k on every axis but data")
    seeds: dict[Axis, Annotated[int, Field(ge=0)]] = Field({}, description="seeds of single axes, in all studies")
    fixed: dict[str, Any] = Field({}, description="hyper-parameters held at a value: HYPER, METHOD.HYPER, train.FIELD")
    search: dict[str, Any] = Field({}, description="hyper-parameters that are tuned: HYPER, METHOD.HYPER, train.FIELD")
    budget: Budget = Field(Budget.model_validate({}), description="how much is tried")
    select: str = Field("noisy_val_accuracy", description="the rule that picks a winner")
    resources: Resources = Field(Resources.model_validate({}), description="what a trial occupies")
    tracking: str = Field(TRACKING, description="an MLflow tracking URI, or none")
