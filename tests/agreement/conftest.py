"""One gateway for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.agreement.world import World, world

NUMBER = int(os.environ.get("EXTPROC_AGREEMENT", "300"))


@pytest.fixture(scope="session")
def live() -> Iterator[World]:
    with world() as made:
        made.ask(NUMBER)
        made.settled(NUMBER)
        made.kept = made.frozen()
        yield made
