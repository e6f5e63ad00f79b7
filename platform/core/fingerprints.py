"""Hashes of all that a sweep's results depend on besides its settings: code, data, labels; and library versions.

Other code, data or labels are refused: rows that were made from them would stand in one table with rows that were not.
Other versions of libraries are not, since most updates change no result or only its last digits: they are recorded, and
a table of more than one says so.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from platform.core.row import Row

__all__ = ["Fingerprints", "mixed_versions"]


@dataclass(frozen=True)
class Fingerprints:
    """code: hash by "method NAME", "model NAME" or "selection rule NAME". labels: hash by "study INDEX", or "study
    INDEX, repeat NUMBER". images: how many, by part of the data. versions: by library."""

    training_version: int
    code: dict[str, str]
    data: str
    images: dict[str, int]
    labels: dict[str, str]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Fingerprints:
        """Raises ValueError where a field is missing or of another type."""
        return TypeAdapter(cls).validate_json(json.dumps(value), strict=True)

    def differences(self, before: Fingerprints | None, rows: Sequence[Row]) -> list[str]:
        """Lists the differences, a line each. before: of the run that began the ledger. rows: those it holds."""
        lines: list[str] = []
        if before and before.training_version != self.training_version:
            versions = f"{before.training_version} -> {self.training_version}"
            lines.append(f"the platform trains to other results than before (training version {versions})")
        else:
            lines += self._code_differences(before, rows)
        if any(old != self.data for old in _recorded(before and [before.data], (row.spec.data_hash for row in rows))):
            lines.append(f"data: {self._images_differ(before)}")
        lines += self._label_differences(before, rows)
        return lines

    def _code_differences(self, before: Fingerprints | None, rows: Sequence[Row]) -> list[str]:
        lines = []
        for name, code in self.code.items():
            made = [row for row in rows if name == f"method {row.method}"]
            recorded = before and [before.code.get(name, "")]
            old = sorted(_recorded(recorded, (row.spec.code for row in made)) - {code})
            if old:
                trials = Counter(row.spec.code for row in made)
                count = sum(trials[one] for one in old)
                there = f"; {count} of its trials are of the code before" if count else ""
                lines.append(f"code of {name}: {', '.join(old)} -> {code}{there}")
        return lines

    def _label_differences(self, before: Fingerprints | None, rows: Sequence[Row]) -> list[str]:
        made: dict[str, set[str]] = {}
        for row in rows:
            made.setdefault(labels_name(row.study.rpartition("/")[2], row.repeat), set()).add(row.spec.labels_hash)
        lines = []
        for name, labels in self.labels.items():
            old = sorted(_recorded(before and [before.labels.get(name, "")], made.get(name, ())) - {labels})
            if old:
                lines.append(f"labels of {name}: {', '.join(one[:12] for one in old)} -> {labels[:12]}")
        return lines

    def _images_differ(self, before: Fingerprints | None) -> str:
        now = _counted(self.images)
        if before is None:
            return f"other images, or other augmentation, than the trials there saw (now {now})"
        if before.images != self.images:
            return f"{_counted(before.images)} -> {now}"
        return f"as many images as before ({now}), but others, or another augmentation"


def labels_name(study: int | str, repeat: int) -> str:
    """The name of the labels of a study (by index) and a repeat in `Fingerprints.labels`."""
    return f"study {study}, repeat {repeat}" if repeat else f"study {study}"


def mixed_versions(versions: Sequence[dict[str, str]]) -> str:
    """A sentence on trials that were made with different libraries; "" where there are none."""
    names = sorted(
        {name for one in versions for name in one if any(other.get(name) != one[name] for other in versions)}
    )
    if not names:
        return ""
    seen = [f"{name} {', then '.join(dict.fromkeys(one.get(name, 'none') for one in versions))}" for name in names]
    return f"trials of this table were made with different versions of libraries: {'; '.join(seen)}"


def _recorded(before: Sequence[str] | None, rows: Any) -> set[str]:
    return {*(before or ()), *rows} - {""}


def _counted(images: dict[str, int]) -> str:
    return " and ".join(f"{count:,} {part}" for part, count in images.items())
