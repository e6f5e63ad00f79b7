"""The intervals of a leaderboard drawn inside its rows, all on one scale."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

from platform.report.judge.judgement import Judgement, Place

__all__ = ["interval_axis", "interval_marks"]

WIDTH, HEIGHT, EDGE = 230, 22, 8
ROW, ABOVE = 14, 4
"""The heights of the interval, and of its blocks above it."""


def interval_marks(judged: Judgement, colours: Sequence[str]) -> list[Markup]:
    """For every place of the leaderboard: blocks as faint dots, the interval as a bar, the mean as a dot."""
    low, high = _ends(judged)
    return [_mark(judged, place, colour, low, high) for place, colour in zip(judged.places, colours, strict=True)]


def interval_axis(judged: Judgement) -> Markup:
    """The scale of the marks, for the head of their column."""
    if not judged.scored:
        return Markup("")
    low, high = _ends(judged)
    ticks = [tick for tick in MaxNLocator(3).tick_values(low, high) if low <= tick <= high]
    texts = [f'<text x="{_x(tick, low, high):.1f}" y="14">{tick:g}</text>' for tick in (round(t, 10) for t in ticks)]
    lines = [f'<path d="M{_x(tick, low, high):.1f} 18v4"/>' for tick in ticks]
    return Markup(
        f'<svg class="marks" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{"".join(texts + lines)}</svg>'
    )


def _ends(judged: Judgement) -> tuple[float, float]:
    numbers: list[float] = []
    for place in judged.scored:
        assert place.mean is not None
        numbers += [place.mean.value, *_known(place.mean.low, place.mean.high)]
        numbers += place.method.blocks(judged.comparison.by_study).values()
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    return (low, high) if high > low else (low - 0.05, high + 0.05)


def _known(*ends: float | None) -> list[float]:
    return [end for end in ends if end is not None]


def _x(value: float, low: float, high: float) -> float:
    return EDGE + (WIDTH - 2 * EDGE) * (value - low) / (high - low)


def _mark(judged: Judgement, place: Place, colour: str, low: float, high: float) -> Markup:
    if place.mean is None:
        return Markup("")
    found = place.mean
    said = f"{found.value:.4f}"
    parts = []
    for value in place.method.blocks(judged.comparison.by_study).values():
        parts.append(f'<circle class="block" cx="{_x(value, low, high):.1f}" cy="{ABOVE}" r="2.2"/>')
    if found.low is not None and found.high is not None:
        first, last = _x(found.low, low, high), _x(found.high, low, high)
        parts.append(f'<path d="M{first:.1f} {ROW}H{last:.1f}M{first:.1f} {ROW - 4}v8M{last:.1f} {ROW - 4}v8"/>')
        said += f", 95 % interval {found.low:.4f} to {found.high:.4f}"
    parts.append(f'<circle cx="{_x(found.value, low, high):.1f}" cy="{ROW}" r="4.5"/>')
    head = f'<svg class="marks" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}"'
    return Markup(f'{head} style="color:{escape(colour)}">{"".join(parts)}</svg>')
