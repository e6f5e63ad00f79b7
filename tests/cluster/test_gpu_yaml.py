"""cluster/gpu.yaml: accepted by Ray and by AWS's own model, of the project's versions, closed to the world."""

from __future__ import annotations

import copy
import re
import shlex
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
FILE = ROOT / "cluster" / "gpu.yaml"


@pytest.fixture(scope="module")
def prepared() -> dict[str, Any]:
    """The file as `ray up` sees it: with Ray's defaults for AWS filled in."""
    from ray.autoscaler._private.util import prepare_config

    return prepare_config(yaml.safe_load(FILE.read_text()))


def project_requirements() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {r.name: r for r in map(Requirement, project["dependencies"])}


def pins(config: dict[str, Any]) -> dict[str, Requirement]:
    """What the set-up commands install on every node."""
    words = [word for command in config["setup_commands"] for word in shlex.split(command) if "==" in word]
    return {r.name: r for r in map(Requirement, words)}


def test_ray_accepts_the_file(prepared: dict[str, Any]):
    from ray.autoscaler._private.util import validate_config

    validate_config(prepared)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ({"idle_timeout_minuts": 5}, "idle_timeout_minuts"),
        ({"head_node_type": "hed"}, "head_node_type"),
        ({"max_workers": -1}, "minimum"),
    ],
)
def test_ray_would_not_accept_a_damaged_file(prepared: dict[str, Any], damage: dict[str, Any], complaint: str):
    from ray.autoscaler._private.util import validate_config

    with pytest.raises((jsonschema.ValidationError, ValueError), match=complaint):
        validate_config({**prepared, **damage})


def test_aws_accepts_every_node_type(prepared: dict[str, Any]):
    """The parameters of EC2's RunInstances, checked by the model that boto3 sends them with."""
    session = pytest.importorskip("botocore.session")
    from botocore.validate import ParamValidator

    shape = session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    for name, node_type in prepared["available_node_types"].items():
        report = ParamValidator().validate({**node_type["node_config"], "MinCount": 1, "MaxCount": 1}, shape)
        assert not report.has_errors(), f"{name}: {report.generate_report()}"


def test_the_versions_are_the_projects(prepared: dict[str, Any]):
    installed, wanted = pins(prepared), project_requirements()
    assert set(wanted) <= set(installed), "a dependency of the project is missing on the nodes"
    assert set(installed) - set(wanted) <= {"boto3"}, "the nodes install what the project does not depend on"
    for name, requirement in wanted.items():
        version = str(installed[name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{name} {version} is not {requirement}"
        assert requirement.extras <= installed[name].extras


def test_every_group_is_the_users_own(prepared: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    """Where a node type names no group, Ray makes one whose port 22 is open to the world."""
    pytest.importorskip("boto3")
    from ray.autoscaler._private.aws import config as aws

    assert any("0.0.0.0/0" in str(rule) for rule in aws._create_default_ssh_inbound_rules()), "Ray has mended this"
    assert "security_group" not in prepared["provider"]

    def describe(LaunchTemplateName: str, Versions: list[str]) -> dict[str, Any]:  # as aws_setup.py makes them
        assert LaunchTemplateName in ("kurabe-head", "kurabe-worker") and Versions == ["$Latest"]
        return {"LaunchTemplateVersions": [{"LaunchTemplateData": {"SecurityGroupIds": ["sg-1"]}}]}

    client = SimpleNamespace(describe_launch_template_versions=describe)
    monkeypatch.setattr(aws, "_client", lambda name, config: client)
    before = aws._configure_from_launch_template(copy.deepcopy(prepared))
    for node_type in before["available_node_types"].values():
        assert node_type["node_config"]["SecurityGroupIds"] == ["sg-1"]
    # With groups in place Ray returns at once: it neither makes groups nor rules (that would need AWS, and fail here).
    assert (
        aws._configure_security_group(copy.deepcopy(before))["available_node_types"] == (before["available_node_types"])
    )


def test_nothing_listens_for_the_world(prepared: dict[str, Any]):
    commands = "\n".join(prepared["head_start_ray_commands"] + prepared["worker_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in commands
    assert "0.0.0.0" not in commands
    for command in re.findall(r"[^;&\n]*\bray start\b", commands):
        assert "RAY_AUTH_MODE=token" in command
    assert "~/.ray/auth_token" in prepared["file_mounts"]
    assert "0.0.0.0/0" not in FILE.read_text(), "the commands in the head must not open a port to the world"


def test_idle_workers_are_given_back_and_none_is_kept(prepared: dict[str, Any]):
    assert 0 < prepared["idle_timeout_minutes"] <= 30
    assert prepared["provider"]["cache_stopped_nodes"] is False
    workers = {n: t for n, t in prepared["available_node_types"].items() if n != prepared["head_node_type"]}
    assert workers and all(t["min_workers"] == 0 for t in workers.values())
    assert prepared["available_node_types"][prepared["head_node_type"]]["resources"] == {"CPU": 0}


def test_the_head_of_the_file_has_the_commands():
    head = FILE.read_text().partition("\ncluster_name:")[0]
    for command in ("ray up", "ray dashboard", "ray job submit", "ray rsync-down", "ray down"):
        assert f".venv/bin/{command} " in head
    assert "cluster/aws_setup.py" in head.partition("ray up")[0]
    assert not re.search(r"(ami|sg|subnet)-[0-9a-f]{8,}", FILE.read_text()), "the file is used as typed"
    space = re.search(r"python -m platform\.sweep (\S+)", head)
    assert space is not None and (ROOT / space[1]).exists()
