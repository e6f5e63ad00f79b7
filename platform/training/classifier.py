"""The network of a trained trial by itself: images in, probabilities out, as others may use it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from methods.base import Method
from platform.core.spec import TrialSpec
from platform.data.dataset import Dataset, LabelPlan
from platform.data.device_images import channel_statistics
from platform.training import checkpoint
from platform.training.trial import Trial

__all__ = ["Classifier", "trained_classifier"]


class Classifier(nn.Module):
    """uint8 images [N, C, H, W] -> probabilities [N, K]. mean, std: of each channel, in levels (0 to 255)."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network((images.float() - self.mean) / self.std)
        return logits.float().softmax(dim=1)


def trained_classifier(
    spec: TrialSpec, dataset: Dataset, plan: LabelPlan, method_class: type[Method], path: Path
) -> Classifier:
    """The network that the trial's last evaluation measured (Method.eval_model), on the CPU, in evaluation mode.

    path: the trial's checkpoint. Raises UserError for a file that is none of this trial.
    """
    eager = spec.model_copy(update={"train": spec.train.model_copy(update={"compile": "off"})})
    trial = Trial(eager, dataset, plan, method_class)
    trial.method.load_state_dict(checkpoint.read(path, spec.key, torch.device("cpu"))["method"])
    statistics = channel_statistics(dataset.train.images)
    network = Classifier(trial.method.eval_model, statistics.mean, statistics.std).eval()
    return network.requires_grad_(False)
