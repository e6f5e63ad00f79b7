"""Sweep files that ask for too much: depth, length, size, numbers. Each is answered in words, at once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from platform.core.errors import UserError
from platform.sweepfile import load

Problems = Callable[..., list[str]]

GOOD = "name: a\nmethods: [supervised]\ndata: {source: digits}\ntrain: {steps: 20}\n"

AMOUNTS = [
    # (override of GOOD, message)
    ("budget.repeats=1000000", "budget.repeats: 1000000 is more than 10,000, the most that is taken"),
    ("budget.studies=1000000", "budget.studies: 1000000 is more than 10,000, the most that is taken"),
    ("budget.trials=1000000000", "budget.trials: 1000000000 is more than 100,000, the most that is taken"),
    ("train.evaluations=1000000", "train.evaluations: 1000000 is more than 10,000, the most that is taken"),
    ("train.steps=10000000000000", "train.steps: 10000000000000 is more than 100,000,000, the most that is taken"),
    ("train.batch_size=1e15", "train.batch_size: 1000000000000000 is more than 100,000, the most that is taken"),
    ("labels.per_class=1e30", "labels.per_class: 1000000000000000019884624838656 is more than 10,000,000, the most"),
    ("seed=1e40", "seed: 10000000000000000303786028427003666890752 is more than 4,611,686,018,427,387,904, the most"),
    ("budget={studies: 100, repeats: 10}", "budget.studies: 100 studies with 10 repeats are 1,100 label plans"),
    ("budget={studies: 10, repeats: 1000}", "budget.repeats: 10 studies with 1,000 repeats are 10,010 label plans"),
    ("budget={studies: 11, trials: 100000}", "budget.trials: this makes 1,100,000 trials"),
    ("search={train.batch_size: {int_uniform: [1, 10000000]}}", "search.train.batch_size.int_uniform: reaches values"),
    ("train.steps=" + "9" * 5000, "train.steps: " + "9" * 40 + "... is not a finite number"),
    ("search=" + "[" * 500 + "]" * 500, "search: nested more than 20 deep"),
    ("search=" + "[" * 50 + "]" * 50, "search: nested more than 20 deep"),
    ('model="\\ud800"', "model: half of a character (a surrogate), no text"),
    ("data={" + "k" * 500 + ": 1}", "data: a key of 500 characters"),
    ("name=" + "n" * 5000, "name: 'nnnn"),
    ("methods=[" + "m" * 5000 + ".py]", "methods: mmmm"),
    ("data={source: " + "m" * 5000 + ".py}", "data.source: "),
]


@pytest.mark.parametrize(("override", "message"), AMOUNTS, ids=[case[0][:40] for case in AMOUNTS])
def test_one_problem_one_answer(problems: Problems, override: str, message: str) -> None:
    found = problems(GOOD, override)
    assert len(found) == 1, found
    assert found[0].removeprefix(f"command line: {override}: ").startswith(message)


FILES = {
    "nested as a list": ("search: " + "[" * 500 + "]" * 500, "nested more than 20 deep"),
    "nested without end": ("search: " + "[" * 50_000, "nested more than 20 deep"),
    "nested as lines": ("\n".join("  " * i + "a:" for i in range(300)), "nested more than 20 deep"),
    "aliases": (
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghi")),
        "unfolds without end",
    ),
    "an alias to itself": ("search: &a [*a]\n", "refers to itself"),
    "an escape beyond Unicode": ('name: "\\UFFFFFFFF"\n', "not valid YAML"),
    "long": ("name: a\n" + "# comment\n" * 20_000, "more than 100,000 bytes: not a sweep file"),
    "many keys": ("\n".join(f"key_{i}: {i}" for i in range(4_000)), "no such key"),
}


@pytest.mark.parametrize("case", FILES)
@pytest.mark.timeout(20)
def test_a_file_that_is_too_much(write: Callable[..., Path], case: str) -> None:
    text, words = FILES[case]
    with pytest.raises(UserError, match=words):
        load(write(text))


@pytest.mark.timeout(20)
def test_what_is_no_sweep_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    for path, words in (
        (tmp_path / "fifo.yaml", "not a regular file"),
        ("/dev/zero", "more than 100,000 bytes"),
        (tmp_path / ("x" * 5000), "cannot be read: File name too long"),
        ("a\0b", "cannot be read: embedded null byte"),
    ):
        with pytest.raises(UserError, match=words):
            load(path)
