"""Each check of the suite holds for a good method, and fails for one that breaks its rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from platform.conformance import CHECKS, run
from platform.conformance.no_sync import HostSync, NoHostSync
from tests.conformance.plugins import BROKEN, subject

CASES = [(name, change, complaint) for name, cases in BROKEN.items() for change, complaint in cases]
HERE = [name for name in CHECKS if name != "cuda"]


@pytest.mark.slow
@pytest.mark.parametrize("name", HERE)
def test_a_good_method_passes(name: str, tmp_path: Path) -> None:
    result = run(name, subject(tmp_path))
    assert (result.status, result.advice) == ("ok", ""), result.message


@pytest.mark.slow
@pytest.mark.parametrize(("name", "change", "complaint"), CASES, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(CASES)])
def test_a_method_that_breaks_the_rule_fails(
    name: str, change: tuple[str, str], complaint: str, tmp_path: Path
) -> None:
    result = run(name, subject(tmp_path, *change))
    assert result.status == "failed"
    assert complaint in result.message
    assert result.advice


def test_every_check_has_been_seen_to_fail() -> None:
    assert set(BROKEN) == set(HERE)


def test_an_error_is_told_by_the_methods_own_lines(tmp_path: Path) -> None:
    result = run("learns", subject(tmp_path, "losses.mean())", "losses.mean() / self.hyper.nothing)"))
    assert "AttributeError" in result.message
    assert "mine.py:27: return Terms(labelled=losses.mean() / self.hyper.nothing)" in result.message


def test_an_oracle_says_so(tmp_path: Path) -> None:
    oracle = subject(
        tmp_path, '    views = Views(labelled=("weak",))\n', "    views = Views()\n    uses_truth = True\n"
    )
    assert run("truth_unused", oracle).status == "skipped"


@pytest.mark.parametrize(
    "waits", [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: bool(x.any())]
)
def test_the_guard_sees_waiting(waits) -> None:
    import torch

    with pytest.raises(HostSync), NoHostSync():
        waits(torch.randn(5))
