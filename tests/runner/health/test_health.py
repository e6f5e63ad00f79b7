"""What the doctor makes of what nodes say: versions, tokens, clocks, GPUs, disks, data; the table; the exit code."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from platform import doctor
from platform.core.errors import UserError
from platform.runner.health import examine, node_facts
from platform.runner.health.health_findings import HealthFinding, judge
from platform.runner.health.health_table import health_table
from platform.runner.health.node_facts import NodeFacts, NodeRequest

VERSIONS = {"python": "3.12.1", "ray": "2.60.0", "torch": "2.15.0", "torchvision": "0.29.2", "numpy": "2.4.6"}
GOOD = NodeFacts("one", VERSIONS, "aaaa1111", gpu="none", disk=100, memory=20, sees_shared=True, node="one 10.0.0.1")


@pytest.mark.parametrize(
    ("changed", "check", "verdict", "words"),
    [
        ({"versions": VERSIONS | {"torch": "2.14.0"}}, "versions", "bad", "torch 2.14.0"),
        ({"token": "bbbb2222"}, "token", "bad", "another one: bbbb2222"),
        ({"token": ""}, "token", "bad", "there is none"),
        ({"offset": 30.0}, "clock", "note", "30 s ahead of the driver's"),
        ({"offset": -8.0}, "clock", "note", "8 s behind the driver's"),
        ({"gpus": 2.0, "gpu_usable": False, "driver": "535.1"}, "GPU", "bad", "2, torch can use none: none, driver 535.1"),
        ({"driver": "580.2"}, "GPU", "note", "torch sees none, driver 580.2"),
        ({"disk": 1.0}, "disk", "bad", "1.0 GiB free"),
        ({"memory": 0.5}, "memory", "bad", "0.5 GiB free"),
        ({"sees_shared": False}, "results folder", "note", "the driver's folder is not seen here"),
        ({"data_error": "no folder /data"}, "data", "bad", "no folder /data"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_node_is_named_with_the_node(
    changed: dict[str, Any], check: str, verdict: str, words: str
):
    sick = replace(GOOD, node="two 10.0.0.2", **changed)
    found = judge(GOOD, [GOOD, sick])
    (wrong,) = [each for each in found if each.verdict != "good"]
    assert (wrong.check, wrong.node, wrong.verdict) == (check, "two 10.0.0.2", verdict)
    assert words in wrong.found and wrong.advice


def test_the_quick_part_asks_for_little():
    checks = {each.check for each in judge(GOOD, [replace(GOOD, gpus=1.0)], quick=True)}
    assert checks == {"versions", "token", "clock", "GPU"}
    assert {each.check for each in judge(GOOD, [GOOD], quick=True)} == {"versions", "token", "clock"}


def test_before_a_sweep_what_is_bad_is_an_error_and_the_rest_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(examine, "node_facts", lambda request: GOOD)
    nodes = [GOOD, replace(GOOD, node="two", offset=60.0)]
    monkeypatch.setattr(examine, "_ask", lambda request, seconds: (nodes, ["three"]))
    late, clock = examine.check_nodes()
    assert late.startswith("three: package: no answer in 30 s") and clock.startswith("two: clock: 60 s ahead")
    nodes.append(replace(GOOD, node="four", token="bbbb2222"))
    with pytest.raises(UserError, match="four: token: another one: bbbb2222"):
        examine.check_nodes()


def test_a_table_of_many_nodes_is_short_and_names_the_sick_one():
    nodes = [replace(GOOD, node=f"node {number}") for number in range(30)]
    nodes[7] = replace(nodes[7], disk=1.0)
    for width in (80, 120):
        console = Console(file=io.StringIO(), width=width)
        console.print(health_table(judge(GOOD, nodes)))
        shown = console.file.getvalue()
        assert shown.count("all 30 nodes") == 6 and len(shown.splitlines()) < 12, shown
        (sick,) = [line for line in shown.splitlines() if "1.0 GiB free" in line]
        assert "node 7 " in sick and "bad" in sick and " 29 nodes " in shown


def test_a_node_says_that_it_reads_what_the_driver_wrote_and_what_its_data_is(tmp_path, monkeypatch):
    (tmp_path / "word").write_text("abc")
    data = '{"source": "digits", "limit": 100}'
    request = NodeRequest(quick=False, shared=str(tmp_path / "word"), word="abc", data=data)
    facts = node_facts.node_facts(request)
    assert facts.sees_shared and facts.data.startswith("100 + ") and not facts.data_error and facts.disk > 0
    other = node_facts.node_facts(replace(request, word="abd", data='{"source": "nothing"}'))
    assert other.sees_shared is False and "nothing" in other.data_error
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert not node_facts.node_facts(NodeRequest(gpus=1.0)).gpu_usable


def test_the_token_is_told_by_its_hash_only(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "c" * 64)
    shown = node_facts.token_hash()
    assert len(shown) == 8 and "cccc" not in shown
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/nowhere")
    assert node_facts.token_hash() == ""


def test_the_exit_code_of_the_command(monkeypatch, capsys):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for verdict, code in (("good", 0), ("note", 0), ("bad", 1)):
        finding = HealthFinding("disk", "one", verdict, "1 GiB", "free some space")
        monkeypatch.setattr(examine, "local_findings", lambda results, sweep, finding=finding: [finding])
        assert doctor.main([]) == code
    assert "1 of 2 findings are bad" in capsys.readouterr().out
    assert doctor.main(["--address", "127.0.0.1:1"]) == 2
    assert "no Ray cluster answers at 127.0.0.1:1" in capsys.readouterr().err
