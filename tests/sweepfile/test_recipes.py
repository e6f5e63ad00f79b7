"""Recipes: what the resolved file trains is what was published, in the units in which it was."""

from __future__ import annotations

import math
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from platform.core.registry import METHODS
from platform.sweepfile import load, load_plain
from platform.training.schedules import learning_rate

FOLDER = Path(__file__).parents[2] / "search_spaces" / "recipes"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
TRAIN_IMAGES = 50_000


@dataclass(frozen=True)
class Training:
    """Training as papers and their code give it: in epochs (steps where there are none) and rates at epochs."""

    batch: int
    lr: float
    decay: float
    epochs: int = 0
    steps: int = 0
    images: int = TRAIN_IMAGES
    last_batch: bool = True  # the last batch of an epoch, which is smaller, counts
    momentum: float = 0.9
    nesterov: bool = False
    optimizer: str = "sgd"
    decayed: str = "all"
    rates: dict[float, float] = field(default_factory=dict)  # at the first step of an epoch (a part of the run)

    def length(self) -> int:
        per_epoch = math.ceil(self.images / self.batch) if self.last_batch else self.images // self.batch
        return self.steps or self.epochs * per_epoch

    def step(self, moment: float) -> int:
        return round(moment * self.length() / (self.epochs or 1))


def cosine_7_16(lr: float) -> dict[float, float]:
    return {0: lr, 0.5: lr * math.cos(7 * math.pi / 32), 1: lr * math.cos(7 * math.pi / 16)}


USB = Training(64, 0.03, 5e-4, steps=2**20, nesterov=True, decayed="weights", rates=cosine_7_16(0.03))
SMALL = Training(128, 0.01, 0, epochs=120, rates={0: 0.01, 40.99: 0.01, 41: 1e-3, 80.99: 1e-3, 81: 1e-4})
TWO_FALLS = {0: 1, 39.99: 1, 40: 0.1, 79.99: 0.1, 80: 0.01}
ADAM = Training(
    128, 1e-3, 0, epochs=200, last_batch=False, optimizer="adam", rates={0: 1e-3, 80: 1e-3, 140: 5e-4, 200: 0}
)
NOISE, LABELS = "noise", "per_class"

PUBLISHED: dict[str, tuple[str, dict[str, Any], Training, dict[str, Any]]] = {
    # name: network, labels, training, hyper-parameters
    "supervised": ("wrn_28_2_usb", {LABELS: 400}, USB, {"model_ema": 0.999}),
    "pseudo_label": (
        "wrn_28_2_usb",
        {LABELS: 400},
        USB,
        {"model_ema": 0.999, "threshold": 0.95, "uratio": 1, "lambda_u": 1, "ramp": 0.4},
    ),
    "mean_teacher": (
        "wrn_28_2_usb",
        {LABELS: 400},
        USB,
        {"model_ema": 0.999, "uratio": 1, "lambda_u": 50, "ramp": 0.4},
    ),
    "fixmatch": (
        "wrn_28_2",
        {LABELS: 4},
        USB,
        {"model_ema": 0.999, "threshold": 0.95, "uratio": 7, "lambda_u": 1},
    ),
    "flexmatch": (
        "wrn_28_2_usb",
        {LABELS: 4},
        USB,
        {"model_ema": 0.999, "threshold": 0.95, "uratio": 7, "lambda_u": 1},
    ),
    "freematch": (
        "wrn_28_2_usb",
        {LABELS: 4},
        USB,
        {"model_ema": 0.999, "selector_ema": 0.999, "selector_start": "published", "lambda_f": 1e-3, "uratio": 7}
        | {"clip_threshold": 1, "lambda_u": 1},
    ),
    "softmatch": (
        "wrn_28_2_usb",
        {LABELS: 4},
        USB,
        {"model_ema": 0.999, "n_sigma": 2, "selector_ema": 0.999, "selector_start": "published", "uratio": 7}
        | {"lambda_u": 1},
    ),
    "adamatch": (
        "wrn_28_2_usb",
        {LABELS: 4},
        USB,
        {"model_ema": 0.999, "threshold": 0.95, "uratio": 7, "lambda_u": 1, "alignment_ema": 0.999, "window": 128},
    ),
    "simmatch": (
        "wrn_28_2_usb",
        {LABELS: 4},
        USB,
        {"model_ema": 0.999, "threshold": 0.95, "uratio": 7, "lambda_u": 1, "lambda_in": 1, "temperature": 0.1}
        | {"smoothing": 0.9, "window": 32, "width": 128},
    ),
    "layermatch": (
        "wrn_28_2_usb",
        {LABELS: 4},
        USB,
        {"model_ema": 0.999, "threshold": 0.95, "uratio": 7, "lambda_u": 1, "gate_mode": "hard"}
        | {"centre_mode": "attract", "centre_ema": 0.99, "centre_weight": 0.5, "centre_ramp": 0.02}
        | {"labelled_weight": 1},
    ),
    "uda": (
        "wrn_28_2",
        {LABELS: 400},
        Training(64, 0.03, 5e-4, steps=500_000, nesterov=True, rates=cosine_7_16(0.03)),
        {"model_ema": 0.9999, "threshold": 0.8, "temperature": 0.4, "uratio": 7, "lambda_u": 1},
    ),
    "mixmatch": (
        "wrn_28_2",
        {LABELS: 25},
        Training(64, 2e-3, 0.02, steps=2**26 // 64, optimizer="adamw", decayed="weights", rates={0: 2e-3, 1: 2e-3}),
        {"model_ema": 0.999, "alpha": 0.75, "lambda_u": 75, "ramp": 2**20 / 2**26, "temperature": 0.5, "uratio": 1},
    ),
    "ict": (
        "wrn_28_2",
        {LABELS: 400, "val": 5000},
        Training(100, 0.1, 1e-4, epochs=400, images=45_000, rates={0: 0.1, 200: 0.05, 400: 0}),
        {"model_ema": 0.999, "alpha": 1, "labelled_alpha": 1, "mixes": "logits", "uratio": 1, "lambda_u": 100}
        | {"ramp": 100 / 400},
    ),
    "mixup": (
        "preact_resnet18",
        {},
        Training(128, 0.1, 1e-4, epochs=200, rates={99.99: 0.1, 100: 0.01, 149.99: 0.01, 150: 1e-3}),
        {"model_ema": 0, "alpha": 1},
    ),
    "sce": (
        "preact_resnet18",
        {NOISE: "symmetric", "rate": 0.4},
        SMALL,
        {"model_ema": 0, "alpha": 0.1, "beta": 1, "log_zero": math.log(1e-4)},
    ),
    "label_smoothing": (
        "preact_resnet18",
        {NOISE: "symmetric", "rate": 0.4},
        SMALL,
        {"model_ema": 0, "smoothing": 0.1},
    ),
    "gce": (
        "preact_resnet18",
        {NOISE: "symmetric", "rate": 0.4},
        Training(128, 0.01, 1e-4, epochs=120, rates={e: 0.01 * r for e, r in TWO_FALLS.items()}),
        {"model_ema": 0, "q": 0.7, "truncate": 0.5, "truncate_from": 40 / 120},
    ),
    "gjs": (
        "preact_resnet18",
        {NOISE: "uniform", "rate": 0.4},
        Training(
            128, 0.1, 5e-4, epochs=400, last_batch=False, nesterov=True, rates={199.99: 0.1, 200: 0.01, 300: 1e-3}
        ),
        {"model_ema": 0, "label_weight": 0.9, "num_views": 2, "view": "strong"},
    ),
    "elr": (
        "preact_resnet18",
        {NOISE: "uniform", "rate": 0.8, "val": 5000},
        Training(
            128, 0.02, 1e-3, epochs=150, images=45_000, rates={0: 0.02, 5: 0.0105, 9.99: 0.001, 10: 0.02, 140: 0.02}
        ),
        {"model_ema": 0, "beta": 0.7, "lambda_t": 3},
    ),
    "elr_plus": (
        "preact_resnet18",
        {NOISE: "uniform", "rate": 0.8, "val": 5000},
        Training(128, 0.02, 5e-4, epochs=200, images=45_000, rates={149.99: 0.02, 150: 0.002}),
        {"model_ema": 0.997, "beta": 0.7, "lambda_t": 3, "alpha": 1, "ramp": 0},
    ),
    "co_teaching": (
        "preact_resnet18",
        {NOISE: "symmetric", "rate": 0.5},
        ADAM,
        {"model_ema": 0, "forget_rate": 0.5, "forget_ramp": 10 / 200},
    ),
    "jocor": (
        "preact_resnet18",
        {NOISE: "symmetric", "rate": 0.5},
        ADAM,
        {"model_ema": 0, "forget_rate": 0.5, "forget_ramp": 10 / 200, "co_lambda": 0.9},
    ),
    "dividemix": (
        "preact_resnet18",
        {NOISE: "uniform", "rate": 0.5},
        Training(2 * 64, 0.02, 5e-4, epochs=300, rates={149.99: 0.02, 150: 0.002}),
        {"model_ema": 0, "warmup": 10 / 300, "clean_threshold": 0.5, "temperature": 0.5, "alpha": 4, "lambda_u": 25}
        | {"ramp": 16 / 300, "mixture": "release", "partner": "eval", "loss_epochs": 1, "confidence_penalty": 0}
        | {"balance": 1},
    ),
    "unicon": (
        "preact_resnet18",
        {NOISE: "uniform", "rate": 0.5},
        Training(2 * 64, 0.02, 5e-4, epochs=350, rates={0: 0.02, 140: 0.0101, 280: 2e-4, 350: 0.0030997}),
        {"model_ema": 0, "warmup": 10 / 350, "cutoff": 0.7, "filter": 5, "temperature": 0.5, "alpha": 4}
        | {"lambda_u": 30, "lambda_c": 0.025, "ramp": 16 / 350},
    ),
    "sop": (
        "preact_resnet18",
        {NOISE: "uniform", "rate": 0.5},
        Training(128, 0.02, 5e-4, epochs=120, rates={e: 0.02 * r for e, r in TWO_FALLS.items()}),
        {"model_ema": 0, "lr_u": 10, "lr_v": 10},
    ),
    "forward_correction": (
        "preact_resnet18",
        {NOISE: "symmetric", "rate": 0.2, "val": 5000},
        Training(
            128, 0.1, 2e-4, epochs=120, last_batch=False, decayed="weights", rates={40.99: 0.1, 41: 0.01, 81: 1e-3}
        ),
        {"model_ema": 0, "quantile": 0.97, "estimate_at": 41 / 120},
    ),
    "mw_net": (
        "preact_resnet18",
        {NOISE: "uniform", "rate": 0.4, "clean": 1000},
        Training(100, 0.1, 5e-4, epochs=120, images=49_000, rates={79.99: 0.1, 80: 0.01, 99.99: 0.01, 100: 1e-3}),
        {"model_ema": 0, "meta_batch_size": 100, "meta_source": "clean", "meta_lr": 1e-3},
    ),
    "l2rw": (
        "preact_resnet18",
        {NOISE: "uniform", "rate": 0.4, "clean": 100, "val": 5000},
        Training(100, 0.1, 2e-4, steps=80_000, decayed="weights", rates={0.499: 0.1, 0.5: 0.01, 0.75: 1e-3}),
        {"model_ema": 0, "meta_batch_size": 100, "meta_source": "clean"},
    ),
    "confident_learning": (
        "preact_resnet18",
        {NOISE: "symmetric", "rate": 0.4},
        Training(64, 0.1, 1e-4, epochs=350, rates={149.99: 0.1, 150: 0.01, 249.99: 0.01, 250: 1e-3}),
        {"model_ema": 0, "prune": "noise_rate", "prune_at": 150 / 350},
    ),
    "clid_mu": (
        "preact_resnet18",
        {NOISE: "uniform", "rate": 0.6},
        Training(100, 0.05, 5e-4, epochs=100, rates={0: 0.05, 5: 1e-3, 7.5: 0.0255, 10: 0.05}),
        {"model_ema": 0, "meta_model": "wnet", "meta_goal": "clid", "meta_lr": 1e-5, "meta_optimizer": "sgd"}
        | {"virtual_step": "plain", "meta_batch_size": 100, "meta_set_size": 1000, "meta_source": "training"}
        | {"temperature": 0.5},
    ),
    "clid_mu_fixmatch": (
        "wrn_28_2",
        {LABELS: 400, NOISE: "symmetric", "rate": 0.5},
        Training(100, 0.03, 1e-4, steps=30_000, nesterov=True, decayed="weights", rates={0: 0.03, 1: 0.03}),
        {"base": "fixmatch", "model_ema": 0.999, "fixmatch_threshold": 0.95, "fixmatch_uratio": 7}
        | {"fixmatch_lambda_u": 1, "meta_goal": "clid", "meta_lr": 1e-5, "meta_optimizer": "nesterov"}
        | {"virtual_step": "optimizer", "meta_batch_size": 1000, "meta_set_size": 10_000, "temperature": 0.1}
        | {"meta_source": "unlabelled", "meta_view": "both", "normalise": "none"},
    ),
}


def test_there_is_a_recipe_for_each_method() -> None:
    """But for the oracle, which no paper has; CLID-MU has a second one, on FixMatch."""
    methods = set(METHODS.names()) - {"oracle"}
    assert set(RECIPES) == set(PUBLISHED) == methods | {"clid_mu_fixmatch"}


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without data, and no way to fetch any."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a recipe is resolved without the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("KURABE_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", RECIPES)
def test_what_runs_is_what_was_published(name: str, no_data: Path) -> None:
    model, labels, training, hyper = PUBLISHED[name]
    written = load(FOLDER / f"{name}.yaml")
    sweep = load_plain(written.resolved(), written.path)  # as results/NAME/resolved.yaml has it
    study = sweep.studies()[0]
    spec = study.resolve(study.start)
    assert sweep == written and (sweep.name, spec.model) == (f"recipe-{name}", model)
    assert (study.space, study.trials, sweep.budget.scheduler) == ({}, 1, "none")
    assert spec.data.model_dump() == {"source": "cifar10", "limit": None, "on_bad_image": "stop"}
    plain = {"per_class": None, "total": None, "imbalance": 1, "noise": "none", "rate": 0, "val": 1}
    assert spec.labels.model_dump() == plain | labels
    train = spec.train
    assert (train.steps, train.batch_size, train.lr) == (training.length(), training.batch, training.lr)
    assert (train.optimizer, train.weight_decay) == (training.optimizer, training.decay)
    assert training.decay == 0 or train.decayed == training.decayed
    assert training.optimizer != "sgd" or (train.momentum, train.nesterov) == (training.momentum, training.nesterov)
    assert (train.warmup, train.accumulate, train.grad_clip, train.amp) == (0, 1, None, "off")
    for moment, rate in training.rates.items():
        assert learning_rate(train, training.step(moment)) == pytest.approx(rate, rel=2e-3, abs=1e-8), moment
    assert set(study.fixed) == set(hyper)
    for key, value in hyper.items():
        assert spec.hyper[key] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-7, abs=1e-9)), key
    assert list(no_data.iterdir()) == []


@pytest.mark.parametrize("name", RECIPES)
def test_each_setting_has_its_source(name: str) -> None:
    """In a comment: a line of a file, a section, or that the value is ours. Files are named once, in the head."""
    text = (FOLDER / f"{name}.yaml").read_text()
    head, _, rest = text.partition("\nname:")
    head = head.replace("\n# ", " ")
    settings = re.findall(r"^(?:  [a-z_]+|model): .*$", rest, re.MULTILINE)
    assert len(settings) > 12
    without = [line.strip() for line in settings if " # " not in line]
    assert set(without) <= {"noise: none"}
    assert "github.com/" in head
    for line in settings:
        for short in re.findall(r"# ([a-z]) \d+", line):
            assert f"({short})" in head or f", {short})" in head, line


SEARCHES = {
    # cifar10/: its recipe, and what trial 0 has otherwise, but for validation images, precision and length
    "clid_mu": ("clid_mu", {"rate", "model_ema"}),
    "clid_mu_4000": ("clid_mu_fixmatch", set()),
    "fixmatch_40": ("fixmatch", {"model"}),
    "layermatch_40": ("layermatch", {"gate_mode"}),
    "mixup": ("mixup", {"noise", "rate", "model_ema"}),
    "pseudo_label_4000": ("pseudo_label", set()),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_on_cifar_starts_at_the_recipe(name: str) -> None:
    """None and auto leave a value to the method, which has the release's (tests/methods/test_virtual_updates.py)."""

    def first(path: Path) -> dict[str, Any]:
        study = load(path).studies()[0]
        spec = study.resolve(study.start)
        return {"model": spec.model, **spec.labels.model_dump(), **spec.train.model_dump(), **spec.hyper}

    recipe, expected = SEARCHES[name]
    mine, theirs = first(FOLDER.parent / "cifar10" / f"{name}.yaml"), first(FOLDER / f"{recipe}.yaml")
    found = {key for key in mine | theirs if mine.get(key) != theirs.get(key) and mine.get(key) not in ("auto", None)}
    assert found - {"val", "amp", "steps", "evaluations"} == expected


def test_there_is_no_other_search_on_cifar() -> None:
    assert set(SEARCHES) == {path.stem for path in (FOLDER.parent / "cifar10").glob("*.yaml")}
