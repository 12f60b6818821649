"""The judge of what we write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.oracles import anthropic_requests


@pytest.fixture(scope="session")
def judge() -> Callable[[bytes], Any]:
    """Check a body as Anthropic's SDK would; decode it."""
    return anthropic_requests.judge
