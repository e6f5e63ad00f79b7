"""Many inputs of one seed, and the counts of what became of them."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import stat
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from platform.sweepfile.yaml_tree import dump
from tests.fuzz import runs
from tests.fuzz.data_sets import data_set
from tests.fuzz.sweep_files import sweep_files

BASE = {
    "name": "fuzz",
    "methods": ["supervised"],
    "train": {"steps": 10, "batch_size": 8},
    "budget": {"trials": 1},
    "tracking": "none",
}
LABELS: tuple[dict[str, Any], ...] = (
    {},
    {"per_class": 1},
    {"noise": "symmetric", "rate": 0.2},
    {"noise": "column:more"},
)


class Campaign:
    """Inputs come from hypothesis, by `seed`; one that breaks the promise is kept in `keep`, once for each reason."""

    def __init__(self, folder: Path, seed: int, keep: Path) -> None:
        self.folder, self.seed, self.keep = folder, seed, keep
        self.codes: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.slowest, self.start = (0.0, ""), time.monotonic()
        self._warm_up()

    def _warm_up(self) -> None:
        """Import what the door imports, every method included: the limits are for an input's own time and memory."""
        from platform.core.registry import METHODS

        path = self.folder / "good.yaml"
        names = [name for name in METHODS.names() if name not in ("l2rw", "mw_net")]  # they need labels.clean
        path.write_text(dump({**BASE, "methods": names, "data": {"source": "digits", "limit": 200}}))
        result = runs.here(path, self.folder / "results", limited=False)
        assert result.code == 0 and not result.complaint, result

    def sweep_files(self, count: int, real: int = 0) -> None:
        path = self.folder / "sweep.yaml"

        def one(draw: Callable[..., Any]) -> Path:
            path.write_bytes(draw(sweep_files()))
            return path

        self._many("sweep files", count, real, one)

    def data_sets(self, count: int, real: int = 0) -> None:
        top, path = self.folder / "data", self.folder / "data.yaml"

        def one(draw: Callable[..., Any]) -> Path:
            shutil.rmtree(top, ignore_errors=True)
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
            top.mkdir()
            labels = draw(st.sampled_from(LABELS))
            path.write_text(dump({**BASE, "data": data_set(draw, top), "labels": {"val": 0.3, **labels}}))
            return path

        self._many("data sets", count, real, one)

    def _many(self, what: str, count: int, real: int, write: Callable[[Any], Path]) -> None:
        """`count` different inputs: hypothesis itself may give one several times."""
        seen: set[bytes] = set()

        def one(data: Any) -> None:
            path = write(data.draw)  # also where there are enough: hypothesis wants the same draws every time
            content = _content(path, self.folder / "data" if what == "data sets" else None)
            if len(seen) >= count or content in seen:
                return
            seen.add(content)
            if len(seen) % 250 == 0:
                print(f"{len(seen):,} {what}, {time.monotonic() - self.start:.0f} s", flush=True)
            self._take(what, path, runs.here(path, self.folder / "results"), len(seen))
            if real and len(seen) % max(1, count // real) == 0:
                self._take(f"{what} in a process", path, runs.elsewhere(path, self.folder / "results"), len(seen))

        options = settings(
            deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        number = self.seed * 1_000_003
        while len(seen) < count:
            batch = settings(options, max_examples=min(500, 20 + 2 * (count - len(seen))))
            seeded(number)(batch(given(st.data())(one)))()
            number += 1

    def _take(self, what: str, path: Path, result: runs.Result, number: int) -> None:
        if result.code in (130, 143):  # a signal meant this process; the door took it for its own
            raise KeyboardInterrupt
        self.codes[f"{what}: exit code {result.code}"] += 1
        self.slowest = max(self.slowest, (result.seconds, f"{what} {number}"))
        if not result.complaint:
            return
        reason = f"{what}: {result.complaint.strip().splitlines()[-1][:200]}"
        self.failures[reason] += 1
        if self.failures[reason] == 1:
            self.keep.mkdir(parents=True, exist_ok=True)
            name = f"{what.replace(' ', '-')}-seed-{self.seed}-{number}"
            shutil.copy(path, self.keep / f"{name}.yaml")
            (self.keep / f"{name}.txt").write_text(result.complaint + "\n" + result.told, errors="backslashreplace")
            if what.startswith("data"):
                shutil.copytree(
                    self.folder / "data", self.keep / name, symlinks=True, dirs_exist_ok=True, ignore=_special
                )
            print(f"{name}: {result.complaint}", flush=True)

    def summary(self) -> str:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        lines = [f"{kind}: {count:,}" for kind, count in sorted(self.codes.items())]
        lines += [f"FAILED {count:,} times: {reason}" for reason, count in self.failures.most_common()]
        seconds = time.monotonic() - self.start
        slowest = f"slowest {self.slowest[0]:.1f} s ({self.slowest[1]})"
        lines.append(f"seed {self.seed}, {seconds:.0f} s, peak {peak:.2f} GiB, " + slowest)
        return "\n".join(lines)


def _content(path: Path, folder: Path | None) -> bytes:
    """A hash of what was written: the sweep file, and the names and bytes of a data set's files."""
    total = hashlib.sha256(path.read_bytes())
    for place in sorted(os.fsencode(p) for p in folder.rglob("*")) if folder else ():
        total.update(place + (Path(os.fsdecode(place)).read_bytes() if stat.S_ISREG(os.lstat(place).st_mode) else b""))
    return total.digest()


def _special(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not (Path(folder, name).is_file() or Path(folder, name).is_dir())]
