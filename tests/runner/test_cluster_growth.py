"""How far a cluster may grow, what it is told of the trials that may run, and what a person is told of the waiting."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from platform.core.accelerator import PRETENDED
from platform.core.errors import UserError
from platform.runner import cluster
from platform.runner.cluster_growth import FIXED, UNKNOWN, Growth, NodeType, from_config
from platform.runner.tune import cluster_demand
from platform.runner.tune.cluster_demand import ClusterDemand
from platform.sweepfile.schema import Resources
from platform.training.slot_device import slot_device
from platform.training.slots import Slots
from tests.runner.sweeps import SPACE, driver, load, play

HEAD = {"CPU": 0.0, "node:__internal_head__": 1.0}
SMALL, BIG = {"CPU": 4.0, "GPU": 1.0}, {"CPU": 32.0, "GPU": 8.0}
GPUS = Growth((NodeType("small", SMALL, 4), NodeType("big", BIG, 2)), at_most=5)

ONE = SPACE.replace(", pseudo_label", "")

CONFIG = {
    "head_node_type": "head",
    "max_workers": 5,
    "available_node_types": {
        "head": {"resources": {"CPU": 2}, "max_workers": 5},
        "small": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 4},
        "big": {"resources": {"CPU": 32, "GPU": 8}, "max_workers": 2},
        "none": {"resources": {"CPU": 1}, "max_workers": 0},
    },
}


def test_the_growth_of_a_clusters_file():
    assert from_config(CONFIG) == GPUS
    assert not from_config({}).grows
    hosts = {"max_workers": 2, "available_node_types": {"local.cluster.node": {"resources": {}}}}
    assert from_config(hosts) == UNKNOWN  # hosts by address: what they have is known when they join


def test_the_trials_that_fit_into_a_grown_cluster():
    assert GPUS.room(Slots(1, 1, 1)) == 2 * 8 + 3 * 1  # two large ones, and five in all
    assert GPUS.room(Slots(1, 1, 0.5)) == 2 * 16 + 3 * 2
    assert GPUS.room(Slots(1, 1, 8)) == 2 and GPUS.room(Slots(1, 1, 9)) == 0
    assert str(GPUS) == "4 of type small (4 CPU cores and 1 GPU), 2 of type big (32 CPU cores and 8 GPUs)"


@pytest.mark.parametrize(
    ("resources", "machines", "growth", "expected"),
    [
        ({}, [HEAD], GPUS, Slots(19, 1, 1)),
        ({"gpu": 0}, [HEAD], GPUS, Slots(2 * 32 + 3 * 4, 1, 0)),
        ({}, [HEAD, SMALL], GPUS, Slots(19, 1, 1)),
        ({"concurrent": 3}, [HEAD], GPUS, Slots(3, 1, 1)),
        ({"concurrent": 30}, [HEAD], GPUS, Slots(19, 1, 1)),
        ({"gpu": 1}, [HEAD], UNKNOWN, Slots(cluster.MOST_UNASKED, 1, 1)),
        ({"cpu": 2}, [{"CPU": 3.0}, {"CPU": 3.0}], FIXED, Slots(2, 2, 0)),  # three cores over two machines are no slot
        ({}, [{"CPU": 8.0}, SMALL], FIXED, Slots(1, 1, 1)),  # `auto`: trials go where GPUs are
    ],
)
def test_the_slots_of_a_cluster(monkeypatch, resources, machines, growth, expected):
    monkeypatch.setattr(cluster, "_machines", lambda: machines)
    assert cluster.slots(Resources(**resources), 1000, growth) == expected


def test_a_gpu_is_taken_where_the_autoscaler_says_that_it_can_start_one(monkeypatch):
    monkeypatch.setattr(cluster, "_machines", lambda: [HEAD])
    for answer, gpu in ((True, 1), (False, 0), (None, 0)):
        monkeypatch.setattr(cluster.cluster_growth, "can_ever_have", lambda bundle, answer=answer: answer)
        assert cluster.slots(Resources(), 10, UNKNOWN).gpu == gpu


# -- demand ------------------------------------------------------------------------------------------------------------


class Groups:
    """Placement groups of a cluster that has room for none until `placed` says so."""

    def __init__(self) -> None:
        self.there: list[Groups.Group] = []
        self.free = 0

    class Group:
        placed = False

        def wait(self, seconds: float) -> bool:
            return self.placed

    def make(self, bundles: list[dict[str, float]]) -> Group:
        assert bundles == [{"CPU": 1, "GPU": 1}]
        self.there.append(Groups.Group())
        return self.there[-1]


@pytest.fixture
def groups(monkeypatch) -> Groups:
    found = Groups()
    monkeypatch.setattr(cluster_demand, "placement_group", found.make)
    monkeypatch.setattr(cluster_demand, "remove_placement_group", found.there.remove)
    monkeypatch.setattr(cluster_demand, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(cluster_demand, "SAY_SECONDS", 0.0)
    monkeypatch.setattr(cluster.cluster_growth, "failed_launch", lambda: "")
    return found


def test_demand_is_told_at_once_and_rows_go_out_as_there_is_room(monkeypatch, tmp_path: Path, groups: Groups):
    machines = [HEAD]
    monkeypatch.setattr(cluster, "_machines", lambda: machines)
    book = driver(tmp_path, sweep := load(tmp_path, ONE))
    assert len(sweep.studies()) == 1 and sweep.budget.trials == 5
    said: list[str] = []
    book.notify = said.append
    demand = ClusterDemand(book, Slots(4, 1, 1), Growth((NodeType("gpu", SMALL, 4),), 4))

    demand.on_step_begin(0, [])
    first = book.next_row()
    assert first is not None and book.next_row() is None and book.expecting  # the others wait for room, unproposed
    demand.on_step_begin(1, [])
    assert len(groups.there) == 3  # with the row that is out, four trials ask for room
    assert said == ["waiting for 4 GPU workers; 0 are there"]

    machines += [SMALL]
    groups.there[0].placed = True
    demand.on_step_begin(2, [])
    assert said[-1] == "waiting for 3 GPU workers; 1 is there" and len(groups.there) == 2
    second = book.next_row()
    assert second is not None and book.next_row() is None
    play(book, second, [0.5])  # its place is free again
    third = book.next_row()
    assert third is not None and book.next_row() is None

    for row in (first, third):
        play(book, row, [0.5])
    demand.on_step_begin(3, [])
    assert len(groups.there) == 0, "two rows are left, and two places are there for them"
    machines += [SMALL]
    demand.on_step_begin(4, [])
    assert said[-1] == "all GPU workers are there: 2"


def test_demand_is_withdrawn_and_trouble_is_said(monkeypatch, tmp_path: Path, groups: Groups):
    monkeypatch.setattr(cluster, "_machines", lambda: [HEAD])
    monkeypatch.setattr(cluster.cluster_growth, "failed_launch", lambda: "gpu: VcpuLimitExceeded")
    book = driver(tmp_path, load(tmp_path))
    said: list[str] = []
    book.notify = said.append
    demand = ClusterDemand(book, Slots(4, 1, 1), Growth((NodeType("gpu", SMALL, 4),), 4))
    demand.on_step_begin(0, [])
    words = "waiting for 4 GPU workers; 0 are there. The last attempt to start one failed: gpu: VcpuLimitExceeded"
    assert said == [words] and groups.there
    demand.withdraw()
    assert not groups.there


# -- device ------------------------------------------------------------------------------------------------------------


def test_the_device_is_decided_on_the_node(monkeypatch):
    monkeypatch.delenv(PRETENDED, raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert slot_device(0) == "cpu"
    with pytest.raises(UserError, match=f"{socket.gethostname()} gives out a GPU that torch cannot use"):
        slot_device(0.5)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert slot_device(0.5) == "cuda" and slot_device(0) == "cpu"
    monkeypatch.setitem(os.environ, PRETENDED, "cpu")
    assert slot_device(1) == "cpu"
