"""What asks for an accelerator asks platform/core/accelerator.py; on a CPU its answers are those of one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import platform.core.accelerator as accelerator

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
OF_CUDA_ITSELF = {
    "platform/core/accelerator.py",
    "platform/runner/health/node_facts.py",
}  # it looks for drivers


def test_no_other_file_asks_for_cuda():
    files = [path for folder in ("platform", "methods") for path in sorted((ROOT / folder).rglob("*.py"))]
    asks = re.compile(r"[\"']cuda[\"':]|\btorch\.cuda\b|\.cuda\(|\.is_cuda\b")
    found = {str(path.relative_to(ROOT)) for path in files if asks.search(path.read_text())}
    assert len(files) > 200 and found == OF_CUDA_ITSELF


def test_a_cpu_is_none():
    assert not accelerator.is_accelerator(CPU) and accelerator.fused(CPU)
    assert set(accelerator.rng_states(CPU)) == {"cpu"}
    accelerator.synchronize(CPU)


def test_the_cpu_goes_on_with_states_of_a_trial_on_another_device():
    states = accelerator.rng_states(CPU)
    drawn = torch.rand(3)
    accelerator.set_rng_states(CPU, states | {"cuda": torch.zeros(16, dtype=torch.uint8)})
    assert torch.rand(3).equal(drawn)


@pytest.mark.parametrize("pretended", ["", "cpu"])
def test_without_a_gpu_nothing_is_held_or_given_back(monkeypatch, pretended):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv(accelerator.PRETENDED, pretended)
    assert accelerator.allocated() == 0 and accelerator.available() == bool(pretended)
    assert accelerator.kind() == (pretended or "cuda")
    accelerator.release()


def test_with_one_its_own_numbers_are_asked_for(monkeypatch):
    asked = []
    monkeypatch.delenv(accelerator.PRETENDED, raising=False)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 7)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: asked.append("empty_cache"))
    assert accelerator.allocated() == 7
    accelerator.release()
    assert asked == ["empty_cache"]
