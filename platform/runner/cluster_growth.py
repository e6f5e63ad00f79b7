"""What a cluster may become: the types of nodes that its autoscaler can start, and what it says about a request."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from platform.training.slots import Slots, supply

__all__ = ["FIXED", "UNKNOWN", "Growth", "NodeType", "can_ever_have", "failed_launch", "growth", "may_grow"]

ANSWER_SECONDS = 20.0
"""For the autoscaler to look at a request. It does so every 5 s."""


@dataclass(frozen=True)
class NodeType:
    """Nodes that an autoscaler can start. resources: by Ray's names."""

    name: str
    resources: Mapping[str, float]
    at_most: int

    def __str__(self) -> str:
        return f"{self.at_most} of type {self.name} ({supply(self.resources)})"


@dataclass(frozen=True)
class Growth:
    """The nodes that may come. at_most: of all types together. known=False: there is an autoscaler, whose types are
    not known here."""

    types: tuple[NodeType, ...] = ()
    at_most: int = 0
    known: bool = True

    @property
    def grows(self) -> bool:
        return bool(self.types) or not self.known

    def room(self, slots: Slots) -> int:
        """The number of trials that fit at once into all nodes that may come."""
        count, left = 0, self.at_most
        for node_type in sorted(self.types, key=lambda each: -slots.room(each.resources)):
            nodes = min(left, node_type.at_most)
            count, left = count + nodes * slots.room(node_type.resources), left - nodes
        return count

    def node_type(self, slots: Slots) -> NodeType | None:
        """The type of node that has room for the fewest of these trials, and for one: what the autoscaler prefers."""
        able = [each for each in self.types if slots.room(each.resources)]
        return min(able, key=lambda each: slots.room(each.resources), default=None)

    def __str__(self) -> str:
        return ", ".join(map(str, self.types)) or "no further machine"


FIXED, UNKNOWN = Growth(), Growth(known=False)


def growth() -> Growth:
    """How the cluster that this process is connected to may grow."""
    report = _scaler_report()
    if report is not None and not may_grow(report):
        return FIXED
    config = _scaler_config()
    if config is None:  # the autoscaler is no process of the head: KubeRay's has a container of its own
        return UNKNOWN if may_grow(report) else FIXED
    return from_config(config)


def from_config(config: Mapping[str, Any]) -> Growth:
    """The growth that a cluster's file (`ray up`, prepared) stands for; {}: no autoscaler was configured."""
    head, most = config.get("head_node_type"), int(config.get("max_workers", 0))
    types: list[NodeType] = []
    for name, found in config.get("available_node_types", {}).items():
        at_most = min(int(found.get("max_workers", most)), most)
        if name != head and at_most:
            types.append(NodeType(name, {k: float(v) for k, v in found.get("resources", {}).items()}, at_most))
    if any(not each.resources for each in types):  # of hosts given by their addresses nothing is known before they join
        return UNKNOWN
    return Growth(tuple(types), most)


def may_grow(report: bytes | None) -> bool:
    """Whether a cluster may get further machines. report: the status that its autoscaler left, if it has one.

    Where no autoscaler was configured, Ray's own reports each node as a type of its own, node_ID. True where unknown.
    """
    try:
        nodes: Mapping[str, Any] = json.loads(report or b"{}")["autoscaler_report"]["active_nodes"]
    except (ValueError, KeyError, TypeError):
        return True
    return not nodes or any(not name.startswith("node_") for name in nodes)


def _scaler_report() -> bytes | None:
    """The status that Ray's first autoscaler leaves. The second one, of `ray up` and KubeRay, leaves none."""
    from ray.experimental.internal_kv import _internal_kv_get

    return _internal_kv_get("__autoscaling_status")


def _scaler_config() -> dict[str, Any] | None:
    """The file of the autoscaler's process on the head; {} where it has none, None where there is no such process."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def read(server: str) -> dict[str, Any] | None:  # nested: it travels as it is, without our package
        import os

        import psutil
        import yaml

        wanted = ("head_node_type", "max_workers", "available_node_types")
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if not any(word.endswith("monitor.py") for word in words) or f"--gcs-address={server}" not in words:
                continue
            for word in words:
                name, _, path = word.partition("=")
                if name == "--autoscaling-config" and path:
                    with open(os.path.expanduser(path)) as file:
                        found = yaml.safe_load(file)
                    types = found.get("available_node_types") or {}
                    few = {n: {k: t[k] for k in ("resources", "max_workers") if k in t} for n, t in types.items()}
                    return {k: found[k] for k in wanted if k in found} | {"available_node_types": few}
            return {}
        return None

    heads = [n["NodeID"] for n in ray.nodes() if n["Alive"] and "node:__internal_head__" in n["Resources"]]
    if not heads:
        return None
    place = NodeAffinitySchedulingStrategy(heads[0], soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(read).options(scheduling_strategy=place)
    try:
        found: Any = ray.get(task.remote(ray.get_runtime_context().gcs_address), timeout=60)
    except (RayError, OSError):
        return None
    return found


# -- the second autoscaler's answers -----------------------------------------------------------------------------------


def can_ever_have(bundle: Mapping[str, float], seconds: float = ANSWER_SECONDS) -> bool | None:
    """Ask the autoscaler for one such bundle, and return whether it can start a node for it; None: it does not say."""
    from ray.util.placement_group import placement_group, remove_placement_group

    if (before := _state()) is None:
        return None
    group = placement_group([dict(bundle)])
    try:
        until, seen = time.monotonic() + seconds, _version(before)
        while time.monotonic() < until:
            if group.wait(0):
                return True
            state = _state()
            if state is not None and _version(state) > seen + 1:  # it has looked at the request
                infeasible = [each.details for each in state.infeasible_gang_resource_requests]
                return not any(details.startswith(group.id.hex()) for details in infeasible)
            time.sleep(0.3)
        return None
    finally:
        remove_placement_group(group)


def failed_launch() -> str:
    """Why the autoscaler's last attempt to start a node failed (a quota, no capacity), in its words; else nothing."""
    state = _state()
    failed = list(state.failed_instance_requests) if state is not None else []
    if not failed:
        return ""
    last = max(failed, key=lambda each: each.failed_ts)
    return f"{last.ray_node_type_name}: {' '.join(last.reason.split())[:300]}"


def _version(state: Any) -> int:
    """Number of the cluster's state that the autoscaler last looked at."""
    return state.last_seen_cluster_resource_state_version


def _state() -> Any:
    """What Ray's second autoscaler says of itself; None where the cluster has not got it."""
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.core.generated import autoscaler_pb2
    from ray.experimental.internal_kv import internal_kv_get_gcs_client

    reply: Any = autoscaler_pb2.GetClusterStatusReply()  # pyright: ignore
    with contextlib.suppress(Exception):  # Ray's private side: without it there is less to say
        if not is_autoscaler_v2(fetch_from_server=True):
            return None
        client: Any = internal_kv_get_gcs_client()
        reply.ParseFromString(client.get_cluster_status(timeout_s=5))
        return reply.autoscaling_state
    return None
