"""Judges what the nodes said: one finding per check and node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from platform.runner.health.node_facts import NodeFacts

__all__ = ["HealthFinding", "judge"]

CLOCK_SECONDS, DISK_GIB, MEMORY_GIB = 5.0, 5.0, 1.0
DECISIVE = ("python", "ray", "torch", "torchvision", "timm", "numpy")


@dataclass(frozen=True)
class HealthFinding:
    """verdict: `bad` stops a sweep, `note` is worth knowing. advice: what to do."""

    check: str
    node: str
    verdict: Literal["good", "note", "bad"]
    found: str
    advice: str = ""


def judge(driver: NodeFacts, nodes: list[NodeFacts], quick: bool = False, cluster: bool = True) -> list[HealthFinding]:
    """Findings in the order of the table. driver: of the process that asks, which is what the nodes must equal."""
    found: list[HealthFinding] = []
    for node in nodes:
        found += _versions(driver, node)
        if cluster:
            found += _token(driver, node)
            found += _clock(node)
        if not quick or node.gpus:
            found += _gpu(node)
        if not quick:
            found += _rest(node)
    return found


def _versions(driver: NodeFacts, node: NodeFacts) -> Iterator[HealthFinding]:
    differ = [name for name in DECISIVE if driver.versions.get(name) != node.versions.get(name)]
    if differ:
        text = ", ".join(f"{name} {node.versions.get(name, 'missing')}" for name in differ)
        here = ", ".join(f"{name} {driver.versions.get(name, 'missing')}" for name in differ)
        yield HealthFinding("versions", node.node, "bad", text, f"the driver has {here}: install the same")
    else:
        text = ", ".join(
            f"{name} {node.versions[name]}" for name in ("python", "torch", "ray") if name in node.versions
        )
        yield HealthFinding("versions", node.node, "good", text)


def _token(driver: NodeFacts, node: NodeFacts) -> Iterator[HealthFinding]:
    if not node.token:
        advice = "whoever reaches Ray's ports can run code there: RAY_AUTH_MODE=token"
        yield HealthFinding("token", node.node, "bad" if driver.token else "note", "there is none", advice)
    elif node.token != driver.token:
        advice = f"the driver's is {driver.token or 'missing'} (hashes): copy the head's ~/.ray/auth_token"
        yield HealthFinding("token", node.node, "bad", f"another one: {node.token}", advice)
    else:
        yield HealthFinding("token", node.node, "good", f"the same everywhere: {node.token} (hash)")


def _clock(node: NodeFacts) -> Iterator[HealthFinding]:
    if abs(node.offset) > CLOCK_SECONDS:
        way = "ahead of" if node.offset > 0 else "behind"
        text = f"{abs(node.offset):.0f} s {way} the driver's"
        yield HealthFinding("clock", node.node, "note", text, "timestamps will mislead: is NTP running?")
    else:
        yield HealthFinding("clock", node.node, "good", f"within {CLOCK_SECONDS:g} s of the driver's")


def _gpu(node: NodeFacts) -> Iterator[HealthFinding]:
    driver = f", driver {node.driver}" if node.driver else ""
    if not node.gpu_usable:
        text = f"Ray gives out {node.gpus:g}, torch can use none: {node.gpu}{driver}"
        advice = "a driver that is missing or older than torch's CUDA needs, or a torch without CUDA"
        yield HealthFinding("GPU", node.node, "bad", text, advice)
    elif node.gpu == "none" and driver:
        yield HealthFinding("GPU", node.node, "note", f"torch sees none{driver}", "is torch built without CUDA?")
    else:
        yield HealthFinding("GPU", node.node, "good", f"{node.gpu}{driver}" if node.gpu else "none")


def _rest(node: NodeFacts) -> Iterator[HealthFinding]:
    small = node.disk < DISK_GIB
    yield HealthFinding(
        "disk", node.node, "bad" if small else "good", _above(node.disk, DISK_GIB), "free some space" * small
    )
    small = node.memory < MEMORY_GIB
    yield HealthFinding(
        "memory",
        node.node,
        "bad" if small else "good",
        _above(node.memory, MEMORY_GIB),
        "trials will be killed" * small,
    )
    if node.sees_shared is not None:
        text = "what the driver writes is read here" if node.sees_shared else "the driver's folder is not seen here"
        advice = "" if node.sees_shared else "states travel through Ray: slower, and nothing is lost"
        yield HealthFinding("results folder", node.node, "good" if node.sees_shared else "note", text, advice)
    if node.data_error:
        yield HealthFinding("data", node.node, "bad", node.data_error, "the same files at the same path on every node")
    elif node.data:
        yield HealthFinding("data", node.node, "good", node.data)


def _above(free: float, least: float) -> str:
    return f"{free:.1f} GiB free" if free < 10 * least else f"more than {10 * least:g} GiB free"
