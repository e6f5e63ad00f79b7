"""What the winners of sweeps predict on the test images, from their stored checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from platform.api.loaded_sweep import LoadedSweep, head
from platform.core.errors import Problem, UserError

if TYPE_CHECKING:
    from platform.core.row import Row

COLUMNS = ("sweep", "method", "study", "study_index", "trial", "key")


def predict_all(sweeps: Sequence[LoadedSweep]) -> pd.DataFrame:
    """A row per winner and test image; a winner that cannot be brought back is left out with a warning.

    Raises UserError where that is so of all of them, with every reason.
    """
    frames, problems = [], []
    for sweep in sweeps:
        for row in sweep.winners.values():
            try:
                frames.append(_predict(sweep, row))
            except UserError as error:
                problems += error.problems
    if not frames:
        missing = Problem("no study has a winner: no trial completed", hint="go on with the sweep: the same command")
        raise UserError(*(dict.fromkeys(problems) or [missing]))
    for problem in dict.fromkeys(problems):
        warnings.warn(f"left out of the predictions: {problem}", stacklevel=4)
    return pd.concat(frames, ignore_index=True)


def _predict(sweep: LoadedSweep, row: Row) -> pd.DataFrame:
    import torch

    from platform.training.preserved_state import preserve_state
    from platform.training.restored import restore

    path = sweep.folder / "checkpoints" / f"{row.key}.pt"
    if not path.is_file():
        again = f"kurabe sweep {sweep.folder} --results {sweep.folder.parent} --fresh"
        hint = f"run the sweep anew (what is there is moved aside): {again}"
        raise UserError(
            Problem(f"the state of its winner (trial {row.number}) is not kept", f"{path}", row.study, hint)
        )
    plug_ins = {Path(name).stem: name for name in sweep.info.resolved.get("methods") or [] if name.endswith(".py")}
    trial = restore(row.spec, path, plug_ins.get(row.method, row.method), where=f"{sweep.info.name}: {row.study}")
    model = trial.method.eval_model
    half = torch.autocast(trial.device.type, torch.bfloat16, enabled=trial.amp)  # as it was evaluated
    with torch.no_grad(), preserve_state(model, trial.device), half:
        parts = [model(x).float().softmax(dim=1) for x in trial.batches.test(row.spec.train.eval_batch_size)]
        chances = torch.cat(parts).cpu().numpy()
    labels = np.asarray(trial.dataset.test_labels, dtype=np.int64)
    predicted = chances.argmax(axis=1)
    first: dict[str, Any] = {name: value for name, value in head(sweep, row).items() if name in COLUMNS}
    columns = {
        "image": np.arange(len(labels)),
        "label": labels,
        "predicted": predicted,
        "correct": pd.array(predicted == labels, dtype="boolean"),
        "confidence": chances.max(axis=1),
    }
    frame = pd.DataFrame(first | columns)
    frame.loc[frame["label"] < 0, "correct"] = pd.NA
    return frame
