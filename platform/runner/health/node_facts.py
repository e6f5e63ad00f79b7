"""What a node says of itself. Runs on it, in a process of Ray: that this file is there is the first of the facts."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from platform.core.accelerator import available
from platform.report.provenance import versions

__all__ = ["NodeFacts", "NodeRequest", "node_facts", "token_hash"]


@dataclass(frozen=True)
class NodeRequest:
    """What is asked of a node. quick: versions, token and clock alone, and the GPU where Ray gives out one.

    shared: a file that the driver has written, and `word` in it. data: of a sweep file, as JSON, with its seed.
    """

    quick: bool = True
    gpus: float = 0.0
    shared: str = ""
    word: str = ""
    data: str = ""
    data_seed: int = 0


@dataclass
class NodeFacts:
    """Amounts in GiB. time: of the node's clock. gpu: what torch sees, or its error. driver: NVIDIA's."""

    host: str
    versions: dict[str, str]
    token: str
    gpus: float = 0.0  # that Ray gives out
    gpu: str = ""
    gpu_usable: bool = True
    driver: str = ""
    sees_shared: bool | None = None
    disk: float = 0.0
    memory: float = 0.0
    data: str = ""
    data_error: str = ""
    time: float = 0.0
    node: str = ""
    offset: float = field(default=0.0)  # of its clock against the driver's, in seconds


def node_facts(request: NodeRequest) -> NodeFacts:
    """Everything that is asked. Raises nothing: what fails is a fact."""
    facts = NodeFacts(socket.gethostname(), versions(), token_hash(), gpus=request.gpus)
    if request.gpus or not request.quick:
        facts.gpu, facts.gpu_usable = _gpu(request.gpus)
    if not request.quick:
        facts.driver = _driver()
        facts.disk = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
        facts.memory = psutil.virtual_memory().available / 2**30
        if request.shared:
            facts.sees_shared = _reads(request.shared, request.word)
        if request.data:
            facts.data, facts.data_error = _data(request)
    facts.time = time.time()
    return facts


def token_hash() -> str:
    """First digits of the hash of the token that Ray's processes show each other here; empty where there is none."""
    token = os.environ.get("RAY_AUTH_TOKEN", "")
    if not token:
        path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
        try:
            token = path.read_text()
        except OSError:
            return ""
    return hashlib.sha256(token.strip().encode()).hexdigest()[:8]


def _gpu(given: float) -> tuple[str, bool]:
    """What torch sees, and whether it can compute on it. True where there is none and none is given out."""
    import torch

    try:
        if not torch.cuda.is_available():
            return "none", available() or not given
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        torch.ones(2, 2, device="cuda").matmul(torch.ones(2, 2, device="cuda")).sum().item()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}", False
    return f"{', '.join(names)} (CUDA {torch.version.cuda})", True


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.split("\n")[0].strip()


def _reads(path: str, word: str) -> bool:
    try:
        return Path(path).read_text() == word
    except OSError:
        return False


def _data(request: NodeRequest) -> tuple[str, str]:
    """How many images the data has, or why it cannot be opened here."""
    from platform.core.errors import UserError
    from platform.core.spec import DataSettings
    from platform.data import open_dataset

    try:
        dataset = open_dataset(DataSettings.model_validate_json(request.data), request.data_seed)
    except UserError as error:
        return "", error.problems[0].message
    except Exception as error:
        return "", f"{type(error).__name__}: {error}"
    return f"{len(dataset.train)} + {len(dataset.test)} images, {dataset.fingerprint[:8]}", ""
