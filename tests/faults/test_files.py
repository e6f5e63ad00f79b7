"""What a kill or a bad disk may leave of the files: a torn ledger, half a checkpoint."""

from __future__ import annotations

import json
import random
import re

import pytest

from tests.faults.scene import STEPS, Scene

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def test_a_torn_ledger(make_scene, undisturbed, seed):
    """Its last line cut somewhere; the next time, bytes after it."""
    expected, chance = undisturbed(), random.Random(f"torn {seed}")
    scene = make_scene()
    lost = 0
    for how in ("cut", "garbage"):
        driver = scene.start()
        scene.some_moment(chance)
        scene.kill("driver", driver)
        content = scene.ledger.read_bytes()
        last = content.splitlines(keepends=True)[-1]
        if how == "cut":
            scene.ledger.write_bytes(content[: -chance.randrange(1, len(last))])
            lost = STEPS if json.loads(last)["event"] == "ended" else 0  # its checkpoint is gone already
        else:
            scene.ledger.write_bytes(content + chance.randbytes(200).replace(b"\n", b""))
    scene.finish()
    assert scene.output.count("the last line was half written; it is cut off") >= 2  # the last screen says it again
    scene.check(expected, lost)


def test_half_a_checkpoint(make_scene, undisturbed, seed):
    expected, chance = undisturbed(), random.Random(f"checkpoint {seed}")
    scene = make_scene(step_seconds=0.1)
    driver = scene.start()
    key = scene.until(lambda: _just_reported(scene))
    scene.kill("driver", driver)
    checkpoint = scene.results / "checkpoints" / f"{key}.pt"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: chance.randrange(len(content))])
    scene.finish()
    assert "its checkpoint cannot be used, so it starts over: not a checkpoint" in scene.output
    scene.check(expected, STEPS)


def _just_reported(scene: Scene) -> str | None:
    """The trial whose evaluation is the last event of the ledger: it goes on for some steps now."""
    lines = scene.ledger.read_text().splitlines() if scene.ledger.exists() else []
    found = re.match(r'\{"event": "reported", "key": "(\w+)"', lines[-1]) if lines else None
    return found and found[1]
