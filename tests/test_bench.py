"""The benchmarks still run: what they measure changes under them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    output = tmp_path_factory.mktemp("bench") / "costs.json"
    command = [sys.executable, BENCH / "worker_cpu.py", "--rounds", "1"]
    subprocess.run([*map(str, command), "--json", str(output)], check=True, timeout=120)
    found = msgspec.json.decode(output.read_bytes())["costs"]
    return {cost["case"]: cost for cost in found}


def test_a_limit_costs_no_request_that_has_none(costs):
    assert (
        costs["pass-through"]["calls"]
        < costs["pass-through, limits and budget"]["calls"]
    )


@pytest.mark.parametrize(
    ("case", "most"),
    [
        ("pass-through", 800),
        ("translated", 1000),
        ("pass-through, limits and budget", 1200),
        ("pass-through stream", 10_000),
        ("translated stream", 12_500),
    ],
)
def test_a_request_takes_no_more_calls_of_functions_than_it_may(costs, case, most):
    """Measured are 650, 820, 1,000, 8,300, 10,700, on any machine.

    A call is some 0.3 µs: whoever needs more of them should know what it costs.
    """
    assert costs[case]["calls"] <= most
