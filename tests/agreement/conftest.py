"""One gateway for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agreement.world import World, world
from tests.harness import wait_for

TABLES: list[str] = []
"""What everybody's account came to."""
NUMBER = int(os.environ.get("EXTPROC_AGREEMENT", "150"))


@pytest.fixture(scope="session")
def shared() -> Iterator[World]:
    with world() as made:
        made.ask(NUMBER)
        made.settled(NUMBER)
        made.kept = made.frozen()
        made.kept.told = TABLES
        yield made


@pytest.fixture
def live(shared: World) -> World:
    """The gateway, well again whatever a test before this one has done to it."""
    wait_for(lambda: shared.well() or None, shared.process.output, 120)
    return shared


@pytest.fixture
def here(shared: World) -> World:
    """Everybody's account when all had been asked, whichever test comes first."""
    return shared.kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the table, and leave it with a last line that says how the tests went."""
    summary = os.environ.get("EXTPROC_AGREEMENT_SUMMARY")
    if summary is None:
        return
    failed = sum(
        len(terminalreporter.stats.get(how, ())) for how in ("failed", "error")
    )
    passed = len(terminalreporter.stats.get("passed", ()))
    Path(summary).write_text(
        "".join(TABLES)
        + f"agreement: {NUMBER} requests, {passed} tests passed, {failed} failed\n"
    )
