"""One storm: a small sweep under a series of accidents, then the proof that nothing came of them."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil

from tests.chaos.accidents import ENDS_THE_RUN, WHILE_IT_RUNS, changed, flip_bit
from tests.faults.scene import INTERVAL, STEPS, Scene
from tests.tracking.test_server import Server

MORE = "retry: {lost: 1000}\nwatch: {disk_floor: 1}"
DISK = 48  # MiB
REFUSED = 2
RUNS = 4
"""Runs of a storm with accidents, at most; the last one, without, is beside them."""


@dataclass
class Storm:
    """`folder` is the storm's own. images: the sweep's data, shared by all storms. Counts what happened."""

    folder: Path
    seed: int
    images: Path
    empty_database: Path
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.generator = random.Random(f"storm {self.seed}")
        self.allowed = 0  # steps that may be made again beside those of kills
        self.server: Server | None = None
        self.mounted = False
        self.folder.mkdir(parents=True)

    def run(self, undisturbed: pd.DataFrame) -> None:
        """Raises AssertionError, or pytest's Failed, where a promise is broken."""
        scene = self._scene()
        try:
            for _ in range(self.generator.randint(1, RUNS)):
                if self._one_run(scene):
                    break
                self._between_runs(scene)
            self._finish(scene)
            scene.check(undisturbed, self.allowed)
            self._nothing_left(scene)
            self._checkpoints_go_on(scene)
        finally:
            self.counts["kills"] += scene.kills
            scene.end()
            if self.server is not None:
                self.server.kill()
            if self.mounted:
                subprocess.run(["umount", "--lazy", str(scene.results.parent)], check=False)

    def _scene(self) -> Scene:
        tracking = ""
        if self.generator.random() < 0.25:
            database = self.folder / "server.db"
            shutil.copy(self.empty_database, database)
            self.server = Server(database)
            self.server.start()
            tracking = self.server.uri
        data = f"{{source: image_folder, path: {self.images}}}"
        scene = Scene(self.folder, self.empty_database, step_seconds=0.06, tracking=tracking, data=data, more=MORE)
        place = scene.results.parent
        place.mkdir()
        self.mounted = self.generator.random() < 0.5 and _mount(place)
        return scene

    def _one_run(self, scene: Scene) -> bool:
        """One run of the command under accidents; whether it came to its end."""
        driver = scene.start()
        of_ray = 0
        for _ in range(self.generator.randint(6, 24)):
            if not _moment(scene, self.generator):
                break
            name = self._choose(of_ray)
            if name == "MLflow stopped":
                self._stop_server()
            else:
                try:
                    WHILE_IT_RUNS[name](scene, driver, self.generator)
                except psutil.NoSuchProcess:
                    continue
                except BaseException:
                    if scene.drivers[-1].poll() is None:
                        raise
                    break  # the sweep ended before it could happen
            self.counts[name] += 1
            of_ray += name in ("raylet killed", "GCS killed", "node killed")
            if name in ENDS_THE_RUN:
                return False
        if self.server is not None and self.server.process is None:
            self.server.start()
        return scene.wait() == 0

    def _choose(self, of_ray: int) -> str:
        weights = {name: 1.0 for name in WHILE_IT_RUNS} | {"worker killed": 9.0}
        if of_ray >= 3:  # a private Ray that dies again and again ends the run, as it should
            weights |= dict.fromkeys(("raylet killed", "GCS killed", "node killed"), 0.0)
        if not self.mounted:
            weights["disk filled"] = 0.0
        if self.server is not None:
            weights["MLflow stopped"] = 2.0
        return self.generator.choices(list(weights), list(weights.values()))[0]

    def _stop_server(self) -> None:
        assert self.server is not None
        if self.server.process is None:
            self.server.start()
        else:
            self.server.kill()

    # -- between two runs ----------------------------------------------------------------------------------------------

    def _between_runs(self, scene: Scene) -> None:
        for accident in (self._flip_in_ledger, self._flip_in_checkpoint, self._torn, self._code, self._data):
            if self.generator.random() < 0.3 and scene.ledger.exists():
                accident(scene)

    def _flip_in_ledger(self, scene: Scene) -> None:
        """Not in the first line: without it a ledger says of no sweep, and is refused."""
        first = scene.ledger.read_bytes().index(b"\n") + 1
        if scene.ledger.stat().st_size > first:
            flip_bit(scene.ledger, self.generator, first)
            self.allowed += STEPS
            self.counts["bit flipped in the ledger"] += 1

    def _flip_in_checkpoint(self, scene: Scene) -> None:
        files = sorted((scene.results / "checkpoints").glob("*.pt"))
        if files:
            flip_bit(self.generator.choice(files), self.generator)
            self.allowed += STEPS
            self.counts["bit flipped in a checkpoint"] += 1

    def _torn(self, scene: Scene) -> None:
        content = scene.ledger.read_bytes()
        last = content.splitlines(keepends=True)[-1]
        if len(content) > len(last):
            scene.ledger.write_bytes(content[: -self.generator.randrange(1, len(last))])
            self.allowed += STEPS
            self.counts["ledger torn"] += 1

    def _code(self, scene: Scene) -> None:
        double = lambda text: text.replace(b"labelled=", b"labelled=2 * ")  # noqa: E731
        self._refused(scene, scene.folder / "logged.py", double, "code changed")

    def _data(self, scene: Scene) -> None:
        image = self.generator.choice(sorted(self.images.rglob("*.png")))
        self._refused(scene, image, lambda _: None, "data changed")

    def _refused(self, scene: Scene, path: Path, change: Callable[[bytes], bytes | None], name: str) -> None:
        before = scene.ledger.read_bytes()
        with changed(path, change):
            scene.start()
            assert scene.wait() == REFUSED, f"{name}, and the sweep went on:\n{scene.output[-3000:]}"
        assert scene.ledger.read_bytes().startswith(before[: before.rindex(b"\n") + 1]) or self.allowed
        self.counts[name] += 1

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def _finish(self, scene: Scene) -> None:
        if self.server is not None and self.server.process is None:
            self.server.start()
        scene.finish(runs=3)
        if self.server is not None:
            scene.finish(runs=1)  # brings what MLflow missed
        self.counts["storms"] += 1
        self.counts["runs"] += len(scene.drivers)

    def _nothing_left(self, scene: Scene) -> None:
        """No process of the sweep and no half-written file."""
        owner = str(scene.results.resolve())
        left = []
        for process in psutil.process_iter():
            try:
                if any(owner in value for value in process.environ().values()):
                    left.append(process.cmdline())
            except psutil.Error:
                continue
        assert left == []
        assert [path for path in scene.results.rglob(".*") if path.name.endswith((".new", ".tmp"))] == []

    def _checkpoints_go_on(self, scene: Scene) -> None:
        """What is kept is of winners alone: one study, one state."""
        assert len(list((scene.results / "checkpoints").glob("*.pt"))) <= 1


def _moment(scene: Scene, generator: random.Random) -> bool:
    """Wait for a random moment of the run. False where it has ended."""
    try:
        scene.some_moment(generator, at_most=INTERVAL)
    except BaseException:
        if scene.drivers[-1].poll() is None:
            raise
    return scene.drivers[-1].poll() is None


def _mount(place: Path) -> bool:
    """A small disk at `place`; False where this is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(place)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def make_images(folder: Path) -> None:
    """100 of scikit-learn's digits as PNG files, ten of each class, and a test set of as many."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    taken: Counter[str] = Counter()
    for pixels, label in zip(digits.images, digits.target, strict=True):
        part = "train" if taken[f"train/{label}"] < 10 else "test"
        if taken[f"{part}/{label}"] >= 10:
            continue
        place = folder / part / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype("uint8")).save(place / f"{taken[f'{part}/{label}']}.png")
        taken[f"{part}/{label}"] += 1


def shorten(text: str) -> str:
    """The end of an output, for a report."""
    return re.sub(r"\n{2,}", "\n", text)[-4000:]
