"""Sweeps under random accidents: kill -9 of driver, workers, raylet, GCS or all of Ray, SIGSTOP, SIGTERM of the process
group, a full disk, MLflow stopped, flipped bits, torn lines, changed code and data. After each storm every promise is
proved.

    python -m tests.chaos [--minutes 10] [--seed 0] [--storms N] [--keep DIR]

Exit code 0: all promises held. The counts are printed at the end, also after Ctrl-C; a storm that failed is kept with
its output.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import pandas as pd

from platform.core.uri import SecretUri
from platform.tracking import connection
from tests.chaos.storm import MORE, Storm, make_images, shorten
from tests.faults.scene import Scene, scene_table


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Sweeps under random accidents.")
    parser.add_argument("--minutes", type=float, default=10.0, help="no storm begins later than this")
    parser.add_argument("--seed", type=int, default=0, help="of the first storm; the next ones count up")
    parser.add_argument("--storms", type=int, default=1_000_000, help="at most so many")
    parser.add_argument("--keep", type=Path, help="folder for storms that failed (default: a temporary one)")
    options = parser.parse_args(argv)
    base = Path(tempfile.mkdtemp(prefix="kurabe-chaos-"))
    keep = options.keep or base / "failed"
    counts: Counter[str] = Counter()
    failed: list[str] = []
    end = time.monotonic() + 60 * options.minutes
    try:
        make_images(base / "images")
        database = base / "empty.db"
        connection.prepare(SecretUri(f"sqlite:///{database}"))
        undisturbed = _undisturbed(base, database)
        for seed in range(options.seed, options.seed + options.storms):
            if time.monotonic() > end:
                break
            if not _storm(base, seed, database, undisturbed, counts, keep):
                failed.append(str(seed))
    except KeyboardInterrupt:
        print("stopped; the storm that was under way does not count")
    finally:
        if not failed:
            shutil.rmtree(base, ignore_errors=True)
    for name, count in sorted(counts.items()):
        print(f"{count:6}  {name}")
    print(f"promises broken in storms: {', '.join(failed)} (kept in {keep})" if failed else "every promise held")
    return 1 if failed else 0


def _undisturbed(base: Path, database: Path) -> pd.DataFrame:
    folder = base / "undisturbed"
    folder.mkdir()
    data = f"{{source: image_folder, path: {base / 'images'}}}"
    scene = Scene(folder, database, step_seconds=0, data=data, more=MORE)
    try:
        scene.finish(runs=1)
        return scene_table(scene.results / "trials.csv")
    finally:
        scene.end()


def _storm(base: Path, seed: int, database: Path, undisturbed: pd.DataFrame, counts: Counter[str], keep: Path) -> bool:
    begin = time.monotonic()
    storm = Storm(base / f"storm-{seed}", seed, base / "images", database)
    problem = ""
    try:
        storm.run(undisturbed)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pytest's Failed is no Exception
        problem = "".join(traceback.format_exception(error))
    counts.update(storm.counts)
    happened = ", ".join(f"{count} {name}" for name, count in storm.counts.items() if name not in ("storms", "runs"))
    said = "every promise held" if not problem else "BROKEN"
    print(f"storm {seed}: {said} after {time.monotonic() - begin:.0f} s; {happened}", flush=True)
    if problem:
        print(shorten(problem), flush=True)
        keep.mkdir(parents=True, exist_ok=True)
        shutil.copytree(storm.folder, keep / storm.folder.name, dirs_exist_ok=True, ignore_dangling_symlinks=True)
    shutil.rmtree(storm.folder, ignore_errors=True)
    return not problem


if __name__ == "__main__":
    sys.exit(main())
