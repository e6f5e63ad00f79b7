"""A bounded run of `make fuzz`: each input ends in exit code 0 or 2, in words, under 10 seconds and 2 GiB."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.campaign import Campaign

pytestmark = pytest.mark.slow


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Campaign:
    monkeypatch.setenv("KURABE_CACHE", str(tmp_path / "cache"))
    return Campaign(tmp_path, seed=3, keep=tmp_path / "kept")


def test_sweep_files(campaign: Campaign) -> None:
    campaign.sweep_files(120)
    assert not campaign.failures, campaign.summary()
    assert all(campaign.codes[f"sweep files: exit code {code}"] > 5 for code in (0, 2)), campaign.codes


def test_data_sets(campaign: Campaign) -> None:
    campaign.data_sets(40)
    assert not campaign.failures, campaign.summary()
    assert all(campaign.codes[f"data sets: exit code {code}"] > 2 for code in (0, 2)), campaign.codes
