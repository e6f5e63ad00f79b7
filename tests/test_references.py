"""References to sections of the methods' documents: each names a file and a heading that exist."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("platform", "methods", "tests", "search_spaces", "results")
SUFFIXES = (".py", ".md", ".yaml")

GAP = r"[\s#`>*]"  # what may lie between two words of a reference that goes on in the next line
NUMBER = r"\d+(?:\.\d+)?"
DOCUMENT = re.compile(r"(?<![\w/.-])(?:methods/)?docs/(?P<name>\w+)\.md")
SECTIONS = re.compile(
    rf"{GAP}*,?{GAP}*sections?{GAP}+(?P<numbers>{NUMBER}(?:(?:,|{GAP}+(?:and|to|or)|-){GAP}*{NUMBER})*)"
)
HEADING = re.compile(rf"^#+ +(?P<number>{NUMBER})(?=[ :]|$)", re.MULTILINE)
WITHOUT_DOCUMENT = re.compile(
    rf"\b[Ss]pec(?:ification)?,?{GAP}*\(?(?:sections?{GAP}+)?{NUMBER}"  # spec 2.4; specification, section 4.1
    rf"|\bsections?{GAP}+{NUMBER}{GAP}+of{GAP}+the{GAP}+(?:[\w-]+{GAP}+)?spec"
    rf"|\b(?:LayerMatch|CLID-MU|the|its){GAP}+spec(?:ification)?\b"
)


def unfounded(text: str) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) of each reference in `text` to a document or a section that does not exist."""
    for found in DOCUMENT.finditer(text):
        name, line = found["name"], text.count("\n", 0, found.start()) + 1
        numbers = headings(name)
        if numbers is None:
            yield line, f"there is no methods/docs/{name}.md"
        elif after := SECTIONS.match(text, found.end()):
            missing = [number for number in re.findall(NUMBER, after["numbers"]) if number not in numbers]
            yield from ((line, f"methods/docs/{name}.md has no section {number}") for number in missing)


@cache
def headings(name: str) -> frozenset[str] | None:
    """Numbers of the headings of a document; None where there is no such file."""
    places = (ROOT / "methods" / "docs" / f"{name}.md", ROOT / "docs" / f"{name}.md")
    path = next((place for place in places if place.is_file()), places[0])
    return frozenset(HEADING.findall(path.read_text(encoding="utf-8"))) if path.is_file() else None


def without_document(text: str) -> Iterator[tuple[int, str]]:
    """(line, the reference) of each reference to a text that is not in the repository."""
    for found in WITHOUT_DOCUMENT.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, " ".join(found[0].split())


def sources() -> list[Path]:
    """Tracked or new files; results of sweeps lie in folders below results/ and are not the repository's."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    found = [path for path in found if path.parent == ROOT / "results" or path.relative_to(ROOT).parts[0] != "results"]
    return sorted(path for path in [*found, *ROOT.glob("*.md")] if path != Path(__file__).resolve())


def lines(check: Callable[[str], Iterator[tuple[int, str]]]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in sources()
        for line, what in check(path.read_text(encoding="utf-8"))
    ]


def test_every_reference_names_a_section_that_exists() -> None:
    wrong = lines(unfounded)
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_reference_is_to_a_text_that_is_not_here() -> None:
    wrong = lines(without_document)
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(docs/layermatch.md, section 2.4, G6)", []),
        ("see `methods/docs/layermatch.md`, sections 2.2 and 2.4", []),
        ("    # docs/layermatch.md,\n    # section 8, items 2 to 4", []),
        ("a\ndocs/nothing.md, section 1", [(2, "there is no methods/docs/nothing.md")]),
        ("docs/layermatch.md, section 2.44", [(1, "methods/docs/layermatch.md has no section 2.44")]),
        ("docs/layermatch.md,\n    section 99", [(1, "methods/docs/layermatch.md has no section 99")]),
        ("docs/layermatch.md, sections 2.4 and 99.1", [(1, "methods/docs/layermatch.md has no section 99.1")]),
        ("https://example.org/docs/nothing.md", []),
    ],
)
def test_what_is_found_wrong(text: str, expected: list[tuple[int, str]]) -> None:
    assert list(unfounded(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "(spec 2.4)",
        "Spec 7: all",
        "as in the spec,\n    section 1.2",
        "(CLID-MU specification,\n    section 4.2)",
        "of its specification (section 10)",
        "what the specification says",
        "section 7.0 of the LayerMatch spec",
        "acceptance test 11 of the LayerMatch specification",
    ],
)
def test_references_without_a_document_are_found(text: str) -> None:
    assert list(without_document(text))


@pytest.mark.parametrize("text", ["spec = study.resolve()", "spec.train.steps", "specifications", "specific 2"])
def test_other_words_are_left_alone(text: str) -> None:
    assert not list(without_document(text))
