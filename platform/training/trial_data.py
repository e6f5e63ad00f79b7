"""The dataset, label plans and device images that the trials of one process share."""

from __future__ import annotations

from platform.core.spec import TrialSpec
from platform.data import open_dataset
from platform.data.dataset import Dataset, LabelPlan
from platform.data.device_images import DeviceImages
from platform.data.label_plan import make_plan

__all__ = ["PROCESS_DATA", "TrialData"]


class TrialData:
    """Keeps one dataset at a time, the label plans made of it, and its images on the device.

    images: of the last trial (`trial.images`), for the next one; None before the first. Opening another dataset
    releases all that belongs to the one before.
    """

    def __init__(self) -> None:
        self.images: DeviceImages | None = None
        self._settings = ""
        self._dataset: Dataset | None = None
        self._plans: dict[str, LabelPlan] = {}

    def load(self, spec: TrialSpec) -> tuple[Dataset, LabelPlan]:
        """Dataset and label plan of a trial. Raises RuntimeError where their hashes are not those of `spec`."""
        settings = spec.data.model_dump_json() + str(spec.seeds["data"])
        if self._dataset is None or settings != self._settings:
            self.images, self._dataset, self._plans = None, None, {}
            self._dataset, self._settings = open_dataset(spec.data, spec.seeds["data"]), settings
        dataset = self._dataset
        key = f"{spec.labels.model_dump_json()}|{sorted(spec.seeds.items())}"
        if key not in self._plans:
            self._plans[key] = make_plan(dataset, spec.labels, spec.seeds)
        plan = self._plans[key]
        hashes = (("data", dataset.fingerprint, spec.data_hash), ("labels", plan.sha256, spec.labels_hash))
        for name, here, driver in hashes:
            if driver and here != driver:
                text = f"this node sees other {name} than the driver: sha256 {here[:12]}, not {driver[:12]}"
                raise RuntimeError(text)
        return dataset, plan


PROCESS_DATA = TrialData()
"""The one of this process."""
