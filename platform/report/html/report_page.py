"""report.html: the template filled with the sections of a judgement, and written as one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from platform.core.files import atomic
from platform.report.html.report_material import ReportMaterial
from platform.report.html.report_sections import report_sections
from platform.report.judge.comparison_figures import STYLE, Drawing, drawings
from platform.report.judge.escaping import one_line
from platform.report.judge.judgement import Judgement

__all__ = ["report_html", "write_report"]

NAME = "report.html"
HERE = Path(__file__).parent


def write_report(judged: Judgement, folder: Path, drawn: Sequence[Drawing] | None = None) -> Path:
    """Write report.html into `folder`, as a whole; its path. drawn: `drawings(judged)`, where somebody has them."""
    path = folder / NAME
    path.unlink(missing_ok=True)  # one of before must not stay where this one cannot be made
    text = report_html(judged, drawn)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(path, sync=False) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")
    return path


def report_html(judged: Judgement, drawn: Sequence[Drawing] | None = None) -> str:
    """The page. It asks for nothing outside itself, and all text that comes from data is escaped."""
    figures = drawings(judged) if drawn is None else drawn
    material = ReportMaterial(judged, {drawing.name: drawing for drawing in figures})
    with mpl.rc_context(STYLE):
        sections = report_sections(material)
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["one_line"] = one_line
    return environment.get_template("report.html.j2").render(
        title=", ".join(origin.label for origin in judged.comparison.origins),
        kind="Sweep" if len(judged.comparison.origins) == 1 and material.sweeps else "Comparison",
        subtitle=_subtitle(material),
        sections=sections,
        style=Markup((HERE / "report.css").read_text(encoding="utf-8") + material.styles.css()),
        script=Markup((HERE / "report.js").read_text(encoding="utf-8")),
    )


def _subtitle(material: ReportMaterial) -> str:
    methods = len(material.judged.comparison.methods)
    words = [f"{methods} method{'s' * (methods != 1)}"]
    if material.rows:
        words.append(f"{len(material.rows)} trials")
    started = [str(info.provenance["started"])[:10] for _, info in material.sweeps if info.provenance.get("started")]
    return ", ".join([*words, *sorted(set(started))])
