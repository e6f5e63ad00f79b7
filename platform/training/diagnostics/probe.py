"""The fixed probe images of a trial, and the diagnostics that `diagnostics: full` computes from them."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from methods.base import Method
from methods.parts.clid import clid
from platform.core.spec import derive_seed
from platform.data.batches import Batches
from platform.data.dataset import Dataset, LabelPlan
from platform.training.clid_batch import CLID_IMAGES, CLID_TEMPERATURE, clid_positions
from platform.training.diagnostics.features import Probe, cluster_quality, density, head_gap
from platform.training.diagnostics.stage_gradients import stage_gradients
from platform.training.preserved_state import preserve_state

__all__ = ["FEATURES", "ProbeImages", "stage_features"]

FEATURES = 512  # images whose features are used, of the training and of the test part each
GRADIENTS = 128  # images whose gradients are taken, labelled and unlabelled each


class ProbeImages:
    """Images drawn once, by `seed`: the same for all methods on the same split. Views for gradients are drawn once too.

    Training images are those of the unlabelled pool; where there are none, the labelled ones. True labels: -1 where
    they are unknown. No generator of the trial is used.
    """

    def __init__(self, dataset: Dataset, plan: LabelPlan, batches: Batches, seed: int, amp: bool) -> None:
        self.batches, self.amp, self.device = batches, amp, batches.device
        self._rng = np.random.default_rng(derive_seed(seed, "probe"))
        pool = plan.unlabelled[plan.unlabelled < len(dataset.train)]  # images beyond have no truth
        pool = pool if len(pool) else plan.labelled
        truth = np.full(len(dataset.train), -1) if plan.true is None else plan.true
        test = dataset.test.labels if dataset.test.true_labels is None else dataset.test.true_labels
        self.reference, self.query = self._draw(pool, FEATURES), self._draw(np.arange(len(dataset.test)), FEATURES)
        self.reference_true, self.query_true = truth[self.reference], np.asarray(test)[self.query]
        self.clid = clid_positions(np.asarray(plan.val, dtype=np.int64))
        self._views(plan, self._draw(plan.labelled, GRADIENTS), self._draw(pool, GRADIENTS), truth, seed)

    def _draw(self, pool: np.ndarray, count: int) -> np.ndarray:
        return np.sort(self._rng.permutation(pool)[:count])

    def _views(self, plan: LabelPlan, own: np.ndarray, other: np.ndarray, truth: np.ndarray, seed: int) -> None:
        images = self.batches.labelled_images()

        def view(positions: np.ndarray, name: str) -> Tensor:
            generator = torch.Generator(self.device).manual_seed(derive_seed(seed, "probe", name, len(positions)))
            return images.view(self._tensor(positions), name, generator)

        self.labelled = (view(own, "weak"), self._tensor(plan.given[own]))
        self.unlabelled = (view(other, "weak"), view(other, "strong"), self._tensor(truth[other]))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(values, dtype=np.int64)).to(self.device)

    # -- at an evaluation ----------------------------------------------------------------------------------------------

    def __call__(self, method: Method, compiled: bool) -> dict[str, float]:
        """Diagnostics by name as in names.py. Gradients are of the trained model, features of the evaluated one."""
        eager = torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
        with eager:
            gradients = stage_gradients(method.model, self.labelled, self.unlabelled, self._autocast())
            clids = self._stage_clid(method.eval_model)
        values = torch.stack([value.double() for value in (gradients | clids).values()]).tolist()
        reference, query = self.probes(method.eval_model)
        numbers = dict(zip(gradients | clids, values, strict=True))
        return numbers | cluster_quality(reference) | head_gap(reference, query) | density(reference)

    def probes(self, model: nn.Module) -> tuple[Probe, Probe]:
        """Features and guesses of the training and of the test images whose true labels are known."""
        training = self.batches.plain(self.reference, FEATURES)
        test = self.batches.normalise(self.batches.images.test.index_select(0, self._tensor(self.query)))
        probes = []
        for x, true in ((next(training), self.reference_true), (test, self.query_true)):
            with torch.no_grad(), preserve_state(model, self.device), self._autocast():
                features, logits = model(x, with_features=True)
            probes.append(Probe(features.float().cpu().numpy(), true, logits.argmax(dim=1).cpu().numpy()).known())
        return probes[0], probes[1]

    def stage_features(self, model: nn.Module) -> dict[str, np.ndarray]:
        """`stage_features` of the training probe, for `linear_cka` between two runs on the same split."""
        with self._autocast():
            return stage_features(model, next(self.batches.plain(self.reference, FEATURES)))

    @torch.no_grad()
    def _stage_clid(self, model: nn.Module) -> dict[str, Tensor]:
        """CLID of the outputs' graph with each stage's, on the images of val_clid. `features` equals val_clid."""
        for x in self.batches.plain(self.clid, CLID_IMAGES):
            with self._autocast():
                outputs, logits = _stage_outputs(model, x)
            return {
                f"stage_clid/{name}": clid(value.float(), logits.float(), CLID_TEMPERATURE)
                for name, value in outputs.items()
            }
        return {}

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp)


@torch.no_grad()
def stage_features(model: nn.Module, images: Tensor) -> dict[str, np.ndarray]:
    """Outputs of the model's stages and its features in eval mode, averaged over positions: [N, channels] by stage.

    images: normalised, [N, C, H, W].
    """
    return {name: value.float().cpu().numpy() for name, value in _stage_outputs(model, images)[0].items()}


def _stage_outputs(model: nn.Module, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Averaged outputs by stage, [N, channels] on the device, and the logits [N, K]."""
    outputs: dict[str, Tensor] = {}

    def record(name: str) -> Any:
        return lambda module, inputs, output: outputs.__setitem__(name, _pooled(output))

    hooks = [model.get_submodule(name).register_forward_hook(record(name)) for name in getattr(model, "stages", ())]
    try:
        with preserve_state(model, images.device):
            features, logits = model(images, with_features=True)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs | {"features": features}, logits


def _pooled(output: Tensor) -> Tensor:
    """[N, C, H, W] or [N, tokens, C] -> [N, C]."""
    if output.ndim == 4:
        return output.mean(dim=(2, 3))
    return output.mean(dim=1) if output.ndim == 3 else output
