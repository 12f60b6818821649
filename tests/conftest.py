"""What every test shares: Hypothesis profiles and the watch for surviving processes."""

from __future__ import annotations

import os
import time
import uuid

import hypothesis
import psutil
import pytest

hypothesis.settings.register_profile("fast", max_examples=25, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=10_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

MARK = "EXTPROC_TEST_SESSION"
"""Every process that a test starts inherits it, however far down."""


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
