"""cluster/aws_setup.py against a pretended AWS (moto): what it makes, and that `ray up` can use it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.cluster.test_gpu_yaml import FILE

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto")
pytestmark = pytest.mark.slow

REGION = "us-west-2"
HERE = "192.0.2.7/32"


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    import importlib.util

    spec = importlib.util.spec_from_file_location("aws_setup", FILE.with_name("aws_setup.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "pretended")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    with moto.mock_aws():
        yield module


def group() -> dict[str, Any]:
    filters = [{"Name": "group-name", "Values": ["kurabe"]}]
    (found,) = boto3.client("ec2", region_name=REGION).describe_security_groups(Filters=filters)["SecurityGroups"]
    return found


def template(name: str) -> dict[str, Any]:
    client = boto3.client("ec2", region_name=REGION)
    found = client.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])
    return found["LaunchTemplateVersions"][0]


def test_it_may_be_repeated_and_removed(setup: ModuleType, tmp_path: Path):
    assert setup.main(["--ssh-from", HERE]) == 0
    token = tmp_path / ".ray" / "auth_token"
    first, made = token.read_text(), (group(), template("kurabe-head"), template("kurabe-worker"))
    assert len(first) == 64 and token.stat().st_mode & 0o777 == 0o600
    assert setup.main(["--ssh-from", HERE]) == 0
    assert (group(), template("kurabe-head"), template("kurabe-worker")) == made and token.read_text() == first
    assert setup.main(["--remove"]) == 0 and setup.main(["--remove"]) == 0
    assert not boto3.client("iam").list_roles()["Roles"]


def test_ssh_is_open_to_one_address_and_an_old_one_is_closed(setup: ModuleType):
    setup.main(["--ssh-from", "198.51.100.1/32"])
    setup.main(["--ssh-from", HERE])
    rules = group()["IpPermissions"]
    assert [(r["FromPort"], r["IpRanges"][0]["CidrIp"]) for r in rules if r["IpRanges"]] == [(22, HERE)]
    (inside,) = [r for r in rules if r["UserIdGroupPairs"]]
    assert inside["UserIdGroupPairs"][0]["GroupId"] == group()["GroupId"]
    with pytest.raises(SystemExit):
        setup.main(["--ssh-from", "0.0.0.0/0"])


def test_the_workers_are_spot_where_asked_and_on_demand_again(setup: ModuleType):
    for words, expected in ((["--spot"], {"MarketType": "spot"}), ([], None)):
        setup.main(["--ssh-from", HERE, *words])
        assert template("kurabe-worker")["LaunchTemplateData"].get("InstanceMarketOptions") == expected
        assert "InstanceMarketOptions" not in template("kurabe-head")["LaunchTemplateData"]


def test_the_head_may_do_what_it_needs_and_no_more(setup: ModuleType):
    setup.main(["--ssh-from", HERE, "--bucket", "mine"])
    found = boto3.client("iam").get_role_policy(RoleName="kurabe-head", PolicyName="kurabe")["PolicyDocument"]
    statements = (json.loads(found) if isinstance(found, str) else found)["Statement"]
    actions = {
        action for s in statements for action in (s["Action"] if isinstance(s["Action"], list) else [s["Action"]])
    }
    looks = {"ec2:Describe*", "ssm:GetParameters", "s3:ListBucket", "s3:GetObject", "s3:PutObject"}
    assert actions == looks | {"ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances"}
    for statement in statements:
        if "ec2:TerminateInstances" in statement["Action"]:
            assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/ray-cluster-name": "kurabe"}}
    assert not any(action.startswith("iam:") or action.endswith(":*") for action in actions)


def test_ray_starts_a_head_and_a_worker_from_the_file_as_it_is(setup: ModuleType):
    """The part of `ray up` that speaks with AWS, up to the instances; what follows it does over ssh."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config

    setup.main(["--ssh-from", HERE, "--spot"])
    os.makedirs(os.path.expanduser("~/.ssh"))
    ready = bootstrap_aws(prepare_config(yaml.safe_load(FILE.read_text())))
    provider = AWSNodeProvider(ready["provider"], ready["cluster_name"])
    for name in ("head", "gpu"):
        provider.create_node(ready["available_node_types"][name]["node_config"], {"ray-user-node-type": name}, 1)
    ec2 = boto3.client("ec2", region_name=REGION)
    found = {}
    for reservation in ec2.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
            assert tags["ray-cluster-name"] == "kurabe"
            found[tags["ray-user-node-type"]] = instance
            assert [g["GroupId"] for g in instance["SecurityGroups"]] == [group()["GroupId"]]
    assert found["head"]["InstanceType"] == "m7i.large" and found["gpu"]["InstanceType"] == "g6.xlarge"
    assert found["head"]["IamInstanceProfile"]["Arn"].endswith("/kurabe-head")
    assert "IamInstanceProfile" not in found["gpu"]
    assert (
        len(ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["ray-*"]}])["SecurityGroups"]) == 0
    )
