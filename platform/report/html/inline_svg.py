"""Matplotlib's figures as small SVG elements inside a page: colours that follow it, text that is text, no ids twice."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from platform.report.figures import STYLE

__all__ = ["PAGE_COLOURS", "StyleSheet", "inline_svg"]

MOST_POINTS = 6000
"""Points of lines in one panel, above which thin lines become an image inside the drawing."""
_SETTINGS: dict[Any, Any] = STYLE | {"svg.fonttype": "none", "svg.hashsalt": "kurabe", "savefig.dpi": 110}
PAGE_COLOURS = {
    "#000000": "currentColor",
    "#e6e6e6": "var(--grid)",
    "#ffffff": "var(--paper)",
    "#0072b2": "var(--blue)",
    "#009e73": "var(--green)",
    "#d55e00": "var(--red)",
    "#767676": "var(--grey)",
    "#9fb4c2": "var(--faint)",
}
"""Those that would be hard to see on a dark page follow its style."""
_DEFAULTS = {"stroke-linejoin", "font-family", "stroke-miterlimit"}
_LINK = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d+")
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class StyleSheet:
    """The styles of all drawings of a page: each is written once, as a class."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}

    def name(self, style: str) -> str:
        """The class of a style."""
        return self._classes.setdefault(style, f"s{len(self._classes)}")

    def css(self) -> str:
        return "\n".join(f"svg .{name} {{{style}}}" for style, name in self._classes.items())


def inline_svg(
    figure: Figure, name: str, title: str, styles: StyleSheet, trials: Mapping[str, int] | None = None
) -> Markup:
    """The figure as an svg element whose ids begin with `name`; title: what a screen reader says of it.

    The figure is used up: its background, title and resolution change. An artist with the gid "trials:KEY,KEY,..."
    belongs to these trials: an element for each of its points (or its one line) gets data-t, the trial's place in
    `trials`.
    """
    import matplotlib as mpl

    content = io.StringIO()
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter that matplotlib's font lacks: the browser has another
        _rasterize_crowds(figure)
        figure.suptitle("")  # the page says it in words beside the drawing
        for patch in (figure.patch, *(axis.patch for axis in figure.axes)):
            patch.set_visible(False)
        FigureCanvasSVG(figure).print_svg(content)  # savefig would draw everything twice
    root = ElementTree.fromstring(_NO_TEXT.sub(" ", content.getvalue()))
    used = {long: f"{name}-{place}" for place, long in enumerate(sorted(_links(root)))}
    for element in list(root.iter()):
        _mark_trials(element, trials or {})
    for element in list(root.iter()):
        _shrink(element, used)
    _flatten(root)
    for element in root.iter():
        if style := element.attrib.pop("style", ""):
            element.set("class", styles.name(style))
    width = float(root.attrib.pop("width").removesuffix("pt")) / 0.75
    root.attrib.pop("height")
    root.attrib.pop("version", None)
    label = f"{name}-t"
    root.attrib |= {"class": "drawing", "role": "img", "aria-labelledby": label, "style": f"max-width:{width:.0f}px"}
    said = ElementTree.Element("title", {"id": label})
    said.text, said.tail = title, None
    root.insert(0, said)
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # ElementTree escapes text and attributes


def _rasterize_crowds(figure: Figure) -> None:
    """Thin lines of a panel with very many points are drawn as an image: its size does not grow with the trials."""
    for axis in figure.axes:
        lines = axis.get_lines()
        if sum(np.size(line.get_xdata(orig=False)) for line in lines) <= MOST_POINTS:
            continue
        for line in lines:
            if line.get_linewidth() <= 1 or line.get_linestyle() in ("None", ""):
                line.set_rasterized(True)


def _links(root: ElementTree.Element) -> set[str]:
    """Ids that something in the drawing refers to."""
    used = set()
    for element in root.iter():
        for value in element.attrib.values():
            used |= set(re.findall(r"url\(#([^)]+)\)", value))
        if element.get(_LINK, "").startswith("#"):
            used.add(element.attrib[_LINK][1:])
    return used


def _mark_trials(element: ElementTree.Element, trials: Mapping[str, int]) -> None:
    name = element.get("id", "")
    if not name.startswith("trials:"):
        return
    keys = name.removeprefix("trials:").split(",")
    points = [child for child in element.iter() if _local(child.tag) == "use"]
    shapes = points if len(points) == len(keys) else [element] if len(keys) == 1 else []
    for shape, key in zip(shapes, keys if len(shapes) > 1 else keys[:1], strict=False):
        if key in trials:
            shape.set("data-t", str(trials[key]))


def _shrink(element: ElementTree.Element, used: Mapping[str, str]) -> None:
    """Take away what a page does not need: namespaces, ids that nothing refers to, digits, defaults.

    used: the new name of every id that something refers to.
    """
    element.tag = _local(element.tag)
    element.tail = None
    if element.text is not None and not element.text.strip():
        element.text = None
    attributes = element.attrib
    if (long := attributes.pop("id", "")) in used:
        attributes["id"] = used[long]
    if (link := attributes.pop(_LINK, None)) is not None:
        attributes["href"] = f"#{used[link[1:]]}" if link.startswith("#") else link.replace("\n", "")
    if "clip-path" in attributes:
        attributes["clip-path"] = f"url(#{used[attributes['clip-path'][5:-1]]})"
    for key, digits in (("d", 1), ("x", 1), ("y", 1), ("width", 1), ("height", 1), ("transform", 2)):
        if key in attributes and element.tag != "svg":
            attributes[key] = _rounded(attributes[key], digits)
    if "d" in attributes:
        attributes["d"] = _short_path(attributes["d"])
    if re.fullmatch(r"rotate\(-?0( .*)?\)", attributes.get("transform", "")):
        del attributes["transform"]
    if "style" in attributes:
        _style(attributes)


def _rounded(text: str, digits: int) -> str:
    short = _NUMBER.sub(lambda found: f"{float(found[0]):.{digits}f}".rstrip("0").rstrip("."), text)
    return " ".join(short.replace("-0 ", "0 ").split())


def _short_path(path: str) -> str:
    """Without blanks around letters; where there are straight lines only, a line needs no letter after the first."""
    short = re.sub(r" ?([A-Za-z]) ?", r"\1", path)
    return short if re.search("[CQ]", short) else short.replace("L", " ")


def _style(attributes: dict[str, str]) -> None:
    """The style attribute without defaults, colours by the names that the page gives them."""
    pairs = [pair.partition(":") for pair in attributes.pop("style").split(";") if ":" in pair]
    kept = []
    for key, _, value in pairs:
        key, value = key.strip(), value.strip()
        if key not in _DEFAULTS:
            kept.append(f"{key}:{PAGE_COLOURS.get(value.lower(), value)}")
    if kept:
        attributes["style"] = ";".join(kept)


def _flatten(element: ElementTree.Element) -> None:
    """Drop metadata and the drawing's own style sheet, and groups that group nothing."""
    for child in list(element):
        _flatten(child)
        place = list(element).index(child)
        if child.tag in ("metadata", "style") or (child.tag in ("g", "defs") and not len(child)):
            element.remove(child)
        elif child.tag == "g" and not child.attrib:
            element.remove(child)
            for offset, inner in enumerate(list(child)):
                element.insert(place + offset, inner)
        elif child.tag == "g" and len(child) == 1 and list(child.attrib) == ["data-t"]:
            child[0].set("data-t", child.attrib["data-t"])
            element[place] = child[0]
        elif child.tag == "g":
            _hoist(child)


def _hoist(group: ElementTree.Element) -> None:
    """A style that all markers of a group share belongs to the group."""
    styles = {child.get("style", "") for child in group}
    if (
        len(group) > 1
        and len(styles) == 1
        and all(child.tag == "use" for child in group)
        and "style" not in group.attrib
    ):
        group.set("style", styles.pop())
        for child in group:
            child.attrib.pop("style", None)


def _local(tag: Any) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else "g"
