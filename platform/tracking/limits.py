"""MLflow's own limits (mlflow/utils/validation.py); a test compares the numbers with the installed version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from platform.core.redaction import redact

__all__ = [
    "MAX_ENTITIES",
    "MAX_KEY",
    "MAX_METRICS",
    "MAX_PARAM",
    "MAX_PARAMS_OR_TAGS",
    "MAX_TAG",
    "MAX_TAG_OF_EXPERIMENT",
    "cut",
    "cut_middle",
    "tag_values",
]

MAX_KEY, MAX_PARAM, MAX_TAG = 250, 6000, 8000
MAX_TAG_OF_EXPERIMENT = 20_000
MAX_METRICS = 1000  # per log_batch; so are the next two
MAX_PARAMS_OR_TAGS = 100
MAX_ENTITIES = 1000


def cut(text: str, limit: int) -> str:
    """`text`, or its beginning and how much is missing: MLflow refuses or silently cuts what is longer."""
    if len(text) <= limit:
        return text
    notice = f" ... [cut: {len(text)} characters in all]"
    return text[: limit - len(notice)] + notice


def cut_middle(text: str, limit: int) -> str:
    """Cut the middle out of a traceback: the last lines say what happened."""
    if len(text) <= limit:
        return text
    notice = f"... [cut: {len(text)} characters in all]\n"
    return notice + text[-(limit - len(notice)) :]


def tag_values(tags: Mapping[str, Any]) -> dict[str, str]:
    """The tags as MLflow keeps them: strings within its limits, without secrets."""
    return {cut(k, MAX_KEY): cut_middle(redact(str(v)), MAX_TAG) for k, v in tags.items()}
