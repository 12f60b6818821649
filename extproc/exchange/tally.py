"""What is known of an exchange so far: its `Completion`, as it comes to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from extproc.exchange.completion import Completion
from extproc.identity import Grant

ENVOY_SPAN = "x-gw-span"
"""The request header in which Envoy says which span is its own, as ``trace-span``, where
there are traces."""


class Tally(Completion):
    """Written to by both halves until it is complete, and by nobody then."""

    @classmethod
    def begin(cls, *, id: str, started: float) -> Self:  # noqa: A002  gw.id
        """Return that of an exchange of which nothing is known; `started` in Unix seconds."""
        return cls(
            id=id, operation="unknown", started=started, duration=0.0, outcome="ok", status=0
        )  # fmt: skip

    def trace(self, headers: Mapping[str, str]) -> None:
        """Note by what the request is known elsewhere."""
        self.request_id = headers.get("x-request-id")
        if "traceparent" in headers:
            self.traceparent = _ascii(headers["traceparent"])
            self.tracestate = _ascii(headers.get("tracestate"))
        if ENVOY_SPAN in headers:
            self.envoy_span = headers[ENVOY_SPAN]

    def belong(self, grant: Grant) -> None:
        """Note whose request it is, whatever becomes of it."""
        self.key = grant.id
        if grant.organization or grant.team or grant.user:
            self.organization, self.team = grant.organization, grant.team
            self.user = grant.user
        if grant.tags:
            self.tags = grant.tags


def _ascii(value: str | None) -> str | None:
    """Return a header's value if it is what the W3C lets it be, which bounds its length."""
    if value is None or len(value) > 512 or not value.isascii():
        return None
    return value
