"""A worker that says what it has said before, in the place of `extproc.server.call.Call`.

Loaded by `sitecustomize.py`, when a worker has loaded what it serves a connection with.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import msgspec

from extproc.server.call import Call
from extproc.server.codec import decode

READS = os.environ["FLOOR_WORKER"] == "reads"
WARM = int(os.environ["FLOOR_WARM"])

Said = tuple[list[bytes], bool]
"""Messages that answered one, and whether the call had ended with them."""

said: list[Said] = []
"""Of the call that is repeated; empty until it has ended."""
_under_way: dict[Call, list[Said]] = {}
_ended: list[Call] = []


class Repeated:
    """A call that says what another has said."""

    __slots__ = ("at", "finished")
    deadline, known_as = float("inf"), {}
    parting, turn, work = False, None, None

    def __init__(self) -> None:
        self.at, self.finished = 0, False

    def receive(self, message: bytes, _now: float) -> list[bytes]:
        if READS:
            read(message)
        messages, self.finished = said[min(self.at, len(said) - 1)]
        self.at += 1
        return messages

    def hear(self, messages: Sequence[bytes], now: float, replies: list[bytes]) -> None:
        for message in messages:
            replies += self.receive(message, now)

    def close(self, now: float, *, clean: bool) -> None:
        pass


def read(message: bytes) -> None:
    """Read what a gateway has to, and decide nothing."""
    event: Any = decode(message)
    headers = getattr(event, "headers", None)
    if headers is None:
        body = event.data
        if body[:6] == b"data: ":
            body = body[6 : body.find(b"\n")]
        if body[:1] == b"{":
            msgspec.json.decode(body)
    elif "authorization" in headers:
        hashlib.sha256(headers["authorization"].encode()).digest()


def put(module: ModuleType) -> None:
    """Let connections of `module`, `extproc.server.lean_connection`, repeat what was said."""
    receive, start = Call.receive, module.LeanConnection._start

    def receive_and_note(call: Call, message: bytes, now: float) -> list[bytes]:
        messages = receive(call, message, now)
        _under_way.setdefault(call, []).append((list(messages), call.finished))
        if call.finished:
            whole = _under_way.pop(call)
            _ended.append(call)
            if len(_ended) == WARM:
                said[:] = whole
        return messages

    def begin(connection: Any, stream_id: int, path: bytes) -> None:
        if said and path == module.PROCESS:
            connection._calls[stream_id] = Repeated()
        else:
            start(connection, stream_id, path)

    Call.receive = receive_and_note
    # One message after the other, so that each has its own reply.
    Call.hear = Repeated.hear
    module.LeanConnection._start = begin
