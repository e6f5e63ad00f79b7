"""Sweep files: the shipped ones, damaged. Keys renamed, values of other types, extreme numbers, broken YAML, depth."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from platform.sweepfile.yaml_tree import dump

SHIPPED = Path(__file__).parents[2] / "search_spaces"

LARGE = (10**6, 10**7, 10**9, 10**12, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 10**299, -1, -(10**9), 0)
FLOATS = (0.0, -0.0, 1e-300, 5e-324, 1e300, 1.7e308, -1e300, 0.1, 1.0, 2.5)
WORDS = (
    "",
    " ",
    "~",
    "null",
    "auto",
    "none",
    "true",
    "all",
    "x" * 5000,
    "a/b",
    "../x",
    ".",
    "a.b",
    "=1+1",
    "`x`",
    "<b>",
    "[red]",
)
ODD = (
    "é",
    "比べ",
    "\U0001f600",
    "\u202e",
    "\x85",
    "\u2028",
    "\ud800",
    "\0",
    "a\nb",
    "\t",
    "%s",
    "{}",
    "$x",
    "timm:no_such",
)
PATHS = (
    "/dev/zero",
    "/proc/kmsg",
    "/dev/null",
    "/",
    ".",
    "x.py",
    "/dev/zero.py",
    "y" * 300 + ".py",
    "column:",
    "column:x",
)
KEYS = tuple(
    """train data labels budget search fixed seeds resources watch retry methods name select tracking model when choice
    uniform log_uniform int_uniform quantised_uniform studies repeats trials seconds evaluations steps train.lr rate
    train.batch_size per_class total imbalance noise val sampler scheduler objectives grace preset limit classes path
    source""".split()
)
keys = st.one_of(st.sampled_from(KEYS), st.text(max_size=8), st.just("k" * 300))

scalars = st.one_of(
    st.sampled_from(LARGE),
    st.sampled_from(FLOATS),
    st.sampled_from((*WORDS, *ODD, *PATHS)),
    st.integers(),
    st.floats(allow_nan=True),
    st.booleans(),
    st.none(),
    st.text(max_size=20),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), inner, max_size=4),
    ),
    max_leaves=8,
)


@functools.cache
def shipped() -> list[tuple[str, str]]:
    """Name and text of every shipped sweep file that needs no data beside it."""
    texts = [(path.name, path.read_text()) for path in sorted(SHIPPED.glob("*.yaml"))]
    return [(name, text) for name, text in texts if "digits" in text]


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in plain values, by the keys that lead to it."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [*([path] if path else []), *(place for key, value in inner for place in places(value, (*path, key)))]


def _parent(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        tree = tree[key]
    return tree


def replace_value(draw: Callable[..., Any], tree: Any, path: tuple[Any, ...]) -> None:
    _parent(tree, path)[path[-1]] = draw(values)


def scale_number(draw: Callable[..., Any], tree: Any, path: tuple[Any, ...]) -> None:
    _parent(tree, path)[path[-1]] = draw(st.sampled_from((*LARGE, *FLOATS)))


def rename_key(draw: Callable[..., Any], tree: Any, path: tuple[Any, ...]) -> None:
    parent = _parent(tree, path)
    if isinstance(parent, dict):
        parent[draw(keys)] = parent.pop(path[-1])


def remove(draw: Callable[..., Any], tree: Any, path: tuple[Any, ...]) -> None:
    del _parent(tree, path)[path[-1]]


def add_key(draw: Callable[..., Any], tree: Any, path: tuple[Any, ...]) -> None:
    parent = _parent(tree, path)
    if isinstance(parent, dict):
        parent[draw(st.sampled_from(KEYS))] = draw(values)


def repeat_value(draw: Callable[..., Any], tree: Any, path: tuple[Any, ...]) -> None:
    parent = _parent(tree, path)
    parent[path[-1]] = [parent[path[-1]]] * draw(st.sampled_from((1, 2, 50, 300)))


def move(draw: Callable[..., Any], tree: Any, path: tuple[Any, ...]) -> None:
    other = draw(st.sampled_from(places(tree)))
    if other[: len(path)] != path and path[: len(other)] != other:
        _parent(tree, path)[path[-1]] = copy.deepcopy(_parent(tree, other)[other[-1]])


CHANGES = (replace_value, scale_number, rename_key, remove, add_key, repeat_value, move)


def damage_text(draw: Callable[..., Any], text: str) -> str:
    """YAML that is broken, nested, full of aliases, or only looks odd."""
    kind = draw(
        st.sampled_from(
            ("cut", "insert", "swap", "deep", "indent", "aliases", "twice", "tabs", "tag", "long", "digits")
        )
    )
    at = draw(st.integers(0, len(text)))
    if kind == "cut":
        return text[:at] + text[at + draw(st.integers(1, 200)) :]
    if kind == "insert":
        return (
            text[:at]
            + draw(st.one_of(st.text(max_size=5), st.sampled_from(list("[]{}:,&*!|>'\"%@`#?-\t\x00\x07\ufeff"))))
            + text[at:]
        )
    if kind == "swap":
        lines = text.split("\n")
        return "\n".join(draw(st.permutations(lines[:12]))) + "\n".join(lines[12:])
    depth = draw(st.sampled_from((15, 25, 100, 500, 5000)))
    if kind == "deep":
        opening, closing = draw(st.sampled_from((("[", "]"), ("{a: ", "}"))))
        return f"{text}\n{draw(st.sampled_from(KEYS))}: {opening * depth}{closing * depth}\n"
    if kind == "indent":
        return f"{text}\n" + "\n".join(" " * i + "a:" for i in range(min(depth, 300)))
    if kind == "aliases":
        names = "abcdefghijklmnop"[: draw(st.integers(2, 16))]
        chain = [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip(names, names[1:], strict=False)]
        return "\n".join([f"{names[0]}: &{names[0]} {draw(st.sampled_from(('[x, x]', '{x: 1}', 'x')))}", *chain, text])
    if kind == "twice":
        return text + "\n" + text
    if kind == "tag":
        return (
            text[:at]
            + draw(st.sampled_from(("!!python/object/apply:os.system ", "!!int ", "!x ", "&a ", "*a ")))
            + text[at:]
        )
    if kind == "long":
        return (
            text
            + "\n"
            + draw(st.sampled_from(("# x\n", "a: 1\n", "- a\n", "x"))) * draw(st.sampled_from((100, 5000, 60000)))
        )
    if kind == "digits":
        return text + f"\nseed: {'9' * draw(st.sampled_from((19, 20, 310, 5000)))}\n"
    return text.replace("  ", "\t")


@st.composite
def sweep_files(draw: Callable[..., Any]) -> bytes:
    """The bytes of a sweep file."""
    _, text = draw(st.sampled_from(shipped()))
    tree = yaml.safe_load(text)
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2, 4)))):
        here = places(tree)
        if not 0 < len(here) < 1000:  # a change may have repeated what another one had
            break
        draw(st.sampled_from(CHANGES))(draw, tree, draw(st.sampled_from(here)))
    try:
        text = dump(tree) if draw(st.booleans()) else yaml.safe_dump(tree, allow_unicode=draw(st.booleans()))
    except (yaml.YAMLError, RecursionError):
        pass
    if draw(st.integers(0, 3)) == 3:
        text = damage_text(draw, text)
    raw = text.encode(draw(st.sampled_from(("utf-8",) * 18 + ("utf-16", "utf-8-sig"))), "surrogatepass")
    if draw(st.integers(0, 40)) == 40:
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.binary(min_size=1, max_size=4)) + raw[at:]
    return raw
