"""One gateway, `extproc run` on two workers, for all of this folder that needs control."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.__main__ import started
from tests.chaos.stage import Stage

TARGETS = [{"provider": "bad"}, {"provider": "good"}]
MODELS = {
    "breaking": {"targets": TARGETS, "strategy": "round_robin"},
    "remembered": {"targets": TARGETS},
}


@pytest.fixture(scope="session")
def chaos_stage() -> Iterator[Stage]:
    with started(MODELS) as stage:
        yield stage
