"""What happens around a sweep: its machine is taken away, MLflow's server goes and comes back, the clock jumps."""

from __future__ import annotations

import random
import time

import pandas as pd
import pytest

from tests.faults.scene import TRIALS, terminate
from tests.long import long
from tests.tracking.test_server import Server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

CLOCK = '''"""Put first on the path: time.time() is off by what a file says, in every process of the sweep."""
import os
import time

_real, _real_ns = time.time, time.time_ns


def _offset():
    try:
        with open(os.environ["CLOCK_OFFSET"]) as file:
            return float(file.read() or 0)
    except OSError:
        return 0.0


time.time = lambda: _real() + _offset()
time.time_ns = lambda: _real_ns() + int(_offset() * 1e9)
'''


def test_a_machine_that_is_taken_away(make_scene, undisturbed, seed):
    expected, chance = undisturbed(), random.Random(f"preempted {seed}")
    scene = make_scene()
    driver = scene.start()
    scene.some_moment(chance)
    terminate(driver)
    scene.kills += 1
    code = scene.wait()
    assert code != 0 or scene.ledger.read_text().count('"ended"') == TRIALS, scene.output  # or it had just ended
    scene.finish()
    scene.check(expected)


def test_a_server_that_goes_and_comes_back(make_scene, undisturbed, seed, empty_database, tmp_path):
    expected, chance = undisturbed(), random.Random(f"server {seed}")
    database = tmp_path / "server.db"
    database.write_bytes(empty_database.read_bytes())
    server = Server(database)
    try:
        server.start()
        scene = make_scene(tracking=server.uri, step_seconds=0.1)
        scene.start()
        scene.some_moment(chance, at_most=30)
        server.kill()
        scene.kills += 1
        steps = len(scene.steps)
        scene.until(lambda: "Training goes on" in scene.output)
        scene.until(lambda: len(scene.steps) > steps + 2)  # and it does
        server.start()
        assert scene.wait() == 0, scene.output
        scene.finish(runs=1)  # what was not delivered before the sweep ended
        scene.check(expected)
    finally:
        server.kill()


@long
def test_a_clock_that_jumps(make_scene, undisturbed, seed):
    """Nothing is measured or put in order by the wall clock: a day ahead, then three days back."""
    expected, chance = undisturbed(), random.Random(f"clock {seed}")
    scene = make_scene()
    (scene.folder / "clock").mkdir()
    (scene.folder / "clock" / "sitecustomize.py").write_text(CLOCK)
    offset = scene.folder / "offset"
    scene.environment |= {"PYTHONPATH": str(scene.folder / "clock"), "CLOCK_OFFSET": str(offset)}
    begin = time.monotonic()
    scene.start()
    for jump in (86_400, -3 * 86_400):
        scene.some_moment(chance)
        offset.write_text(str(jump))
    assert scene.wait() == 0, scene.output
    scene.check(expected)
    seconds = pd.read_csv(scene.results / "trials.csv").seconds
    assert seconds.min() > 0 and seconds.sum() < time.monotonic() - begin
