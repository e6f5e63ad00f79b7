from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.pretend import tried


@pytest.fixture(scope="package")
def device() -> Iterator[ProcessPoolExecutor]:
    """A process that has the pretended device."""
    with tried.pool() as pool:
        yield pool
