"""Names and sentences as text in Markdown, LaTeX and HTML, whatever characters they have."""

from __future__ import annotations

import html as standard
import re

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def one_line(text: str) -> str:
    """Line breaks and control characters become spaces."""
    return re.sub(r"[\x00-\x1f\x7f\u2028\u2029]+", " ", text)


def markdown(text: str) -> str:
    """Escape a table's cell or a paragraph. An underscore within a word (pseudo_label) needs no escape, gets none."""
    escaped = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*|~$])", r"\\\1", escaped).replace("](", "]\\(")  # [0.1, 0.2] alone is no link
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped)


def latex(text: str) -> str:
    """Escape running text or a table's cell."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def html(text: str) -> str:
    """Escape an element's text or a quoted attribute."""
    return standard.escape(one_line(text), quote=True)
