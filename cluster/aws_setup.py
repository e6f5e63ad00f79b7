"""Makes what cluster/gpu.yaml needs in an AWS account. Safe to repeat; changes nothing that is as it should be.

    .venv/bin/pip install -e ".[aws]" && .venv/bin/python cluster/aws_setup.py [--spot] [--bucket NAME]

A group that lets in SSH from one address and nothing else; a role with which the head can start and end workers of this
cluster and do no more (Ray's default is full access to EC2 and S3); launch templates that name the group, so that the
file has no placeholder. All cost nothing. --remove takes them away again.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import secrets
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import ClientError

NAME, HEAD, WORKER = "kurabe", "kurabe-head", "kurabe-worker"
FILE = Path(__file__).with_name("gpu.yaml")
TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}


def policy(cluster: str, bucket: str | None) -> dict[str, Any]:
    """What the head may do: look, start instances that bear the cluster's tag, tag these, end these."""
    mine = {"StringEquals": {"aws:ResourceTag/ray-cluster-name": cluster}}
    parts = (
        "image/*",
        "subnet/*",
        "network-interface/*",
        "security-group/*",
        "volume/*",
        "key-pair/*",
        "launch-template/*",
    )
    statements: list[dict[str, Any]] = [
        {"Action": ["ec2:Describe*"], "Resource": "*"},
        {
            "Action": "ec2:RunInstances",
            "Resource": "arn:aws:ec2:*:*:instance/*",
            "Condition": {"StringEquals": {"aws:RequestTag/ray-cluster-name": cluster}},
        },
        {"Action": "ec2:RunInstances", "Resource": [f"arn:aws:ec2:*:*:{part}/*" for part in parts]},
        {
            "Action": "ec2:CreateTags",
            "Resource": "arn:aws:ec2:*:*:instance/*",
            "Condition": {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
        },
        {"Action": "ec2:CreateTags", "Resource": "arn:aws:ec2:*:*:instance/*", "Condition": mine},
        {"Action": "ec2:TerminateInstances", "Resource": "arn:aws:ec2:*:*:instance/*", "Condition": mine},
        {"Action": "ssm:GetParameters", "Resource": "arn:aws:ssm:*:*:parameter/aws/service/*"},  # the image's number
    ]
    if bucket:
        places = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        statements.append({"Action": ["s3:ListBucket", "s3:GetObject", "s3:PutObject"], "Resource": places})
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]}


def unless(code: str, call: Callable[..., Any], **arguments: Any) -> Any:
    """Call, and pass over the error that says it is done already."""
    try:
        return call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise
        return None


def make_group(ec2: Any, ssh_from: str) -> str:
    """The group's id. Its members reach each other, ssh_from reaches port 22; other addresses for SSH are taken out."""
    filters = [{"Name": "group-name", "Values": [NAME]}]
    found = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    if not found:
        ec2.create_security_group(GroupName=NAME, Description="kurabe: ssh from one address")
        found = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    group = found[0]["GroupId"]
    inside = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": ssh_from}]}
    for rule in (inside, ssh):
        unless("InvalidPermission.Duplicate", ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[rule])
    for rule in found[0]["IpPermissions"]:
        stale = [each for each in rule.get("IpRanges", []) if each["CidrIp"] != ssh_from]
        if stale:
            old = {k: rule[k] for k in ("IpProtocol", "FromPort", "ToPort") if k in rule} | {"IpRanges": stale}
            ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[old])
    return group


def make_role(iam: Any, cluster: str, bucket: str | None) -> None:
    """The head's role and the instance profile that gives it."""
    trust = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
    unless("EntityAlreadyExists", iam.create_role, RoleName=HEAD, AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName=HEAD, PolicyName=NAME, PolicyDocument=json.dumps(policy(cluster, bucket)))
    if unless("EntityAlreadyExists", iam.create_instance_profile, InstanceProfileName=HEAD):
        iam.add_role_to_instance_profile(InstanceProfileName=HEAD, RoleName=HEAD)
        time.sleep(10)  # until EC2 knows it


def make_template(ec2: Any, name: str, content: dict[str, Any]) -> None:
    """A launch template whose newest version is `content`."""
    try:
        found = ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])
    except ClientError as error:
        if "NotFound" not in error.response["Error"]["Code"]:
            raise
        ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=content)
        return
    if found["LaunchTemplateVersions"][0]["LaunchTemplateData"] != content:
        ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=content)


def make_token(path: Path) -> None:
    """The token that Ray's nodes show each other, readable by its owner only; one that is there stays."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    path.chmod(0o600)


def remove(ec2: Any, iam: Any) -> None:
    filters = [{"Name": "launch-template-name", "Values": [HEAD, WORKER]}]
    for template in ec2.describe_launch_templates(Filters=filters)["LaunchTemplates"]:
        ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplateId"])
    unless("NoSuchEntity", iam.remove_role_from_instance_profile, InstanceProfileName=HEAD, RoleName=HEAD)
    unless("NoSuchEntity", iam.delete_instance_profile, InstanceProfileName=HEAD)
    unless("NoSuchEntity", iam.delete_role_policy, RoleName=HEAD, PolicyName=NAME)
    unless("NoSuchEntity", iam.delete_role, RoleName=HEAD)
    for group in ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [NAME]}])["SecurityGroups"]:
        ec2.delete_security_group(GroupId=group["GroupId"])


def one_address(text: str) -> str:
    """An argument such as 192.0.2.7/32. Not the whole internet."""
    network = ipaddress.ip_network(text)
    if network.prefixlen < 8:
        raise argparse.ArgumentTypeError(f"{text} lets in everybody")
    return str(network)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--spot", action="store_true", help="workers at a third of the price that AWS may take back")
    parser.add_argument("--bucket", help="an S3 bucket of yours that the head may copy results to")
    parser.add_argument("--ssh-from", type=one_address, metavar="CIDR", help="who may use SSH (default: this address)")
    parser.add_argument("--remove", action="store_true", help="take everything away again; after ray down")
    options = parser.parse_args(argv)
    config = yaml.safe_load(FILE.read_text())
    region = config["provider"]["region"]
    ec2, iam = boto3.client("ec2", region_name=region), boto3.client("iam", region_name=region)
    if options.remove:
        remove(ec2, iam)
        return 0
    source = options.ssh_from
    if source is None:
        with urllib.request.urlopen("https://checkip.amazonaws.com", timeout=10) as answer:
            source = one_address(answer.read().decode().strip())
    make_token(Path(os.path.expanduser("~/.ray/auth_token")))
    make_role(iam, config["cluster_name"], options.bucket)
    group = make_group(ec2, source)
    make_template(ec2, HEAD, {"SecurityGroupIds": [group]})
    spot = {"InstanceMarketOptions": {"MarketType": "spot"}} if options.spot else {}
    make_template(ec2, WORKER, {"SecurityGroupIds": [group], **spot})
    print(f"{region}: group {group}, ssh from {source}; workers are {'spot' if spot else 'on demand'}")
    print("next: .venv/bin/ray up -y cluster/gpu.yaml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
