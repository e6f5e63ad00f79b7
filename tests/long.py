"""Tests that add little to their neighbours and take minutes: `KURABE_LONG=1 make test` runs them too."""

import os

import pytest

long = pytest.mark.skipif("KURABE_LONG" not in os.environ, reason="takes minutes; KURABE_LONG=1 runs it")
