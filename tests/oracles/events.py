"""Streams cut and made by hands of their own: server-sent events and AWS event streams."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

_STRING = 7


@dataclass(frozen=True)
class Event:
    """A server-sent event; an empty `name` is none."""

    name: str
    data: bytes


def cut(stream: bytes) -> list[Event]:
    """Return the events of a whole stream; comments are none."""
    found = []
    for block in stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
        name, lines = "", []
        for line in block.split(b"\n"):
            key, _, value = line.partition(b":")
            if key == b"event":
                name = value.strip().decode()
            elif key == b"data":
                lines.append(value.removeprefix(b" "))
        if lines:
            found.append(Event(name, b"\n".join(lines)))
    return found


def aws_messages(lines: Iterable[str]) -> list[bytes]:
    """Return the messages of an AWS event stream that is written one to a line.

    A line is the event's type and its JSON; an exclamation mark makes it an exception.
    """
    return [_aws_message(*line.split(" ", 1)) for line in lines if line.strip()]


def _aws_message(name: str, payload: str) -> bytes:
    json.loads(payload)
    kind = "exception" if name.startswith("!") else "event"
    headers = b"".join(
        bytes([len(key)])
        + key.encode()
        + struct.pack("!BH", _STRING, len(value))
        + value
        for key, value in (
            (f":{kind}-type", name.removeprefix("!").encode()),
            (":content-type", b"application/json"),
            (":message-type", kind.encode()),
        )
    )
    body = payload.strip().encode()
    sizes = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    message = sizes + struct.pack("!I", zlib.crc32(sizes)) + headers + body
    return message + struct.pack("!I", zlib.crc32(message))
