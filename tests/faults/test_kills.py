"""kill -9 at random moments: run the same command again, and it is as if nothing had happened."""

from __future__ import annotations

import random

import pytest

from tests.long import long

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.mark.parametrize("slots", [1, pytest.param(2, marks=long)])
def test_the_driver(make_scene, undisturbed, seed, slots):
    expected, chance = undisturbed(slots), random.Random(f"driver {slots} {seed}")
    scene = make_scene(slots=slots)
    for _ in range(2):
        driver = scene.start()
        scene.some_moment(chance)
        scene.kill("driver", driver)
    scene.finish()
    scene.check(expected)


def test_a_worker(make_scene, undisturbed, seed):
    expected, chance = undisturbed(), random.Random(f"worker {seed}")
    scene = make_scene()
    driver = scene.start()
    for _ in range(2):
        scene.some_moment(chance)
        scene.kill("Trainable", driver)
    assert scene.wait() == 0, scene.output
    scene.check(expected)


@pytest.mark.parametrize("process", ["raylet", pytest.param("gcs_server", marks=long)])
def test_ray_itself(make_scene, undisturbed, seed, process):
    """The driver goes on by itself: it starts another Ray."""
    expected, chance = undisturbed(), random.Random(f"{process} {seed}")
    scene = make_scene()
    driver = scene.start()
    scene.some_moment(chance)
    scene.kill(process, driver)
    assert scene.wait() == 0, scene.output
    assert f"Ray's {process} (process" in scene.output and "killed by SIGKILL) is gone" in scene.output
    scene.check(expected)
