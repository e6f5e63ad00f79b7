"""YAML as people write it, with lines; overrides; files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform.core.errors import UserError
from platform.sweepfile.yaml_tree import Document, Location, Node, dump, from_plain, read, value_of

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False), TEXT
)
AWKWARD = st.sampled_from(
    ["1e-3", "on", "off", "yes", "null", "~", "true", "1_000", ".inf", "", "- a", "a: b", "1.", "#"]
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e4", 10_000),
        ("5.e-4", 0.0005),
        (".5", 0.5),
        ("10_000", 10_000),
        ("010", 10),
        ("-3", -3),
        ("on", "on"),
        ("off", "off"),
        ("no", "no"),
        ("true", True),
        ("~", None),
        ("2020-01-01", "2020-01-01"),
        ("1:30", "1:30"),
        ("e3", "e3"),
        ("1e", "1e"),
    ],
)
def test_plain_scalars(text: str, value: Any) -> None:
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


VALUES = SCALARS | AWKWARD


@given(st.dictionaries(TEXT.filter(bool), VALUES | st.lists(VALUES, max_size=4), max_size=4))
def test_what_is_dumped_reads_back(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_text(dump(data or {"a": 1}), encoding="utf-8")
    document = read(path)
    assert document.problems == []
    assert document.plain() == (data or {"a": 1})


def test_keys_know_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# head\nname: a\ndata:\n  source: digits\n  limit: 5\nsearch: {train.lr: auto}\n")
    document = read(path)
    assert document.location(("data", "limit")) == Location(5, f"{path}:5")
    assert document.location(("data", "limit", "deeper")).order == 5  # the deepest part that exists
    assert document.lines()["search.train.lr"] == f"{path}:6"


def broken(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    assert len(caught.value.problems) == 1
    return str(caught.value.problems[0])


def test_files_that_are_no_sweep_files(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    (tmp_path / "layermatch.yaml").write_text("methods: [layermatch]")
    assert "no such file" in broken(tmp_path / "layermach.yaml")
    assert "did you mean" in broken(tmp_path / "layermach.yaml")
    assert "a folder, not a sweep file" in broken(tmp_path)
    path.write_text("")
    assert "the file is empty" in broken(path)
    path.write_text("# only a comment\n")
    assert "the file is empty" in broken(path)
    path.write_text("\n- a\n- b\n")
    assert broken(path).startswith(f"{path}:2: a sweep file is made of `key: value` lines, this one is a list")
    path.write_bytes(b"name: a\nmodel: \xff\xfe\n")
    assert broken(path) == f"{path}:2: not UTF-8 text"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "not valid YAML"),
        ("a: 1\nb:\n\tc: 1\n", 3, "tab"),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML"),
        ("a: 1\nb: c: d\n", 2, "mapping values are not allowed"),
    ],
)
def test_syntax_errors_name_the_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert broken(path).startswith(f"{path}:{line}: ")
    assert words in broken(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2\n", "written twice, first at"),
        ("a: !!python/object:os.system x\n", "YAML tags have no meaning here"),
        ("a: !mine x\n", "YAML tags have no meaning here"),
        ("a: .nan\n", ".nan is not a finite number"),
        ("a: 1e999\n", "1e999 is not a finite number"),
        ("a: {[1, 2]: 3}\n", "a key is a word"),
        ("a: &x [*x]\n", "refers to itself"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(f"{c}: &{c} [{', '.join([f'*{p}'] * 10)}]\n"
         for p, c in zip("abcdef", "bcdefg", strict=True)), "unfolds without end"),
    ],
)  # fmt: skip
def test_softer_problems_are_noted(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    found = read(path).problems
    assert len(found) == 1
    assert words in str(found[0][1])


def test_aliases_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &lr {uniform: [0, 1]}\nb: *lr\n")
    document = read(path)
    assert document.problems == []
    assert document.plain()["b"] == {"uniform": [0, 1]}


def overridden(*texts: str) -> Document:
    document = from_plain({"train": {"steps": 5}, "search": {"train.lr": "auto"}, "model": "small_cnn"}, "a.yaml")
    for position, text in enumerate(texts):
        document.override(text, position)
    return document


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("train.steps=100", ("train", "steps"), 100),
        ("train.lr=1e-3", ("train", "lr"), 0.001),
        ("labels.noise=column:worse_label", ("labels", "noise"), "column:worse_label"),
        ("search.centre_ema={uniform: [0.9, 0.99]}", ("search", "centre_ema", "uniform"), [0.9, 0.99]),
        ("search.train.lr={log_uniform: [1e-3, 1]}", ("search", "train.lr", "log_uniform"), [0.001, 1]),
        ("fixed.layermatch.threshold=0.9", ("fixed", "layermatch.threshold"), 0.9),
        ("search={}", ("search",), {}),
        ("methods=[a,b]", ("methods",), ["a", "b"]),
        ("data.path=/tmp/a=b", ("data", "path"), "/tmp/a=b"),
        ("seeds.noise=3", ("seeds", "noise"), 3),
        ("train.grad_clip=", ("train", "grad_clip"), None),
    ],
)
def test_overrides(text: str, path: tuple[str, ...], value: Any) -> None:
    document = overridden(text)
    node = document.node(path)
    assert document.problems == []
    assert node is not None
    assert node.plain() == value
    assert document.location(path).text == f"command line: {text}"


def test_the_last_override_wins_and_the_rest_stays() -> None:
    document = overridden("train.steps=1", "train.steps=2", "train.lr=0.1")
    assert document.plain()["train"] == {"steps": 2, "lr": 0.1}
    assert document.plain()["model"] == "small_cnn"


@pytest.mark.parametrize("text", ["train.steps", "=3", "train.steps=[1", "train.lr=.nan"])
def test_bad_overrides_say_which(text: str) -> None:
    found = overridden(text).problems
    assert len(found) == 1
    assert found[0][1].where == f"command line: {text}"


def test_problems_come_in_line_order() -> None:
    document = Document(
        Node({"a": Node(1, Location(7, "f:7")), "b": Node(1, Location(3, "f:3"))}, Location(0, "f")), "f"
    )
    document.override("c=1", 0)
    for key in ("c", "a", "b"):
        document.report((key,), "wrong")
    with pytest.raises(UserError) as caught:
        document.raise_problems()
    assert [problem.key for problem in caught.value.problems] == ["b", "a", "c"]
