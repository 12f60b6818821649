"""What is known of an exchange so far; in the end it becomes its `Completion`."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.exchange.completion import (
    Admission,
    Completion,
    FailedAttempt,
    Outcome,
)
from extproc.identity import Grant
from extproc.usage import Usage

ENVOY_SPAN = "x-gw-span"
"""The request header in which Envoy says which span is its own, as ``trace-span``, where
there are traces."""


class Tally:
    """Written to by both halves, read once."""

    # Defaults of the class: most of them are never set, and none costs a new exchange.
    operation = "unknown"
    status = 0
    request_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    envoy_span: str | None = None
    key: str | None = None
    original_model: str | None = None
    virtual_model: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    provider: str | None = None
    cluster: str | None = None
    attempts = 0
    failed_attempts: tuple[FailedAttempt, ...] = ()
    attempts_at: tuple[float, ...] = ()
    skipped: tuple[str, ...] = ()
    """Targets of the chain that could not be asked, and why."""
    streamed = False
    translated = False
    usage: Usage | None = None
    estimated = False
    first_byte: float | None = None
    request_bytes = 0
    answer_bytes = 0
    chunks = 0
    dropped: tuple[str, ...] = ()
    admission: Admission = "free"
    limit: str | None = None
    reserved: int | None = None
    cost: int | None = None
    budgets: tuple[tuple[str, int], ...] = ()
    organization: str | None = None
    team: str | None = None
    user: str | None = None
    end_user: str | None = None
    tags: tuple[str, ...] = ()

    def __init__(self, *, id: str, started: float) -> None:  # noqa: A002  gw.id
        self.id = id
        self.started = started
        """Unix seconds."""

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

    def complete(
        self, *, duration: float, outcome: Outcome, error: str | None
    ) -> Completion:
        """Close the books."""
        said = {"operation": self.operation, "status": self.status, **vars(self)}
        return Completion(duration=duration, outcome=outcome, error=error, **said)


def _ascii(value: str | None) -> str | None:
    """Return a header's value if it is what the W3C lets it be, which bounds its length."""
    if value is None or len(value) > 512 or not value.isascii():
        return None
    return value
