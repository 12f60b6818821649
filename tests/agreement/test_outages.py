"""Whatever the gateway stands on is away: it lives, is ready, and says what is missing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.agreement.world import World
from tests.harness import wait_for

pytestmark = pytest.mark.envoy

Known = dict[str, Any]

OUTAGES: dict[str, tuple[str, str, str]] = {
    "database": ("postgres", "stop", "start"),
    "store": ("redis", "kill", "restart"),
    "collector": ("receiver", "hang_up", "listen_again"),
    "provider": ("mock", "kill", "restart"),
}
"""What is stopped and started, and how."""


def told(what: str, known: Known) -> bool:
    """Say whether `/admin/health` tells of the outage."""
    match what:
        case "database":
            return known["database"]["problem"] is not None
        case "store":
            return bool(known["store"]["away"])
        case "collector":
            sinks = known["sinks"]
            return bool(sinks["otlp"]["away"] and sinks["metrics"]["away"])
        case _:
            return any(
                one["provider"] == "openai" for one in known["providers"]["unwell"]
            )


@pytest.mark.parametrize("what", OUTAGES)
def test_an_outage_is_told_and_neither_kills_nor_closes(live: World, what: str) -> None:
    name, stop, start = OUTAGES[what]

    def known() -> Known:
        answer = live.operators("/admin/health")
        assert answer.status_code == 200, answer.text
        found: Known = answer.json()
        return found

    def probes() -> list[int]:
        paths = ("/livez", "/readyz", "/health/live", "/health/ready")
        ours = [live.operators(path).status_code for path in paths]
        return ours + [httpx.get(f"{live.url}{path}").status_code for path in paths[2:]]

    part = getattr(live, name)
    getattr(part, stop)()
    try:

        def said() -> bool | None:
            # A provider that is away is known by what is asked of it.
            assert live.serves() == (what != "provider")
            return told(what, known()) or None

        wait_for(said, lambda: str(known()), 60)
        assert probes() == [200] * 6
        assert known()["ready"] is True
    finally:
        getattr(part, start)()

    def back() -> bool | None:
        # A provider's score is that of a minute.
        return (
            live.serves() and (what == "provider" or not told(what, known()))
        ) or None

    wait_for(back, lambda: str(known()), 60)
