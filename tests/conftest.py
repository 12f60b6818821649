"""What every test shares: Hypothesis profiles and the watch for surviving processes."""

from __future__ import annotations

import gc
import os
import time
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest
from xdist.scheduler import LoadScopeScheduling

# The gate tries the same examples each time; `make explore` goes where nobody has been.
hypothesis.settings.register_profile(
    "fast", max_examples=25, deadline=None, derandomize=True, database=None
)
hypothesis.settings.register_profile("deep", max_examples=10_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

TESTS = Path(__file__).parent

TOGETHER = ("clients", "chaos", "agreement", "budgets", "observed")
"""Folders of tests that share what takes seconds to start."""

FIRST = (*TOGETHER, "envoy", "server", "local")
"""Folders in the order in which they are handed out: what takes longest before the rest."""

MARK = "EXTPROC_TEST_SESSION"
"""Every process that a test starts inherits it, however far down."""


class Together(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives one process what shares its set-up, when several share the work.

    Not xdist's own ``loadgroup``, which writes a test's group into its id: pytest 9.2 has
    ids that cannot be written, and each process then sets up everything.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        folder = path.removeprefix("tests/").partition("/")[0]
        return folder if folder in TOGETHER else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Say what runs in one process."""
    return Together(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the tests a garbage collector that looks at all of them, time and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    """Leave out what nobody reads, and a third of a report's way to the first process is."""
    report = yield
    report.keywords = {}
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hand out what takes longest first."""
    folders = [item.path.relative_to(TESTS).parts[0] for item in items]
    places = [FIRST.index(name) if name in FIRST else len(FIRST) for name in folders]
    order = sorted(range(len(items)), key=places.__getitem__)
    items[:] = [items[index] for index in order]


def survivors(mark: str) -> list[str]:
    """Return the command lines of processes that carry `mark`, ours not among them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(f"{process.pid}: {' '.join(process.cmdline())[:200]}")
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="session", autouse=True)
def no_process_survives():
    """Fail the session when a test leaves a process behind."""
    mark = os.environ[MARK] = uuid.uuid4().hex
    yield
    patience = time.monotonic() + 5
    while (left := survivors(mark)) and time.monotonic() < patience:
        time.sleep(0.1)
    assert not left, f"processes left behind: {left}"
