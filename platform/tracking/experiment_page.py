"""The page of an experiment in MLflow: its note with what was found, and its saved views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from platform.core.headlines import Headlines
from platform.core.redaction import redact, redact_command
from platform.core.row import SweepInfo
from platform.tracking.limits import MAX_TAG_OF_EXPERIMENT, cut
from platform.tracking.run_content import NOTE, now
from platform.tracking.study_content import labels_note
from platform.tracking.views import FAILED, KNOWN_VERSIONS, METHODS, TRIALS, WINNERS, link, view_tags

__all__ = ["ExperimentPage"]

_ESCAPED = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|"})


@dataclass(frozen=True)
class ExperimentPage:
    """headlines: what was found so far; empty before the first trial has ended."""

    info: SweepInfo
    headlines: Headlines = field(default_factory=Headlines)

    def tags(self, experiment_id: str, version: str) -> dict[str, str]:
        """Tags of the experiment. version: of the server that shows the page; of an unknown one, no views."""
        known = knows_views(version)
        tags = {"mlflow.experimentKind": "custom_model_development"}  # else the page opens on traces of language models
        tags[NOTE] = cut(self._note(experiment_id, known), MAX_TAG_OF_EXPERIMENT)
        return tags | (view_tags(self.info, self.headlines.metric, now()) if known else {})

    def _note(self, experiment_id: str, views: bool) -> str:
        """Without secrets; the links are left as they are: one of their words looks like a key."""
        info, found = self.info, self.headlines
        parts = []
        if found.sentences:
            parts.append("\n".join(f"- {redact(sentence).translate(_ESCAPED)}" for sentence in found.sentences))
        parts += [redact(found.leaderboard)] if found.leaderboard else []
        text = f"One run per method and study, below it one per trial, winner by {info.select}.{labels_note(info)}"
        if found.reference:
            text += f" `difference`: to {found.reference}, on the same study."
        parts.append(text + (" " + _views(experiment_id) if views else ""))
        commands = found.commands or {"run it again, or go on": redact_command(info.command)}
        parts.append("\n".join(f"- {purpose}: `{redact(command)}`" for purpose, command in commands.items()))
        return "\n\n".join(parts)


def knows_views(version: str) -> bool:
    """Whether the format of this version's views is known."""
    return ".".join(version.split(".")[:2]) in KNOWN_VERSIONS


def _views(experiment_id: str) -> str:
    pages: Sequence[tuple[str, str]] = (
        ("methods", link(experiment_id, METHODS)),
        ("charts of methods", link(experiment_id, METHODS, charts=True)),
        ("winners", link(experiment_id, WINNERS)),
        ("trials by score", link(experiment_id, TRIALS)),
        ("failed and diverged trials", link(experiment_id, FAILED)),
    )
    return "Views: " + ", ".join(f"[{name}]({address})" for name, address in pages) + "."
