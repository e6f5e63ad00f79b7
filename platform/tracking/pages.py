"""The pages of sweeps in a tracking store, for whoever opens MLflow in a browser."""

from __future__ import annotations

from platform.tracking.delivery import SWEEP
from platform.tracking.views import METHODS, has_view, link

__all__ = ["pages"]


def pages(uri: str) -> list[tuple[str, str]]:
    """Name of each sweep and the address of its methods below the server's, the latest sweep first.

    uri: of the store, a server or a database.
    """
    from mlflow import MlflowClient

    found = MlflowClient(uri).search_experiments(order_by=["last_update_time DESC"])
    return [
        (one.name, link(one.experiment_id, METHODS if has_view(one.tags, METHODS) else ""))
        for one in found
        if SWEEP in one.tags or has_view(one.tags, METHODS)
    ]
