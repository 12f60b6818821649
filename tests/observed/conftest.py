"""One gateway for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.observed.gateway import Observed, observed


@pytest.fixture(scope="session")
def gateway() -> Iterator[Observed]:
    with observed() as running:
        yield running
