"""How many trials fit at once: the scarcer resource decides, within what is asked for and left to run."""

from __future__ import annotations

import pytest
import torch

from platform.sweepfile.schema import Resources
from platform.training.slots import Slots, demand, fits, share, slots_here, supply, surplus

FOUR_CPUS = {"CPU": 4.0}
WITH_GPUS = {"CPU": 16.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("resources", "have", "rows", "slots"),
    [
        ({}, FOUR_CPUS, 99, Slots(4, 1, 0)),
        ({"cpu": 3}, FOUR_CPUS, 99, Slots(1, 3, 0)),
        ({"cpu": 8}, FOUR_CPUS, 99, Slots(1, 8, 0)),
        ({}, FOUR_CPUS, 2, Slots(2, 1, 0)),
        ({}, WITH_GPUS, 99, Slots(2, 1, 1)),
        ({"gpu": 0.25}, WITH_GPUS, 99, Slots(8, 1, 0.25)),
        ({"gpu": 0.25, "cpu": 4}, WITH_GPUS, 99, Slots(4, 4, 0.25)),
        ({"gpu": 0}, WITH_GPUS, 99, Slots(16, 1, 0)),
        ({"concurrent": 5}, FOUR_CPUS, 99, Slots(5, 1, 0)),
        ({"concurrent": 5}, FOUR_CPUS, 3, Slots(3, 1, 0)),
    ],
)
def test_what_fits_at_once(resources: dict, have: dict[str, float], rows: int, slots: Slots):
    assert share(Resources(**resources), have, rows) == slots


def test_a_cluster_that_has_nothing_yet_gets_one_trial_to_grow_for():
    assert share(Resources(gpu=1), {}, 10) == Slots(1, 1, 1)


def test_the_device_of_a_trial_follows_from_its_share_of_a_gpu():
    assert Slots(1, 1, 0.5).device == "cuda" and Slots(1, 1, 0).device == "cpu"


def test_this_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert slots_here(Resources(cpu=2), 99) == Slots(3, 2, 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert slots_here(Resources(cpu=2), 99) == Slots(1, 2, 1)


@pytest.mark.parametrize(
    ("resources", "machine", "expected"),
    [
        ({}, FOUR_CPUS, True),
        ({"cpu": 4}, FOUR_CPUS, True),
        ({"cpu": 4.5}, FOUR_CPUS, False),
        ({"gpu": 1}, FOUR_CPUS, False),
        ({"gpu": 0.5}, WITH_GPUS, True),
        ({"gpu": 3}, WITH_GPUS, False),
        ({}, {}, False),
    ],
)
def test_whether_a_trial_fits_on_a_machine(resources: dict, machine: dict[str, float], expected: bool):
    assert fits(Resources(**resources), machine) is expected


def test_in_words():
    assert demand(Resources(cpu=64)) == "64 CPU cores"
    assert demand(Resources(gpu=1)) == "1 CPU core and 1 GPU"
    assert supply(FOUR_CPUS) == "4 CPU cores and no GPU" and supply(WITH_GPUS) == "16 CPU cores and 2 GPUs"


def test_more_at_once_than_fits_is_said():
    assert surplus(Resources(concurrent=4), FOUR_CPUS) == surplus(Resources(), FOUR_CPUS) == ""
    assert surplus(Resources(concurrent=5, cpu=2), FOUR_CPUS) == (
        "resources.concurrent is 5, but only 2 fit at once into 4 CPU cores and no GPU, at 2 CPU cores a trial; "
        "the others wait"
    )
