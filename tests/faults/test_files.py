"""What a kill or a bad disk may leave of the files: a torn ledger, half a checkpoint, a flipped bit in either."""

from __future__ import annotations

import json
import random
import re

import pytest

from tests.faults.scene import STEPS, Scene
from tests.long import long

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


@long  # the flipped bit below takes the same way
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


def test_a_flipped_bit_in_a_checkpoint(make_scene, undisturbed, seed):
    expected, chance = undisturbed(), random.Random(f"bit of a checkpoint {seed}")
    scene = make_scene(step_seconds=0.1)
    driver = scene.start()
    key = scene.until(lambda: _just_reported(scene))
    scene.kill("driver", driver)
    checkpoint = scene.results / "checkpoints" / f"{key}.pt"
    checkpoint.write_bytes(_flipped(checkpoint.read_bytes(), chance))
    scene.finish()
    assert "its checkpoint cannot be used, so it starts over: " in scene.output
    scene.check(expected, STEPS)


def test_a_flipped_bit_in_the_ledger(make_scene, undisturbed, seed):
    """Somewhere between its first line and its last."""
    expected, chance = undisturbed(), random.Random(f"bit of the ledger {seed}")
    scene = make_scene()
    driver = scene.start()
    scene.until(lambda: scene.ledger.exists() and scene.ledger.read_text().count('"ended"') >= 2)
    scene.some_moment(chance)
    scene.kill("driver", driver)
    lines = scene.ledger.read_bytes().splitlines(keepends=True)
    number = chance.randrange(1, len(lines) - 1)
    damaged = b"".join([*lines[:number], _flipped(lines[number][:-1], chance), b"\n", *lines[number + 1 :]])
    scene.ledger.write_bytes(damaged)
    scene.finish()
    assert f"ledger.jsonl:{number + 1}:" in "".join(scene.output.split())
    assert (scene.results / "ledger.damaged-1.jsonl").read_bytes() == damaged
    event = json.loads(lines[number])
    lost = (event["key"], int(event["report"]["step"])) if event["event"] == "reported" else None
    scene.check(expected, STEPS, lost)


def _flipped(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def _just_reported(scene: Scene) -> str | None:
    """The trial whose evaluation is the last event of the ledger: it goes on for some steps now."""
    lines = scene.ledger.read_text().splitlines() if scene.ledger.exists() else []
    found = re.match(r'\{"event": "reported", "key": "(\w+)"', lines[-1]) if lines else None
    return found and found[1]
