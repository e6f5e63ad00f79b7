"""A sweep as a file: everything it was made with, every default filled in, secrets taken out."""

from __future__ import annotations

import json

import yaml

from platform.core.redaction import public, redact_command, scrub
from platform.core.row import SweepInfo

__all__ = ["sweep_yaml"]


def sweep_yaml(info: SweepInfo) -> str:
    """YAML that `python -m platform.sweep` takes, under the command that was typed."""
    known = info.resolved | {"tracking": public(info.tracking)}
    resolved = json.loads(json.dumps(scrub(known), default=str))
    return f"# {redact_command(info.command)}\n" + yaml.safe_dump(resolved, sort_keys=False)
