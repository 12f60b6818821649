"""Where an exchange hangs in a trace, and whether the trace is told.

https://www.w3.org/TR/trace-context/. Ids are made of ``gw.id``, so a record that comes twice
is one span.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from extproc.exchange.completion import Completion

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_ENVOY: Final = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})")


class Parent(NamedTuple):
    """Where the exchange hangs."""

    trace: int
    span: int
    """0: nowhere, it is the root."""
    sampled: bool | None
    """What the client has decided; None: nobody has."""
    state: str | None = None


def parent_of(completion: Completion) -> Parent:
    """Read the W3C's headers, and what Envoy says of its own span.

    https://www.w3.org/TR/trace-context/: a header that breaks its form is as good as none.
    """
    said = _TRACEPARENT.fullmatch(completion.traceparent or "")
    trace = span = 0
    sampled: bool | None = None
    if said is not None and (completion.traceparent or "")[:2] <= "fe":
        trace, span = int(said[1], 16), int(said[2], 16)
        if trace and span:
            sampled = bool(int(said[3], 16) & 1)
        else:
            trace = span = 0
    envoy = _ENVOY.fullmatch(completion.envoy_span or "")
    if envoy is not None:
        trace, span = int(envoy[1], 16), int(envoy[2], 16)
    state = completion.tracestate if sampled is not None else None
    return Parent(trace or number_of(completion.id, "trace", 16), span, sampled, state)


def is_sampled(parent: Parent, ratio: float) -> bool:
    """Say whether a trace is told: as its client has decided, else by its id.

    As Envoy's samplers ``parent_based`` and ``trace_id_ratio_based`` decide it, so that
    both halves of a trace are there or neither is. Envoy takes the id's first eight bytes
    for a little-endian number (tried: 47 of 47 traces).
    """
    if parent.sampled is not None:
        return parent.sampled
    number = int.from_bytes(parent.trace.to_bytes(16)[:8], "little")
    return number % 1_000_000 < round(ratio * 1_000_000)


def number_of(gw_id: str, what: str, size: int) -> int:
    """Return an id of `size` bytes, never 0: the same for the same exchange and part."""
    digest = hashlib.sha256(f"{gw_id}/{what}".encode()).digest()
    return int.from_bytes(digest[:size]) or 1
