"""Figures of winners' test predictions: confusion matrix, and how often a guess is right when the model is how sure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from platform.report.figures import BLUE, percent
from platform.report.judge.compared_method import ComparedMethod
from platform.report.judge.comparison_figures import STYLE, style_of
from platform.report.judge.judgement import Judgement
from platform.report.layer_figures import winners_of
from platform.report.prediction_files import Predictions, read_predictions

__all__ = ["confused_words", "draw_confusion", "draw_reliability", "predictions_of"]

NAMED_CLASSES = 20
"""Classes up to which a matrix has names and numbers."""
FEWEST = 10
"""Images below which a bin of confidence says nothing."""


def predictions_of(method: ComparedMethod) -> Predictions | None:
    """Test predictions of the winners of all studies, added; None where they were not kept."""
    if method.info is None:
        return None
    return read_predictions(Path(method.info.folder), winners_of(method.info, method.rows, method.method))


def draw_confusion(found: Predictions) -> Figure:
    """Rows: labels, columns: guesses; the colour is the share of the label's images."""
    import matplotlib as mpl

    shares = _shares(found)
    count = len(found.classes)
    side = min(8.0, 2.2 + 0.42 * count) if count <= NAMED_CLASSES else 5.6
    clear = LinearSegmentedColormap.from_list("clear to blue", [(0, 0.45, 0.7, 0), to_rgba(BLUE, 0.75)])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(side, side), layout="constrained")
        axis = figure.subplots()
        axis.imshow(shares, cmap=clear, vmin=0, vmax=1, interpolation="nearest")
        axis.grid(visible=False)
        axis.set_xlabel("guess")
        axis.set_ylabel("label")
        if count <= NAMED_CLASSES:
            axis.set_xticks(range(count), found.classes, rotation=60, ha="right", rotation_mode="anchor")
            axis.set_yticks(range(count), found.classes)
            for label, guess in np.argwhere(found.confusion > 0):
                shown = str(found.confusion[label, guess])
                axis.text(guess, label, shown, ha="center", va="center", fontsize=8)
    return figure


def confused_words(found: Predictions, most: int = 3) -> str:
    """The most frequent confusions: 8 taken for 1 (12 % of its images); a sentence, empty where there are none."""
    shares = _shares(found) * (1 - np.eye(len(found.classes)))
    order = np.argsort(-shares, axis=None, kind="stable")[:most]
    pairs = [np.unravel_index(place, shares.shape) for place in order]
    words = [
        f"{found.classes[label]} taken for {found.classes[guess]} ({shares[label, guess]:.0%} of its images)"
        for label, guess in pairs
        if shares[label, guess] > 0
    ]
    return f"Most often: {', '.join(words)}." if words else ""


def draw_reliability(judged: Judgement) -> Figure | None:
    """Accuracy against confidence on the test images, a line per method; on the diagonal a model is calibrated."""
    import matplotlib as mpl

    methods = [place.method for place in judged.scored]
    shown = [(method, found) for method in methods if (found := predictions_of(method)) is not None]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 4.6), layout="constrained")
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], color="#767676", linewidth=0.9, linestyle="--")
        for method, found in shown:
            images, right, confidence = found.bins[found.bins[:, 0] >= FEWEST].T
            colour, dashes, marker = style_of(judged, method.name)
            axis.plot(
                confidence / images, right / images, color=colour, ls=dashes, marker=marker, ms=5, label=method.name
            )
        axis.set_xlabel("mean confidence of the guesses")
        axis.set_ylabel("share of right guesses")
        for line in (axis.xaxis, axis.yaxis):
            line.set_major_formatter(FuncFormatter(percent))
        figure.legend(*axis.get_legend_handles_labels(), loc="outside upper left", ncols=3, fontsize=9)
    return figure


def _shares(found: Predictions) -> np.ndarray:
    """[K, K], of each label's images; 0 where it has none."""
    return found.confusion / np.maximum(found.confusion.sum(axis=1, keepdims=True), 1)
