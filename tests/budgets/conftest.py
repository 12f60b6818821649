"""The worlds that the money proofs play in, and the table that they end with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.budgets.world import world

ROWS: list[tuple[str, ...]] = []
HEAD = (
    "store",
    "gateways",
    "scenario",
    "asked",
    "admitted",
    "spent",
    "limit",
    "overspent",
)

FULL = os.environ.get("EXTPROC_MONEY") == "full"
"""All combinations; without it two of them, as a part of `make test`."""

WORLDS = {"memory-1": (1, False), "redis-3": (3, True)}
if FULL:
    WORLDS["redis-1"] = (1, True)

CELLS = ("json", "stream", "json-leaving", "stream-leaving", "mixed")
CUT = ("chat-completions", "completions", "responses", "messages")
KEYS = {
    **{f"dollar-{n}": {"budgets": [{"usd": 1, "period": "total"}]} for n in CELLS},
    **{f"rpm-{n}": {"rate_limits": {"requests_per_hour": 30}} for n in CELLS},
    **{f"tpm-{n}": {"rate_limits": {"tokens_per_hour": 3000}} for n in CELLS},
    **{
        f"cut-{n}": {"budgets": [{"usd": 0.3, "period": "total"}], "cut_off": True}
        for n in CUT
    },
    "soft": {"budgets": [{"usd": 1, "period": "total", "mode": "soft"}]},
    "fair": {"budgets": [{"usd": 2, "period": "total", "mode": "soft"}]},
    "parallel": {"concurrency": 7},
    "ledger": {"budgets": [{"usd": 1000, "period": "total"}]},
    "unlimited": {},
    "restarted": {"budgets": [{"usd": 1, "period": "total"}]},
    "named": {"rate_limits": {"requests_per_hour": 5}},
    "told": {"rate_limits": {"requests_per_hour": 1000, "tokens_per_hour": 100000}},
}


@pytest.fixture(scope="module", params=WORLDS)
def here(request):
    gateways, redis = WORLDS[request.param]
    with world(request.param, gateways=gateways, redis=redis, keys=KEYS) as made:
        yield made


@pytest.fixture(scope="session")
def rows():
    def add(name, *row):
        store, _, gateways = name.partition("-")
        ROWS.append(tuple(map(str, (store, gateways, *row))))

    return add


@pytest.fixture
def table(here, rows):
    return lambda *row: rows(here.name, *row)


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    widths = [max(map(len, column)) for column in zip(HEAD, *ROWS, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in (HEAD, *ROWS)
    ]
    for line in lines:
        terminalreporter.write_line(line)
    summary = os.environ.get("EXTPROC_MONEY_SUMMARY")
    if summary:
        over = sum(row[-1] not in {"0", "$0"} for row in ROWS)
        failed = len(terminalreporter.stats.get("failed", ()))
        failed += len(terminalreporter.stats.get("error", ()))
        Path(summary).write_text(
            f"budgets: {len(ROWS)} scenarios, {failed} failed, {over} overspent "
            f"(each within its bound)\n"
        )
