"""The record that every exchange ends in, exactly once.

Made by the worker, kept by it until control has acknowledged it, and the only source of
usage, money and metrics. It holds no prompt, no answer and no key.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from extproc.usage import Usage

Outcome = Literal["ok", "client_error", "upstream_error", "gateway_error", "canceled"]
"""``canceled``: the client left, or Envoy broke the stream off, before the end."""


Admission = Literal["free", "admitted", "leased", "denied", "unavailable"]
"""``free``: under no limit; ``leased``: by the worker itself, the store being away;
``unavailable``: refused for want of the store."""


class FailedAttempt(
    msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False
):
    """An attempt that another one followed."""

    provider: str
    """``gen_ai.provider.name``."""
    cluster: str
    model: str
    status: int = 0
    """0: there was no answer."""
    retry_after: str | None = None


class Completion(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How one exchange went. Times are seconds."""

    id: str
    """``gw.id``: made by the worker, unique; a record that comes twice counts once."""
    request_id: str | None = None
    """Envoy's ``x-request-id``, which the client is told too."""
    traceparent: str | None = None
    """The request's header, of the W3C; as it came, so not to be trusted."""
    tracestate: str | None = None
    envoy_span: str | None = None
    """Envoy's own span, where there are traces: its trace and its id, in hex."""
    operation: str
    """``gen_ai.operation.name``, such as ``chat``; ``models`` and ``health`` for ours."""
    started: float
    """Unix time of the first message."""
    duration: float
    outcome: Outcome
    status: int
    """What the client was sent, as far as the worker knows; 0 when it got nothing."""
    error: str | None = None
    """The error's code, else its type; for ``error.type``."""
    key: str | None = None
    """The id of the grant."""
    original_model: str | None = None
    virtual_model: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    provider: str | None = None
    """``gen_ai.provider.name``."""
    cluster: str | None = None
    attempts: int = 0
    failed_attempts: tuple[FailedAttempt, ...] = ()
    attempts_at: tuple[float, ...] = ()
    """Unix seconds at which each attempt was begun, to the millisecond; 0: not known."""
    skipped: tuple[str, ...] = ()
    """Targets of the chain that could not be asked, as ``provider:why``."""
    streamed: bool = False
    translated: bool = False
    usage: Usage | None = None
    estimated: bool = False
    """The provider did not say its usage; the counts are not to be billed as exact."""
    first_byte: float | None = None
    """From the first message to the first byte of the answer's body."""
    request_bytes: int = 0
    answer_bytes: int = 0
    """As the provider sent them."""
    chunks: int = 0
    """Pieces in which the answer's body came here."""
    dropped: tuple[str, ...] = ()
    admission: Admission = "free"
    limit: str | None = None
    """What refused it, as subject and unit: ``key requests``, ``team usd``."""
    reserved: int | None = None
    """Nano-dollars that were held at most; None: no budget was asked."""
    cost: int | None = None
    """Nano-dollars; None: nothing was used, or the model has no price."""
    budgets: tuple[tuple[str, int], ...] = ()
    """The budgets that `cost` is charged to: each one's meter (`extproc.policy.meters`)
    and the Unix seconds at which its period is over."""
    organization: str | None = None
    team: str | None = None
    user: str | None = None
    end_user: str | None = None
    """As the client named it."""
    tags: tuple[str, ...] = ()
    """Of the key."""
