"""A trial that a sweep kept, brought back with its trained weights to be looked at."""

from __future__ import annotations

from pathlib import Path

import torch

from platform.core.accelerator import available, kind
from platform.core.errors import Problem, UserError
from platform.core.plugins import BrokenPlugin, UnknownPlugin
from platform.core.registry import METHODS
from platform.core.spec import TrialSpec
from platform.training import checkpoint
from platform.training.trial import Trial
from platform.training.trial_data import PROCESS_DATA

__all__ = ["restore"]


def restore(spec: TrialSpec, path: Path, method: str, where: str) -> Trial:
    """The trial with the weights of its checkpoint: what it needs to train on is left out, so any device will do.

    method: as METHODS.get takes it, a name or the path of a plug-in file. where: what problems are said of. Raises
    UserError where method, data or code are not those of the sweep.
    """
    quiet = spec.model_copy(update={"train": spec.train.model_copy(update={"diagnostics": "off", "compile": "off"})})
    device = torch.device(kind() if available() else "cpu")
    try:
        cls = METHODS.get(method)
        dataset, plan = PROCESS_DATA.load(spec)
        trial = Trial(quiet, dataset, plan, cls, device, images=PROCESS_DATA.images)
        PROCESS_DATA.images = trial.images  # the next trial on these data uses them, too
        state = checkpoint.read(path, spec.key, device)["method"]
        state["_extra_state"]["generator"] = trial.method.generator.get_state()  # another device's would not fit
        trial.method.load_state_dict(state)
    except (UnknownPlugin, BrokenPlugin) as error:
        hint = "it has to be where it was when the sweep ran: python -m platform.catalog lists all"
        raise UserError(Problem(f"the method '{method}' is not there: {error}", where=where, hint=hint)) from error
    except RuntimeError as error:  # other data on this machine, or a state dict that does not fit
        lines = "\n".join(str(error).splitlines()[:4])
        hint = f"data and code have to be those of the sweep, or run it anew: --fresh\n{lines}"
        raise UserError(Problem("its trained model cannot be brought back", where=where, hint=hint)) from error
    return trial
