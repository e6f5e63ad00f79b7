"""Asks every node of a cluster, or this machine, and gives the findings."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from platform.core.errors import Problem, UserError
from platform.runner.health.health_findings import HealthFinding, judge
from platform.runner.health.node_facts import NodeFacts, NodeRequest, node_facts
from platform.sweepfile import Sweep

__all__ = ["check_nodes", "cluster_findings", "local_findings", "mlflow_finding"]

QUICK_SECONDS, FULL_SECONDS = 30.0, 180.0


def local_findings(results: Path, sweep: Sweep | None) -> list[HealthFinding]:
    """Of this machine, without Ray."""
    request = _request(sweep, "", "")
    facts = node_facts(request)
    facts.node = "this machine"
    return judge(facts, [facts], cluster=False)


def cluster_findings(results: Path, sweep: Sweep | None) -> list[HealthFinding]:
    """Of every node of the cluster that this process is connected to. A file is written into `results` and removed."""
    with _word_in(results) as (path, word):
        request = _request(sweep, str(path.resolve()), word)
        facts, silent = _ask(request, FULL_SECONDS)
    return [*_unanswered(silent, FULL_SECONDS, "bad"), *judge(node_facts(NodeRequest()), facts)]


def check_nodes() -> list[str]:
    """The quick part, before a sweep. Returns lines for the screen; raises UserError with all that is bad.

    A node that does not answer in time is no error: a busy one may only be slow.
    """
    facts, silent = _ask(NodeRequest(), QUICK_SECONDS)
    found = [*_unanswered(silent, QUICK_SECONDS, "note"), *judge(node_facts(NodeRequest()), facts, quick=True)]
    bad = [f for f in found if f.verdict == "bad"]
    if bad:
        problems = [Problem(f"{f.node}: {f.check}: {f.found}", key="--address", hint=f.advice) for f in bad]
        raise UserError(*problems)
    return [f"{f.node}: {f.check}: {f.found}; {f.advice}" for f in found if f.verdict == "note"]


def mlflow_finding(sweep: Sweep | None) -> HealthFinding:
    """Whether the driver reaches the store of the sweep file; without one, of the default file's folder."""
    if sweep is None or sweep.tracking == "none":
        return HealthFinding("MLflow", "driver", "good", "not asked: a sweep file names it")
    from platform.tracking.connection import prepare

    try:
        away = prepare(sweep.connection)
    except UserError as error:
        problem = error.problems[0]
        return HealthFinding("MLflow", "driver", "bad", problem.message, problem.hint or "")
    if away:
        return HealthFinding("MLflow", "driver", "note", away, "a sweep delivers its runs when it answers")
    return HealthFinding("MLflow", "driver", "good", "answers")


def _request(sweep: Sweep | None, shared: str, word: str) -> NodeRequest:
    data = sweep.data.model_dump_json() if sweep else ""
    seed = sweep.studies()[0].seeds["data"] if sweep else 0
    return NodeRequest(quick=False, shared=shared, word=word, data=data, data_seed=seed)


@contextlib.contextmanager
def _word_in(results: Path) -> Iterator[tuple[Path, str]]:
    results.mkdir(parents=True, exist_ok=True)
    path, word = results / f".doctor-{secrets.token_hex(4)}", secrets.token_hex(16)
    path.write_text(word)
    try:
        yield path, word
    finally:
        path.unlink(missing_ok=True)


def _ask(request: NodeRequest, seconds: float) -> tuple[list[NodeFacts], list[str]]:
    """What the nodes say, by name, and the names of those that do not answer in time or not at all."""
    from dataclasses import replace

    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    task: Any = ray.remote(num_cpus=0, max_retries=0)(node_facts)
    waiting: dict[Any, str] = {}
    for node in ray.nodes():
        if node["Alive"]:
            asked = replace(request, gpus=node["Resources"].get("GPU", 0.0))
            place = On(node["NodeID"], soft=False)
            waiting[task.options(scheduling_strategy=place).remote(asked)] = _name(node)
    facts, silent = [], []
    until = time.monotonic() + seconds
    while waiting and (left := until - time.monotonic()) > 0:
        for done in ray.wait(list(waiting), timeout=left)[0]:
            name = waiting.pop(done)
            try:
                found: Any = ray.get(done)
            except RayError as error:
                silent.append(f"{name} ({str(error).strip().splitlines()[-1][:200]})")
                continue
            found.node, found.offset = name, found.time - time.time()
            facts.append(found)
    for reference in waiting:
        ray.cancel(reference, force=True)
    return sorted(facts, key=lambda each: each.node), [*silent, *waiting.values()]


def _name(node: dict[str, Any]) -> str:
    head = " (head)" if "node:__internal_head__" in node["Resources"] else ""
    return f"{node['NodeManagerHostname']} {node['NodeManagerAddress']} {node['NodeID'][-6:]}{head}"


def _unanswered(names: list[str], seconds: float, verdict: Any) -> list[HealthFinding]:
    text, advice = f"no answer in {seconds:g} s", "is the package there, and is the machine not overloaded?"
    return [HealthFinding("package", name, verdict, text, advice) for name in names]
