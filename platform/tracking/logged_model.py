"""A trained network as a logged model in MLflow: with signature and example, saved as an exported program.

The file (.pt2, torch.export) holds the graph and its weights, so loading it needs neither this program nor pickle.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from platform.tracking.run_content import MetricPoint

__all__ = ["TrainedModel", "how_to_use", "log_model"]


@dataclass(frozen=True)
class TrainedModel:
    """module: uint8 images [N, C, H, W] to probabilities [N, K], on the CPU. example: two or more such images."""

    module: Any
    example: np.ndarray
    class_names: tuple[str, ...]


def log_model(
    client: MlflowClient,
    experiment_id: str,
    run_id: str,
    name: str,
    model: TrainedModel,
    params: dict[str, str],
    metrics: list[MetricPoint],
) -> str:
    """Make it a model of the run; returns its id, with which models:/ID is its address."""
    from mlflow.entities import LoggedModelOutput, Metric

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        tags = {"classes": ", ".join(model.class_names)[:5000], "kurabe.study": name}
        made = client.create_logged_model(experiment_id, _safe(name), run_id, tags, params, "classifier")
        _save(model, folder, made, run_id)
        client.log_model_artifacts(made.model_id, str(folder))
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
    points = [Metric(key, value, at, step, model_id=made.model_id) for key, value, at, step in metrics]
    client.log_batch(run_id, points, synchronous=True)
    client.finalize_logged_model(made.model_id, "READY")
    return made.model_id


def _save(model: TrainedModel, folder: Path, made: Any, run_id: str) -> None:
    import mlflow.pytorch
    import torch
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    shape = tuple(model.example.shape[1:])
    with torch.no_grad():
        classes = model.module(torch.from_numpy(model.example)).shape[1]
    inputs = Schema([TensorSpec(np.dtype("uint8"), (-1, *shape))])
    outputs = Schema([TensorSpec(np.dtype("float32"), (-1, classes))])
    about = Model(made.artifact_location, run_id=run_id, model_uuid=made.model_id, model_id=made.model_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export's own, about how it shares weights
        mlflow.pytorch.save_model(
            model.module,
            str(folder),
            mlflow_model=about,
            signature=ModelSignature(inputs=inputs, outputs=outputs),
            input_example=model.example,
            serialization_format="pt2",
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", f"numpy=={np.__version__}", "mlflow"],
            metadata={"classes": list(model.class_names)},
        )


def _safe(name: str) -> str:
    """MLflow takes none of these in a model's name."""
    return "".join("-" if c in "/:.%\"'" else c for c in name)


def how_to_use(model_id: str) -> str:
    """What to type to have images classified, as Markdown; or why there is no model."""
    if not model_id.startswith("m-"):
        return f"\n\nNo logged model ({model_id})."
    uri = f"models:/{model_id}"
    return (
        f'\n\nIts network: `mlflow.pyfunc.load_model("{uri}").predict(images)`, uint8 [N, C, H, W] to '
        f"probabilities; or `mlflow models predict -m {uri} -i images.json --env-manager local`."
    )
