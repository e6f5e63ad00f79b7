"""What is sent to one run at once, cut to what MLflow takes in one call."""

from __future__ import annotations

from dataclasses import dataclass, field

from platform.tracking.limits import MAX_ENTITIES, MAX_METRICS, MAX_PARAMS_OR_TAGS
from platform.tracking.run_content import MetricPoint

__all__ = ["LogBatch"]


@dataclass
class LogBatch:
    """Metrics, parameters and tags for one run."""

    metrics: list[MetricPoint] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def parts(self) -> list[tuple[list[MetricPoint], list[tuple[str, str]], list[tuple[str, str]]]]:
        """Cut to what one log_batch may hold: no evaluation in two parts, and tags after all metrics.

        A driver that is killed between two parts then leaves whole evaluations, and no outcome without them.
        """
        metrics, params, tags = list(self.metrics), list(self.params.items()), list(self.tags.items())
        found: list[tuple[list[MetricPoint], list[tuple[str, str]], list[tuple[str, str]]]] = []
        while metrics or params or tags:
            p, params = params[:MAX_PARAMS_OR_TAGS], params[MAX_PARAMS_OR_TAGS:]
            count = _whole_evaluations(metrics, min(MAX_METRICS, MAX_ENTITIES - len(p)))
            m, metrics = metrics[:count], metrics[count:]
            room = 0 if metrics or params else min(MAX_PARAMS_OR_TAGS, MAX_ENTITIES - len(p) - len(m))
            t, tags = tags[:room], tags[room:]
            found.append((m, p, t))
        return found


def _whole_evaluations(metrics: list[MetricPoint], room: int) -> int:
    """The number of the first `room` metrics that end with an evaluation; all of them where one alone is longer."""
    count = min(room, len(metrics))
    while 0 < count < len(metrics) and metrics[count - 1][3] == metrics[count][3]:
        count -= 1
    return count or min(room, len(metrics))
