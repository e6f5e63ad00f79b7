"""Repeats: each study's winner trained again on fresh seeds, the same for every method, after its search has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from platform.core.row import Row
from platform.sweepfile import Study, Sweep


class Repeats:
    """Makes the rows. The winner is a function of the ledger, so a continued sweep makes the same ones.

    labels: hash of the label plan by (study index, repeat). known: rows of the ledger by key. again: whether one of
    them is to run (again). A repeat is never stopped early, tells the search nothing, and is charged for itself.
    """

    def __init__(
        self,
        sweep: Sweep,
        data_hash: str,
        labels: Mapping[tuple[int, int], str],
        known: Mapping[str, Row],
        again: Callable[[Row], bool],
    ) -> None:
        self._sweep, self._data_hash, self._labels = sweep, data_hash, labels
        self._known, self._again = known, again

    def of(self, study: Study, won: Row | None) -> list[Row]:
        """All repeats of a study's winner, as far as they are known; none without a winner."""
        return [self._row(study, won, repeat) for repeat in range(1, self._sweep.budget.repeats + 1)] if won else []

    def missing(self, study: Study, won: Row | None, rows: Mapping[str, Row]) -> list[Row]:
        """Those that neither run nor are over. rows: of this run, by key."""
        return [row for row in self.of(study, won) if row.key not in rows and self._again(row)]

    def _row(self, study: Study, won: Row, repeat: int) -> Row:
        index = study.index
        seeds = {"seeds": self._sweep.repeat_seeds(index, repeat)}
        spec = study.resolve(won.params, self._data_hash, self._labels[index, repeat]).model_copy(update=seeds)
        known = self._known.get(spec.key)
        if known is not None and known.repeat:
            return known
        seed = self._sweep.repeat_seed(index, repeat)
        return Row(spec.key, study.method.name, study.id, seed, won.number, dict(won.params), spec, repeat=repeat)
