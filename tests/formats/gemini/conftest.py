"""The judge of what we write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.oracles import gemini_requests


@pytest.fixture(scope="session")
def judge() -> Callable[[bytes], Any]:
    """Check a body as Google's SDK would; decode it."""
    return gemini_requests.judge
