"""What has happened on a connection, in the order in which it did."""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.server.h2.errors import ErrorCode, Status


class CallStarted(msgspec.Struct, frozen=True, gc=False):
    """A gRPC client opened a stream."""

    stream_id: int
    path: str
    """``/package.Service/Method``"""
    headers: tuple[tuple[bytes, bytes], ...]
    """All of them, pseudo-headers first, names in lower case."""


TOGETHER: Final = 8
"""As many messages are one event at most: little work for who counts events."""


class MessagesReceived(msgspec.Struct, frozen=True, gc=False):
    """Whole messages came in on an open call, one right behind the other."""

    stream_id: int
    messages: list[bytes]


class CallHalfClosed(msgspec.Struct, frozen=True, gc=False):
    """The client will send no more; it still waits for the answer."""

    stream_id: int


class CallCanceled(msgspec.Struct, frozen=True, gc=False):
    """The stream is reset, by the client or for its faults: nothing can be sent on it."""

    stream_id: int
    code: int
    """The error code: ours are `ErrorCode`, a client may send any number."""


class CallRefused(msgspec.Struct, frozen=True, gc=False):
    """The core ended the call itself, because of a message that it cannot accept."""

    stream_id: int
    status: Status
    reason: str


class ConnectionFailed(msgspec.Struct, frozen=True, gc=False):
    """The peer's fault ended the connection: send what is left, then close it."""

    code: ErrorCode
    reason: str


Event = (
    CallStarted
    | MessagesReceived
    | CallHalfClosed
    | CallCanceled
    | CallRefused
    | ConnectionFailed
)
