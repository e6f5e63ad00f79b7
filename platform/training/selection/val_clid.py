"""CLID on a fixed validation batch at the last evaluation (arXiv 2507.11807): needs no label at all.

As a selector of one checkpoint CLID was weak in its authors' logs (docs/clid_mu.md, section 6.1): compare it with the
other rules.
"""

MAXIMISE = False
NEEDS_TRUTH = False


def score(reports: list[dict[str, float]]) -> float:
    return reports[-1]["val_clid"]
