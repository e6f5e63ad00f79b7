"""Bad input through the door: exit code 2, what and where and what to type next, and nothing was started."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from platform.sweep import main
from tests.runner.door import sweep

pytestmark = pytest.mark.slow

GOOD = """
name: bad-input
methods: [supervised]
data: {source: digits, limit: 300}
labels: {per_class: 4}
train: {steps: 10}
budget: {trials: 1}
tracking: none
"""


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


CASES = {
    "unknown key": (["trian.steps=5"], ["trian", "did you mean: train"]),
    "wrong type": (["train.steps=many"], ["train.steps", "'many' is not a positive whole number"]),
    "impossible range": (["search.train.lr={uniform: [0.3, 0.1]}"], ["low must be below high"]),
    "unknown method": (["methods=[supervize]"], ["did you mean: supervised"]),
    "unknown source": (["data={source: digitz}"], ["did you mean: digits"]),
    "when on a missing parameter": (["search={train.lr: {uniform: [0.1, 0.2], when: {centre: 1}}}"], ["centre"]),
    "more labels than there are": (["labels.per_class=500"], ["labels.per_class", "500"]),
    "a missing file": (["data={source: parquet, path: /no/such/folder}"], ["data.path", "/no/such/folder"]),
    "an oracle without truth": (["select=clean_val_accuracy", "data={source: image_folder, path: IMAGES}"], ["select"]),
    "a gate that does not fit the model": (
        ["methods=[layermatch]", "fixed={gate_mode: stages, gate_stages: 9}"],
        ["gate_stages", "at most 3"],
    ),
    "a meta batch larger than the meta set": (
        ["methods=[clid_mu]", "fixed={meta_batch_size: 500, meta_source: training}"],
        ["meta_batch_size"],
    ),
    "no image with a verified label": (["methods=[mw_net]"], ["labels.clean", "has no image", "clean: 100"]),
    "more verified labels than there are": (
        ["labels={noise: symmetric, rate: 0.4, clean: 5000}"],
        ["labels.clean", "5,000 images with verified labels asked", "at most"],
    ),
    "a negative number of verified labels": (["labels.clean=-1"], ["labels.clean", "-1"]),
    "images of a class that is not there": (
        ["data={source: digits, open_set: [10]}"],
        ["data.open_set", "no class '10'"],
    ),
    "more images of no class than there are": (
        ["data={source: digits, open_set: [9], open_set_rate: 0.5}"],
        ["data.open_set_rate", "at most 0."],
    ),
    "a rate of images of no class alone": (["data={source: digits, open_set_rate: 0.5}"], ["data.open_set_rate"]),
    "a group of a missing column": (
        ["labels={noise: symmetric, rate: 0.1, group: line=3, group_rate: 0.4}"],
        ["labels.group", "no label column 'line'", "class"],
    ),
    "a group without a form": (
        ["labels={noise: pair, rate: 0.1, group: line, group_rate: 0.4}"],
        ["labels.group", "line"],
    ),
    "a group without a rate": (
        ["labels={noise: pair, rate: 0.1, group: class=3}"],
        ["labels.group", "group_rate: 0.4"],
    ),
    "a group's rate without a group": (["labels={noise: pair, rate: 0.1, group_rate: 0.4}"], ["labels.group_rate"]),
    "a group of labels that nothing damages": (
        ["labels={group: class=3, group_rate: 0.4}"],
        ["labels.group", "noise 'none' has no rate"],
    ),
    "a transition matrix with an empty row": (
        ["methods=[forward_correction]", "fixed={transition: '1 0;'}"],
        ["fixed.transition", "row 2 is empty"],
    ),
    "a transition matrix of too few classes": (
        ["methods=[forward_correction]", "fixed={transition: '1 0; 0 1'}"],
        ["transition", "2 rows for 10 classes"],
    ),
    "no such preset": (["budget.preset=papers"], ["budget.preset", "did you mean: paper"]),
    "no limit at all": (["budget.trials=null"], ["budget.trials", "no seconds either", "seconds: 3600"]),
    "no seconds": (["budget.seconds=-1"], ["budget.seconds", "-1 is not a positive number"]),
    "repeats without a fresh seed": (
        ["budget.repeats=2", "seeds={noise: 1, split: 1, init: 1, order: 1}"],
        ["budget.repeats", "seeds pins every axis", "repeats: 0"],
    ),
    "no label per class": (["labels.per_class=0"], ["labels.per_class", "0 is not a positive whole number"]),
    "a centre temperature of 0": (
        ["methods=[layermatch]", "fixed.layermatch.centre_temperature=0"],
        ["fixed.layermatch.centre_temperature", "0 is not a positive number"],
    ),
    "a CLID temperature of 0": (
        ["methods=[clid_mu]", "fixed={temperature: 0}"],
        ["fixed.temperature", "0 is not a positive number"],
    ),
    "classes without any label": (["labels={total: 5}"], ["labels.total", "10 classes", "allowed: 10 and more"]),
    "no unlabelled image in a step": (
        ["methods=[fixmatch]", "fixed={uratio: 0}"],
        ["fixed.uratio", "0 is not a positive whole number"],
    ),
    "no cluster": (["--address", "127.0.0.1:1"], ["no Ray cluster answers at 127.0.0.1:1"]),
    "no address of a tracking server": (["tracking=http://127.0.0.1:x"], ["127.0.0.1", "tracking"]),
    "a tracking file that cannot be written": (
        ["tracking=sqlite:////dev/null/mlflow.db"],
        ["cannot write", "/dev/null", "tracking"],
    ),
    "a password in a setting that is recorded": (
        ["data={source: digits, path: 'https://me:hunter2@host/x'}"],
        ["data.path", "holds a password", "***@host"],
    ),
    "a folder for tracking": (["tracking=file:./mlruns"], ["sqlite:///"]),
}


HEADLESS = """
from torch import nn

from platform.models.parts.backbone import Backbone


class Headless(Backbone):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.body = nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], 8)
        self.head = nn.Sequential(nn.Linear(8, num_classes))

    def features(self, x):
        return self.body(x.flatten(1))


def build(image_shape, num_classes):
    return Headless(image_shape, num_classes)
"""
"""A network whose head is no layer with a weight, and that names no stages."""

RECIPES = {
    # recipe, what is written over it, the line that the error names, and what it says
    "a stage that the network has not": (
        "layermatch",
        {"  gate_mode: hard": "  gate_mode: stages\n  gate_stages: 9"},
        "  gate_stages: 9",
        "fixed.gate_stages: 9 is more than this model has; at most 5: stem, group1",
    ),
    "a layer that the network has not": (
        "clid_mu",
        {"  temperature: 0.5": "  layers: stage9=1"},
        "  layers: stage9=1",
        "fixed.layers: no such layer: 'stage9'",
    ),
    "a network without the head of which a projection takes the width": (
        "simmatch",
        {"model: wrn_28_2_usb": "model: ./headless.py"},
        "model: ./headless.py",
        "model: its head, Sequential, has no weight of [classes, features]",
    ),
    "the same of another method": (
        "unicon",
        {"model: preact_resnet18": "model: ./headless.py"},
        "model: ./headless.py",
        "model: its head, Sequential, has no weight of [classes, features]",
    ),
    "a network without the head of which centres take the width": (
        "layermatch",
        {"model: wrn_28_2_usb": "model: ./headless.py"},
        "  centre_mode: attract",
        "fixed.centre_mode: centres need a head with a weight",
    ),
}


@pytest.mark.parametrize("case", RECIPES)
def test_a_recipe_on_a_network_without_what_it_needs_names_the_line(tmp_path, monkeypatch, capsys, case):
    """On digits: what is wrong is the network, before a trial starts."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    name, changes, line, expected = RECIPES[case]
    text = (Path("search_spaces/recipes") / f"{name}.yaml").read_text()
    for old, new in {"source: cifar10": "source: digits, limit: 300", "gpu: 1": "gpu: auto", **changes}.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    (tmp_path / "headless.py").write_text(HEADLESS)
    code = main([str(path), "--results", str(tmp_path / "results"), "tracking=none"])
    told = capsys.readouterr()
    assert code == 2, told.out + told.err
    place, _, message = told.err.splitlines()[0].partition(": ")
    assert message.startswith(expected), told.err
    assert text.splitlines()[int(place.removeprefix(f"{path}:")) - 1].startswith(line)
    assert "nothing was started" in told.err and not (tmp_path / "results" / f"recipe-{name}").exists()


def images(folder: Path) -> Path:
    from PIL import Image

    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            Image.new("RGB", (8, 8), (number, 10, 10)).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_words_and_nothing_is_started(tmp_path, monkeypatch, capsys, case):
    """In this process: each of its own would import for four seconds. What follows below has real ones."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    overrides, expected = CASES[case]
    (tmp_path / "space.yaml").write_text(GOOD)
    if any("IMAGES" in word for word in overrides):
        folder = images(tmp_path / "images")
        overrides = [word.replace("IMAGES", str(folder)) for word in overrides]
    code = main([str(tmp_path / "space.yaml"), "--results", str(tmp_path / "results"), *overrides])
    told = capsys.readouterr()
    assert code == 2, told.out + told.err
    for words in expected:
        assert words in told.err
    assert "nothing was started" in told.err
    assert not (tmp_path / "results" / "bad-input").exists()


def test_all_errors_of_a_file_come_at_once_with_their_lines(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("methods: [suprvised]\ntrain: {steps: 0}\nselect: nosy_val_accuracy\nbudget: {trials: x}\n")
    done = sweep(path, "--results", tmp_path / "results")
    assert done.returncode == 2
    for line in (1, 2, 3, 4):
        assert f"space.yaml:{line}: " in done.stderr
    assert "4 errors; nothing was started." in done.stderr


def test_a_missing_sweep_file(tmp_path):
    done = sweep(tmp_path / "spce.yaml")
    assert done.returncode == 2 and "spce.yaml" in done.stderr and "Traceback" not in done.stderr


def test_no_right_to_write(tmp_path):
    (tmp_path / "space.yaml").write_text(GOOD)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file stands where the folder should be")
    done = sweep(tmp_path / "space.yaml", "--results", blocked)
    assert done.returncode == 2 and "cannot write there" in done.stderr and "--results DIR" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk(tmp_path):
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        (tmp_path / "space.yaml").write_text(GOOD)
        done = sweep(tmp_path / "space.yaml", "--results", disk)
        assert done.returncode == 2 and "MiB are free there" in done.stderr and "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("comes_back", [True, False])
def test_a_disk_that_fills_up_in_the_middle_loses_nothing(tmp_path, comes_back):
    import json
    import subprocess
    import time

    from tests.runner.door import ROOT, command

    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        (tmp_path / "space.yaml").write_text(GOOD)
        words = (tmp_path / "space.yaml", "--results", disk, "train.steps=600", "train.evaluations=60")
        words = (*words, "watch.disk_floor=4", f"watch.disk_wait={3600 if comes_back else 4}")
        driver = subprocess.Popen(
            command(*words), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        ledger = disk / "bad-input" / "ledger.jsonl"
        end = time.monotonic() + 120
        while time.monotonic() < end and not (ledger.exists() and ledger.read_text().count('"reported"') >= 2):
            time.sleep(0.1)
        with open(disk / "filler", "wb", buffering=0) as filler:
            try:
                while filler.write(b"0" * 2**16):
                    pass
            except OSError:
                pass
        time.sleep(8 if comes_back else 0)
        before = ledger.read_text().splitlines()
        if comes_back:
            assert driver.poll() is None  # it holds
            (disk / "filler").unlink()
        output, _ = driver.communicate(timeout=120)
        assert "paused: " in output and "Traceback" not in output, output
        if comes_back:
            assert driver.returncode == 0 and "there is room again" in output, output
        else:
            assert driver.returncode == 2 and "the disk is full" in output, output
            assert "the sweep goes on where it was" in output and "nothing was started" not in output
            before = ledger.read_text().splitlines()
            (disk / "filler").unlink()
            again = sweep(*words)
            assert again.returncode == 0, again.stdout + again.stderr
        after = ledger.read_text().splitlines()
        assert after[: len(before)] == before
        told = [json.loads(line)["report"]["evaluation"] for line in after if '"reported"' in line]
        assert told == list(range(1, 61))  # every evaluation once
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
