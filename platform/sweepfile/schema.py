"""The form of a sweep file: one pydantic model, from which both the checks and the editors' JSON schema are made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from platform.core.spec import AXES, LARGEST_SEED, DataSettings, LabelSettings, Settings, TrainSettings

Axis = Literal["data", "noise", "split", "init", "order", "search"]
assert Axis.__args__ == AXES  # a Literal cannot be built from a variable

TRACKING = "sqlite:///results/mlflow.db"
UNLIMITED = 1_000_000
"""Trials of a study that only its seconds end."""

MOST_ROWS = 1_000_000
"""Trials and repeats of a sweep: its table is in memory."""

MOST_PLANS = 1_000
"""Label plans of a sweep, one for each study and for each repeat of it: all are made before it starts."""


class Budget(Settings):
    """The budget of a study. Every method of a sweep gets the same."""

    preset: Literal["quick", "standard", "paper"] | None = Field(
        None,
        description="trials, studies and repeats where this file leaves them out: quick = 5, 1, 0; "
        "standard = 16, 1, 3; paper = 20, 3, 3. On the command line it beats the file's values",
    )
    trials: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        16, description="trials per study, the defaults included; as many as fit where only seconds are written"
    )
    seconds: float | None = Field(
        None,
        gt=0,
        description="device-seconds per study: what its trials train and evaluate, each second of a trial's slot once, "
        "stopped, diverged and failed trials included; beside trials, whichever ends first",
    )
    repeats: int = Field(
        0, ge=0, le=10_000, description="re-trainings of each study's winner on fresh seeds, the same for every method"
    )
    studies: int = Field(1, ge=1, le=10_000, description="independent searches per method, each with seeds of its own")
    scheduler: Literal["asha", "hyperband", "median", "pbt", "none"] = Field(
        "asha",
        description="stops bad trials early; pbt instead goes on from a good trial's state with other values of what "
        "may change in flight; none",
    )
    sampler: Literal["tpe", "random", "qmc", "cmaes", "gp", "nsga2"] = Field(
        "tpe", description="how the next configuration is proposed"
    )
    objectives: list[Literal["score", "seconds"]] = Field(
        ["score"],
        min_length=1,
        description="[score], or [score, seconds]: also few seconds of a trial, with the Pareto front as a result",
    )
    reduction_factor: int = Field(3, ge=2, le=10_000, description="a rung lets the best 1/reduction_factor go on")
    grace: int = Field(
        1,
        ge=1,
        le=10_000,
        description="evaluations before a trial may be stopped; with pbt also between two such moments",
    )

    @property
    def per_study(self) -> str:
        """The budget of a study as text: 16 trials or 600 device-seconds."""
        trials = [] if self.trials is None else [f"{self.trials} trial{'s' * (self.trials != 1)}"]
        seconds = [] if self.seconds is None else [f"{self.seconds:,g} device-seconds"]
        return " or ".join([*trials, *seconds])

    @property
    def most_trials(self) -> int:
        return UNLIMITED if self.trials is None else self.trials


class Resources(Settings):
    """The resources that one trial occupies, and the number of trials that run at once."""

    cpu: float = Field(1, gt=0, description="CPU cores per trial")
    gpu: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="GPUs per trial, fractions allowed; auto = one where there are any"
    )
    concurrent: Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"] = Field("auto", description="trials at once")


class Retry(Settings):
    """The outcomes after which a trial is tried again. A trial that has no attempt left keeps its outcome."""

    failed: int = Field(1, ge=0, description="how often a failed trial is run again, when the sweep is run again")
    diverged: int = Field(0, ge=0, description="the same for a diverged one")
    lost: int = Field(2, ge=0, description="restarts, within a run, of a trial whose worker process died")
    out_of_memory: Literal["no", "accumulate"] = Field(
        "no", description="accumulate: a batch that does not fit is split in 2, 4 or 8 parts whose gradients are added"
    )


class WatchSettings(Settings):
    """When the sweep steps in: a trial that says nothing any more, a disk that is nearly full."""

    factor: float = Field(10, gt=1, description="a trial is stuck after so many times the usual time of an evaluation")
    at_least: float = Field(120, gt=0, description="seconds: never stuck before")
    first: float = Field(1800, gt=0, description="seconds for a first evaluation, as long as none is known")
    disk_floor: int = Field(64, ge=1, description="MiB: with less free space below results/NAME the sweep pauses")
    disk_wait: float = Field(21600, ge=0, description="seconds of such a pause before the sweep ends")


class SweepFile(Settings):
    """A sweep file, before names are looked up and ranges are checked."""

    name: str = Field("", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$", description="folder below results/")
    methods: list[str] = Field([], description="methods by name, or paths of plug-in files (./my_method.py)")
    data: DataSettings = Field(DataSettings.model_validate({}), description="where images come from")
    labels: LabelSettings = Field(
        LabelSettings.model_validate({}), description="which labels a trial sees, and how they are damaged"
    )
    model: str = Field("small_cnn", description="a model, timm:NAME, or the path of a plug-in file (./my_model.py)")
    train: TrainSettings = Field(TrainSettings.model_validate({}), description="how one trial is trained")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="study k uses seed + k on every axis but data")
    seeds: dict[Axis, Annotated[int, Field(ge=0, le=LARGEST_SEED)]] = Field(
        {}, description="seeds of single axes, in all studies"
    )
    fixed: dict[str, Any] = Field(
        {},
        description="hyper-parameters held at a value: HYPER, METHOD.HYPER, train.FIELD. One that acts only at some "
        "values of another (python -m platform.catalog METHOD) is refused where it can never act",
    )
    search: dict[str, Any] = Field(
        {},
        description="hyper-parameters that are tuned: HYPER, METHOD.HYPER, train.FIELD. One that acts only at some "
        "values of another (python -m platform.catalog METHOD) is searched only there, and refused where it can never "
        "act",
    )
    budget: Budget = Field(Budget.model_validate({}), description="how much is tried")
    select: str = Field("noisy_val_accuracy", description="the rule that picks a winner, or a plug-in file")
    resources: Resources = Field(Resources.model_validate({}), description="what a trial occupies")
    retry: Retry = Field(Retry.model_validate({}), description="what is tried again")
    watch: WatchSettings = Field(WatchSettings.model_validate({}), description="when the sweep steps in")
    tracking: str = Field(TRACKING, description="an MLflow tracking URI, or none")


def with_defaults(resolved: dict[str, Any]) -> dict[str, Any]:
    """Add the default of every missing setting: a version without the setting did what its default says."""
    defaults = SweepFile.model_validate({}).model_dump(mode="json")
    found = defaults | resolved
    for name, section in defaults.items():
        if name not in ("seeds", "fixed", "search") and isinstance(section, dict):
            found[name] = section | (resolved.get(name) or {})
    return found
