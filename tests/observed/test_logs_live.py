"""What is logged changes while the gateway runs, and a request has one line at most."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.observed.gateway import Observed, until

pytestmark = pytest.mark.envoy


def lines_of(gateway: Observed, request_id: str = "") -> list[dict[str, Any]]:
    lines = [
        json.loads(line)
        for line in gateway.log().splitlines()
        if line.startswith("{") and line.endswith("}")
    ]
    return [one for one in lines if request_id in one.get("request_id", "")]


def test_what_breaks_off_has_one_line_with_envoys_reason(gateway: Observed) -> None:
    """Of a provider's reset the worker and Envoy both tell control."""
    with pytest.raises(httpx.RemoteProtocolError):
        gateway.ask(text="[[mock: reset-mid-stream after=5]]", stream=True)
    until(lambda: resets(gateway))
    [line] = resets(gateway)
    assert line["outcome"] == "upstream_error"
    assert line["envoy_flags"] in {"UC", "UR", "UPE"}
    # What is told of a later request would come after a second line of this one.
    later = gateway.ask("broken").headers["x-request-id"]
    until(lambda: lines_of(gateway, later))
    assert lines_of(gateway, line["request_id"]) == [line]


def resets(gateway: Observed) -> list[dict[str, Any]]:
    return [one for one in lines_of(gateway) if one.get("error") == "upstream_reset"]


def test_levels_and_lines_change_with_the_file(gateway: Observed) -> None:
    def ask(model: str = "gpt-4o") -> str:
        return str(gateway.ask(model).headers["x-request-id"])

    try:
        # What workers are told too is a new generation, which `reload` waits for.
        gateway.reload(logs={"requests": "all", "levels": {"nobody": "debug"}})
        well, failed = ask(), ask("broken")
        until(lambda: lines_of(gateway, well) and lines_of(gateway, failed))
        gateway.reload(logs={"level": "error"})
        quiet = ask("broken")
        # A line would come with what the worker and Envoy both say, as these spans do.
        gateway.whole(quiet, 3)
    finally:
        gateway.reload()
    other, again = ask(), ask("broken")
    until(lambda: lines_of(gateway, again))
    levels = {
        name: [one["level"] for one in lines_of(gateway, request_id)]
        for name, request_id in {
            "well": well, "failed": failed, "quiet": quiet, "other": other, "again": again,
        }.items()
    }  # fmt: skip
    assert levels == {
        "well": ["info"], "failed": ["warning"], "quiet": [], "other": [],
        "again": ["warning"],
    }  # fmt: skip
