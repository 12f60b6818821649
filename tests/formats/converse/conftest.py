"""The judge of what we write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.model import ServiceModel

from tests.oracles import converse_requests


@pytest.fixture(scope="session")
def service() -> ServiceModel:
    """Bedrock's runtime, as botocore knows it."""
    return converse_requests.service()


@pytest.fixture(scope="session")
def judge() -> Callable[..., Any]:
    """Check a body as botocore would; decode it."""
    return converse_requests.judge
