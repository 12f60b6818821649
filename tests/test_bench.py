"""The benchmarks still run: what they measure changes under them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

BENCH = Path(__file__).parents[1] / "bench"


def measured(tmp_path_factory, script):
    output = tmp_path_factory.mktemp("bench") / "costs.json"
    command = [sys.executable, BENCH / script, "--rounds", "1"]
    subprocess.run([*map(str, command), "--json", str(output)], check=True, timeout=120)
    return msgspec.json.decode(output.read_bytes())


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    found = measured(tmp_path_factory, "worker_cpu.py")["costs"]
    return {cost["case"]: cost for cost in found}


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory):
    found = measured(tmp_path_factory, "telemetry.py")
    return {cost["case"]: cost for cost in found}


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    found = measured(tmp_path_factory, "control_cpu.py")
    return {cost["case"]: cost for cost in found}


def test_a_limit_costs_no_request_that_has_none(costs):
    assert (
        costs["pass-through"]["calls"]
        < costs["pass-through, limits and budget"]["calls"]
    )


@pytest.mark.parametrize(
    ("case", "most"),
    [
        ("pass-through", 445),
        ("translated", 550),
        ("pass-through, limits and budget", 635),
        ("translated, limits and budget", 735),
        ("pass-through stream", 5_700),
        ("translated stream", 6_000),
    ],
)
def test_a_request_takes_no_more_calls_of_functions_than_it_may(costs, case, most):
    """Measured are 433, 535, 617, 719, 5,592, 5,886, on any machine.

    A call is some 0.3 µs: whoever needs more of them should know what it costs.
    """
    assert costs[case]["calls"] <= most


def test_a_refusal_costs_less_than_half_of_what_serving_does(costs):
    """Where the gateway is overloaded. Measured are 204 of 433 calls, 38 of 98 µs."""
    assert 0 < costs["refused"]["calls"] < costs["pass-through"]["calls"] / 2


@pytest.mark.parametrize(
    ("case", "most"),
    [("plain", 80), ("with budgets", 92), ("streamed, with budgets", 100)],
)
def test_a_record_takes_no_more_calls_of_control_than_it_may(control, case, most):
    """Measured are 72, 84 and 92, the database's transaction with them."""
    assert 0 < control[case]["calls"] <= most


@pytest.mark.parametrize(
    ("case", "most"),
    [
        ("pass-through", 26),
        ("translated", 26),
        ("pass-through, limits and budget", 36),
        ("translated, limits and budget", 36),
        ("pass-through stream", 26),
        ("translated stream", 26),
    ],
)
def test_telemetry_takes_no_more_calls_of_functions_than_it_may(telemetry, case, most):
    """Measured are 24, 34 where there are limits, and 24 of a stream.

    Two thirds of them write down what is sent, and the record, where they outlive the worker.
    A record of 940 bytes is encoded in one of them; a longer one takes longer.
    """
    assert 0 < telemetry[case]["calls"] <= most
    assert telemetry[case]["record_bytes"] <= 1_200


def test_content_that_is_not_wanted_costs_a_look(telemetry):
    """Six of an answer, and one of each chunk; 2 µs of a stream of 100."""
    for case, cost in telemetry.items():
        assert cost["looks"] <= (120 if "stream" in case else 8)
        assert cost["content_calls"] > 0


def test_a_request_leaves_nothing_behind_in_a_worker():
    """The least object is 28 bytes; what comes and goes is some 20 kB in all."""
    command = [BENCH / "worker_memory.py", "--requests", "960", "--left", "26"]
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        check=False, timeout=240, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_each_pause_has_its_row():
    done = subprocess.run(
        [sys.executable, str(BENCH / "idle.py"), "--times", "2"],
        check=True, timeout=120, capture_output=True, text=True,
    )  # fmt: skip
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [name for name, *_ in rows] == [
        "at once", "after 1 ms", "after 5 ms", "after 33 ms", "after 96 MB",
    ]  # fmt: skip
    assert all(int(request) > 0 and int(answer) > 0 for _, request, answer in rows)


@pytest.fixture
def floor(monkeypatch):
    """The benchmark of the floor, as it finds its own parts."""
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module("floor")


@pytest.mark.envoy
def test_the_floor_is_a_worker_that_asks_nobody_and_an_envoy_without_our_replies(floor):
    asked = floor.stage.body("gpt-4o")
    said = {"model": "nobody-has-it", "messages": [{"role": "user", "content": "Hi"}]}
    with (
        floor.stage.provider() as port,
        floor.parrot(port, (asked, 150), "reads", "lean", seconds=1) as peers,
        httpx.Client(base_url=peers.urls["gateway"], timeout=20) as client,
    ):
        for _ in range(3):
            answer = client.post(
                "/v1/chat/completions",
                json=said,
                headers={"authorization": "Bearer not-a-key"},
            )
            assert answer.status_code == 200
            assert answer.json()["object"] == "chat.completion"
        # Envoy refuses such a path itself, in OpenAI's words where its replies are ours.
        refused = client.get("/v1%2Fmodels")
        assert refused.status_code == 400
        assert "error" not in refused.text
