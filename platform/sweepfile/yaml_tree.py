"""A sweep file as a tree that knows its lines: YAML's node tree, plain values, command-line overrides, problems found.

Scalars follow YAML 1.2 with the numbers people write: `1e-3` is a number, `on`, `off`, `yes` and `no` are words.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.redaction import redact, redact_word

FREE_KEYS = ("search", "fixed")
"""Sections whose keys contain dots themselves: `search.train.lr` is the key `train.lr` of `search`."""

KeyPath = tuple[str | int, ...]

_WHOLE = re.compile(r"[-+]?[0-9]+(_[0-9]+)*\Z")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(_[0-9]+)*(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)\Z")
_TAGS = {"null", "bool", "int", "float", "str", "timestamp", "value", "merge", "seq", "map"}
_TYPED = 1_000_000_000  # order of the first override: after every line of a file
_MOST_NODES = 20_000  # aliases can unfold a small file without end
_MOST_BYTES = 100_000  # the shipped files have 2,000
_DEEPEST = 20
_MOST_DIGITS = 300
_BRACKET, _MOST_OPEN = re.compile(r"[\[\]{}]"), 200  # those in text and comments are counted, too
_LONGEST_KEY = 200


@dataclass(frozen=True)
class Location:
    """A place in a sweep file: the line of a key, or the override that set it. `order` sorts."""

    order: int
    text: str

    @property
    def typed(self) -> bool:
        """Whether it was set on the command line."""
        return self.order >= _TYPED


@dataclass
class Node:
    """A value of a sweep file and its location."""

    data: Any  # dict[str, Node], list[Node] or a plain value
    location: Location

    def plain(self) -> Any:
        if isinstance(self.data, dict):
            return {key: child.plain() for key, child in self.data.items()}
        if isinstance(self.data, list):
            return [child.plain() for child in self.data]
        return self.data


@dataclass
class Document:
    """The tree, and every problem found in it so far."""

    root: Node
    file: str
    problems: list[tuple[int, Problem]] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)  # keys without a usable value: they get no further problem

    def plain(self) -> dict[str, Any]:
        return self.root.plain()

    def node(self, path: KeyPath) -> Node | None:
        here = self.root
        for part in path:
            try:
                here = here.data[part]
            except (KeyError, IndexError, TypeError):
                return None
        return here

    def location(self, path: KeyPath) -> Location:
        """The location of the deepest part of `path` that exists."""
        while path:
            node = self.node(path)
            if node is not None:
                return node.location
            path = path[:-1]
        return Location(0, self.file)

    def report(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Add a problem at the line of `path`, once."""
        key = ".".join(p for p in path if isinstance(p, str))
        if key not in self.unreadable:
            self.add(self.location(path), message, hint, key)

    def add(self, location: Location, message: str, hint: str = "", key: str = "") -> None:
        """Add a problem, unless it was added before."""
        entry = (location.order, Problem(message, key, location.text, hint))
        if entry not in self.problems:
            self.problems.append(entry)

    def has_problem(self, *path: str | int) -> bool:
        """Whether something at or under `path` has a problem."""
        prefix = ".".join(p for p in path if isinstance(p, str))
        return any(p.key == prefix or p.key.startswith(prefix + ".") for _, p in self.problems)

    def raise_problems(self) -> None:
        """Raise UserError with every problem, in line order, if there is one."""
        if self.problems:
            raise UserError(*(problem for _, problem in sorted(self.problems, key=lambda entry: entry[0])))

    def lines(self) -> dict[str, str]:
        """The place of each key, by its dotted name."""
        places: dict[str, str] = {}

        def walk(node: Node, prefix: str) -> None:
            if isinstance(node.data, dict):
                for key, child in node.data.items():
                    places[prefix + key] = child.location.text
                    walk(child, f"{prefix}{key}.")

        walk(self.root, "")
        return places

    def override(self, text: str, position: int) -> None:
        """Apply `key=value`; the value is YAML, problems carry the override instead of a line."""
        location = Location(_TYPED + position, f"command line: {redact_word(text)}")
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            example = "train.steps=100, labels.noise=none, search.centre_ema={uniform: [0.9, 0.99]}"
            self.add(location, "not of the form key=value", f"examples: {example}")
            return
        try:
            tree = _compose(value)
        except yaml.YAMLError as error:
            words = getattr(error, "problem", None) or str(error).partition("\n")[0]
            hint = "use the shell's quotes around values with spaces or brackets"
            self.add(location, f"not valid YAML: {words}", hint, key)
            return
        except (RecursionError, ValueError, OverflowError) as error:
            self.add(location, _unbuilt(error), key=key)
            return
        builder = _TreeBuilder(self, lambda _: location)
        node = Node(None, location) if tree is None else builder.node(tree, location, key)
        self._put(_split(key), node, location)

    def _put(self, path: list[str], node: Node, location: Location) -> None:
        here = self.root
        for part in path[:-1]:
            child = here.data.get(part)
            if child is None or not isinstance(child.data, dict):
                child = here.data[part] = Node({}, location)
            here = child
        here.data[path[-1]] = node


def _split(key: str) -> list[str]:
    head, dot, rest = key.partition(".")
    return [head, rest] if dot and head in FREE_KEYS else key.split(".")


def read(path: str | Path) -> Document:
    """The tree of a file. Raises UserError where no tree can be had; softer problems are noted in the document."""
    file = str(path)
    text = _text(Path(path))
    try:
        tree = _compose(text)
    except yaml.YAMLError as error:
        raise UserError(_syntax(error, file)) from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise UserError(Problem(_unbuilt(error), where=file)) from error
    example = "copy one of search_spaces/*.yaml; `methods: [fixmatch]` is the least a sweep file says"
    if tree is None:
        raise UserError(Problem("the file is empty", where=file, hint=example))
    if not isinstance(tree, yaml.MappingNode):
        what = "a list" if isinstance(tree, yaml.SequenceNode) else "a single value"
        where = f"{file}:{tree.start_mark.line + 1}"
        raise UserError(Problem(f"a sweep file is made of `key: value` lines, this one is {what}", "", where, example))
    document = Document(Node({}, Location(0, file)), file)
    walk = _TreeBuilder(document, lambda node: Location(node.start_mark.line + 1, f"{file}:{node.start_mark.line + 1}"))
    document.root = walk.node(tree, Location(0, file))
    return document


def from_plain(data: dict[str, Any], file: str) -> Document:
    """The tree of plain values; everything stands at `file`."""

    def build(value: Any) -> Node:
        if isinstance(value, dict):
            return Node({str(k): build(v) for k, v in value.items()}, Location(0, file))
        if isinstance(value, (list, tuple)):
            return Node([build(v) for v in value], Location(0, file))
        return Node(value, Location(0, file))

    return Document(build(data), file)


def _compose(text: str) -> yaml.Node | None:
    """PyYAML's tree; RecursionError for many open brackets: the time it takes grows with the square of their number."""
    depth = 0
    for bracket in _BRACKET.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > _MOST_OPEN:
            raise RecursionError
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _unbuilt(error: Exception) -> str:
    """The reason for no tree where PyYAML gives none: an escape beyond Unicode, or brackets in brackets."""
    return f"nested more than {_DEEPEST} deep" if isinstance(error, RecursionError) else f"not valid YAML: {error}"


def _text(path: Path) -> str:
    try:
        if path.is_block_device() or (
            path.is_fifo() and not path.is_relative_to("/dev")
        ):  # <(...) of a shell is a pipe
            raise UserError(Problem("not a regular file", where=str(path)))
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UserError(Problem(f"more than {_MOST_BYTES:,} bytes: not a sweep file", where=str(path)))
        return content.decode("utf-8-sig")
    except ValueError as error:
        if not isinstance(error, UnicodeDecodeError):
            raise UserError(Problem(f"cannot be read: {error}", where=str(path))) from None
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(Problem("not UTF-8 text", where=f"{path}:{line}")) from None
    except FileNotFoundError:
        folder = path.parent if path.parent.is_dir() else Path("search_spaces")
        there = sorted(str(f) for f in folder.glob("*.yaml")) if folder.is_dir() else []
        hint = did_you_mean(str(path), there) if there else "sweep files lie in search_spaces/"
        raise UserError(Problem("no such file", where=str(path), hint=hint)) from None
    except IsADirectoryError:
        there = sorted(str(f) for f in path.glob("*.yaml"))
        raise UserError(Problem("a folder, not a sweep file", "", str(path), "\n".join(there))) from None
    except OSError as error:
        raise UserError(Problem(f"cannot be read: {error.strerror}", where=str(path))) from None


def _syntax(error: yaml.YAMLError, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = ", ".join(w for w in (getattr(error, "context", None), getattr(error, "problem", None)) if w)
    where = f"{file}:{mark.line + 1}" if mark else file
    hint = _snippet(mark) if mark else ""
    if "\\t" in words:
        hint = "indent with spaces, YAML takes no tabs"
    elif not words:
        words = str(error).splitlines()[0]
    return Problem(f"not valid YAML: {words}", "", where, hint)


def _snippet(mark: Any) -> str:
    """The line of a syntax error, and below it where in the line; without that where the line holds a secret."""
    line = mark.buffer[mark.buffer.rfind("\n", 0, mark.pointer) + 1 :].partition("\n")[0] if mark.buffer else ""
    return (mark.get_snippet(indent=0) or "") if redact(line) == line else redact(line).strip()[:75]


class _TreeBuilder:
    """Builds the tree of YAML nodes; duplicate keys, tags, cycles and numbers that are not finite become problems."""

    def __init__(self, document: Document, location_of: Any) -> None:
        self.document, self.location_of = document, location_of
        self.open: set[int] = set()
        self.count = 0
        self.deep = False

    def node(self, node: yaml.Node, location: Location, prefix: str = "") -> Node:
        self.count += 1
        if id(node) in self.open or self.count > _MOST_NODES:
            if self.count <= _MOST_NODES + 1:
                self.document.add(location, "refers to itself, or unfolds without end", key=prefix)
            return Node(None, location)
        if len(self.open) >= _DEEPEST:
            if not self.deep:
                self.document.add(location, f"nested more than {_DEEPEST} deep", key=prefix)
            self.deep = True
            self.document.unreadable.add(prefix)
            return Node(None, location)
        if node.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
            self.document.add(location, f"YAML tags have no meaning here: {node.tag}", key=prefix)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, location, prefix)
            if isinstance(node, yaml.SequenceNode):
                return Node([self.node(child, self.location_of(child), prefix) for child in node.value], location)
            return Node(self.scalar(node, location, prefix), location)
        finally:
            self.open.discard(id(node))

    def mapping(self, node: yaml.MappingNode, location: Location, prefix: str) -> Node:
        entries: dict[str, Node] = {}
        for key_node, value_node in node.value:
            here = self.location_of(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.add(here, "a key is a word, not a list or a mapping", key=prefix)
                continue
            key = key_node.value
            if len(key) > _LONGEST_KEY or not _is_text(key):
                reason = f"a key of {len(key):,} characters" if len(key) > _LONGEST_KEY else "a key that is no text"
                self.document.add(here, reason, key=prefix)
                continue
            name = f"{prefix}.{key}" if prefix else key
            if key in entries:
                self.document.add(here, f"written twice, first at {entries[key].location.text}", key=name)
                continue
            entries[key] = self.node(value_node, here, name)
        return Node(entries, location)

    def scalar(self, node: yaml.Node, location: Location, prefix: str) -> Any:
        text = node.value
        if not _is_text(text):
            self.document.add(location, "half of a character (a surrogate), no text", key=prefix)
            self.document.unreadable.add(prefix)
            return None
        if getattr(node, "style", None) is not None:  # quoted or a block: text
            return text
        value = value_of(text)
        if _NOT_FINITE.match(text) or (isinstance(value, float) and not math.isfinite(value)):
            self.document.add(location, f"{text[:40]}{'...' * (len(text) > 40)} is not a finite number", key=prefix)
            self.document.unreadable.add(prefix)
            return None
        return value


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def value_of(text: str) -> Any:
    """The value of a plain (unquoted) scalar. A number of more digits than a float can hold is infinite."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _WHOLE.match(text):
        return int(text) if len(text) <= _MOST_DIGITS else math.copysign(math.inf, -1 if text[0] == "-" else 1)
    if _NUMBER.match(text):
        number = float(text)
        exponent_only = "." not in text and number.is_integer() if math.isfinite(number) else False
        return int(number) if exponent_only else number  # 1e4 counts as a whole number
    return text


class _Dumper(yaml.SafeDumper):
    """Writes YAML; quotes a text that `value_of` would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_scalar(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    quoted = value_of(text) != text or _NOT_FINITE.match(text) is not None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if quoted else None)


_Dumper.add_representer(str, _text_scalar)


def dump(data: Any) -> str:
    """YAML that `read` gives back unchanged."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
