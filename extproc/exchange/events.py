"""What can happen to an exchange. The edge says it, with the time; nothing else comes in."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.policy.claims import Admitted, Denied

__all__ = [
    "Admitted", "Closed", "Denied", "Event", "Expired", "FailedAttempt", "RequestBody",
    "RequestHeaders", "RequestTrailers", "ResponseBody", "ResponseHeaders",
    "ResponseTrailers", "ToppedUp",
]  # fmt: skip


class RequestHeaders(msgspec.Struct, frozen=True, gc=False):
    """The client's request begins."""

    headers: Mapping[str, str]
    """Lower-case names, pseudo headers among them; the last of several values."""
    end: bool
    """No body follows."""


class RequestBody(msgspec.Struct, frozen=True, gc=False):
    """More of the request's body."""

    data: bytes
    end: bool


class RequestTrailers(msgspec.Struct, frozen=True, gc=False):
    """The request ends in trailers, which no LLM client sends."""


class FailedAttempt(msgspec.Struct, frozen=True, gc=False):
    """What an attempt said that Envoy then tried elsewhere."""

    attempt: int
    """Counts from 1."""
    status: int
    retry_after: str | None


class ResponseHeaders(msgspec.Struct, frozen=True, gc=False):
    """An answer begins: the provider's, or one that Envoy made itself."""

    status: int
    headers: Mapping[str, str]
    end: bool
    details: str
    """Envoy's ``response.code_details``: ``via_upstream`` is the provider's own answer."""
    attempts: int
    """Who answered: the one of the chain that this counts to; 0 when none was tried."""
    failed: tuple[FailedAttempt, ...] = ()
    attempts_at: tuple[float, ...] = ()
    """Unix seconds at which each attempt was begun; 0: not known."""
    retry_after: str | None = None
    """How long the answer says to wait, in whatever way: seconds or a date."""


class ResponseBody(msgspec.Struct, frozen=True, gc=False):
    """More of the answer's body."""

    data: bytes
    end: bool


class ResponseTrailers(msgspec.Struct, frozen=True, gc=False):
    """The answer ends in trailers; no body message said so."""


class Expired(msgspec.Struct, frozen=True, gc=False):
    """The exchange's own deadline has passed."""

    crowded: bool = False
    """There is no room for its body."""


class ToppedUp(msgspec.Struct, frozen=True, gc=False):
    """What came of a `TopUp`."""

    granted: bool


class Closed(msgspec.Struct, frozen=True, gc=False):
    """Envoy has ended the stream: nothing can be said any more."""


Event = (
    RequestHeaders
    | RequestBody
    | RequestTrailers
    | ResponseHeaders
    | ResponseBody
    | ResponseTrailers
    | Expired
    | Closed
    | Admitted
    | Denied
    | ToppedUp
)
