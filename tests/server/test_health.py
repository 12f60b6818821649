"""A request would be served where a worker answers, and serves what is configured."""

from __future__ import annotations

import msgspec
import pytest

from extproc.server.control_link import SILENT_SECONDS, Peer
from extproc.server.health import (
    BEHIND_SECONDS,
    serves,
    unwell,
    workers,
)
from extproc.telemetry.deployments import Deployment

WELL = Deployment(
    id="p/m", provider="p", model="m", key="", phase="closed", reason="", score=100,
    in_flight=0, requests=0, tokens=0, cooling_seconds=0.0, first_byte_seconds=None,
    total_seconds=None, benched=False,
)  # fmt: skip
LATE = SILENT_SECONDS + 1


@pytest.mark.parametrize(
    ("served", "silent", "age", "ready"),
    [
        pytest.param(7, 0.5, 0.0, True, id="all is well"),
        pytest.param(7, 0.5, 9e9, True, id="nothing has changed for long"),
        pytest.param(7, LATE, 0.0, False, id="it hangs"),
        pytest.param(6, 0.5, 1.0, True, id="it is about to serve the new one"),
        pytest.param(6, 0.5, BEHIND_SECONDS, False, id="it does not get there"),
        pytest.param(-1, 0.5, 1.0, False, id="it has nothing to serve by"),
    ],
)
def test_one_worker_must_answer_and_be_up_to_date(
    served: int, silent: float, age: float, ready: bool
) -> None:
    peers = [Peer(1, "w0", generation=served, heard=100.0 - silent)]
    assert serves(peers, now=100.0, generation=7, age=age) is ready
    # One is enough, and which one does not matter.
    hung = Peer(2, "w1", generation=7, heard=0.0)
    assert serves([hung, *peers], now=100.0, generation=7, age=age) is ready


def test_without_workers_or_a_configuration_nothing_is_served() -> None:
    assert not serves([], now=1.0, generation=1, age=0.0)
    assert not serves([Peer(1, "w", heard=1.0)], now=1.0, generation=None, age=0.0)


def test_each_worker_says_how_long_it_has_been_silent() -> None:
    [told] = workers([Peer(1, "w0", generation=3, heard=92.0)], 100.0)
    assert told["silent_seconds"] == 8.0
    assert told["answers"] is False


def test_only_what_is_left_alone_is_told_and_why() -> None:
    cooling = _but(phase="cooling", reason="server_error", cooling_seconds=4.04)
    refused = _but(benched=True)
    failing = _but(score=12)
    told = unwell([WELL, _but(phase="limited"), cooling, refused, failing])
    assert [(one["state"], one["reason"]) for one in told] == [
        ("cooling", "server_error"), ("closed", "credential"), ("closed", ""),
    ]  # fmt: skip
    assert told[0]["cooling_seconds"] == 4.0


def _but(**changes: object) -> Deployment:

    return msgspec.structs.replace(WELL, **changes)
