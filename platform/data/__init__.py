"""Images and labels: sources, the store of decoded images, label plans and label noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platform.core.spec import DataSettings
    from platform.data.dataset import Dataset

__all__ = ["open_dataset"]


def open_dataset(settings: DataSettings, seed: int = 0, progress: bool = False) -> Dataset:
    """The decoded dataset of `settings`; see platform.data.image_store.open_dataset (imported at first use)."""
    from platform.data.image_store import open_dataset

    return open_dataset(settings, seed, progress)
