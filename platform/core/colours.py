"""The colours of methods, the same in every figure and every chart."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["OKABE_ITO", "method_colours"]

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Six of Okabe and Ito's colours, told apart with every kind of colour vision: blue, red, green, pink, orange, sky."""

_FURTHER = ("#332288", "#882255", "#117733", "#999933", "#AA4499", "#44AA99")  # of Paul Tol's muted scheme


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method by its place in the sweep, as #RRGGBB; from the 13th on they repeat."""
    colours = OKABE_ITO + _FURTHER
    return {method: colours[place % len(colours)] for place, method in enumerate(methods)}
