"""Repeats: a study's winner trained again on fresh seeds, the same for every method, after its search has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from platform.core.row import Row
from platform.sweepfile import Study, Sweep


class Repeats:
    """Makes the repeats of one study. They follow from its winner, so a continued sweep makes the same ones.

    labels: hash of the label plan by (study index, repeat). known: rows of earlier runs by key. runs_again: whether one
    of them runs (again). A repeat is never stopped early, is not part of the search, and not charged to the study.
    """

    def __init__(
        self,
        sweep: Sweep,
        study: Study,
        data_hash: str,
        labels: Mapping[tuple[int, int], str],
        known: Mapping[str, Row],
        runs_again: Callable[[Row], bool],
    ) -> None:
        self._sweep, self._study, self._data_hash, self._labels = sweep, study, data_hash, labels
        self._known, self._runs_again = known, runs_again

    def missing(self, winner: Row | None, rows: Mapping[str, Row]) -> list[Row]:
        """Repeats of the winner that neither run nor are over; none without a winner. rows: of this run, by key."""
        if winner is None:
            return []
        repeats = (self._row(winner, repeat) for repeat in range(1, self._sweep.budget.repeats + 1))
        return [row for row in repeats if row.key not in rows and self._runs_again(row)]

    def _row(self, winner: Row, repeat: int) -> Row:
        sweep, study = self._sweep, self._study
        spec = study.resolve(winner.params, self._data_hash, self._labels[study.index, repeat])
        spec = spec.model_copy(update={"seeds": sweep.repeat_seeds(study.index, repeat)})
        known = self._known.get(spec.key)
        if known is not None and known.repeat:
            return known
        seed, params = sweep.repeat_seed(study.index, repeat), dict(winner.params)
        return Row(spec.key, study.method.name, study.id, seed, winner.number, params, spec, repeat=repeat)
