"""What every test shares: Hypothesis profiles and the watch for surviving processes."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import hypothesis
import psutil
import pytest

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


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what runs in one process when several share the work (``--dist loadgroup``)."""
    folders = [item.path.relative_to(TESTS).parts[0] for item in items]
    for item, folder in zip(items, folders, strict=True):
        group = folder if folder in TOGETHER else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
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
