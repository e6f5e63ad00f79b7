"""The values of `budget.preset`, and of a number of trials that is left out.

A preset says how many rows a comparison has: trials, studies, repeats. It never touches a trial itself (steps, data),
so a row of `quick` is a row of `paper` too: a sweep that was tried as `quick` and is then run as `paper` goes on in its
folder and runs only what is missing.

A preset gives way to what is written beside it and beats what stands further away: in a file, it fills only the keys
that the file leaves out; on the command line (`budget.preset=quick`), it beats the file's values, and gives way to
other words of the command line.
"""

from __future__ import annotations

from types import MappingProxyType

from platform.sweepfile.yaml_tree import Document, Node

PRESETS = MappingProxyType(
    {
        # Is anything badly wrong, and roughly where does each method stand? One number per method, no interval.
        "quick": {"trials": 5, "studies": 1, "repeats": 0},
        # A search worth its name and an interval: how the chosen configuration varies over three fresh seeds.
        "standard": {"trials": 16, "studies": 1, "repeats": 3},
        # For a table in print: 20 configurations x 3 whole searches as in DomainBed (Gulrajani and Lopez-Paz, 2021,
        # arXiv 2007.01434, section 3), since re-training winners alone understates the variance of a search; and the
        # winner of each search on three fresh seeds, paired.
        "paper": {"trials": 20, "studies": 3, "repeats": 3},
    }
)


def fill(document: Document) -> None:
    """Write the preset's values, and `trials: null` where only seconds are given, into the tree. Before the checks."""
    budget = document.node(("budget",))
    if budget is None or not isinstance(budget.data, dict):
        return
    entries: dict[str, Node] = budget.data
    preset = entries.get("preset")
    if preset is not None and isinstance(preset.data, str):
        for key, value in PRESETS.get(preset.data, {}).items():
            there = entries.get(key)
            if there is None or (preset.location.typed and not there.location.typed):
                entries[key] = Node(value, preset.location)
    seconds = entries.get("seconds")
    if seconds is not None and seconds.data is not None and "trials" not in entries:
        entries["trials"] = Node(None, seconds.location)
