"""One client API: how a prompt is spelled in it, and how its answers are read.

Nothing here uses the gateway's own formats: they are what is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from extproc.local.conformance.heard import Heard
from extproc.local.conformance.prompts import Json, Prompt


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event; an empty `name` is none."""

    name: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Dialect:
    """One client API."""

    name: str
    """The client format's."""
    title: str
    path: str
    headers: Callable[[str], Mapping[str, str]]
    """The headers that bring a key."""
    lacks: frozenset[str]
    """Fields of `Prompt` that the API has no words for."""
    spell: Callable[[Prompt, str], Json]
    read: Callable[[Json], Heard]
    read_stream: Callable[[list[Event]], Heard]


def decode(payload: bytes) -> Json:
    """Read a JSON object."""
    return msgspec.json.decode(payload, type=Json)


def cut(stream: bytes) -> list[Event]:
    """Return the events of a whole stream; comments and empty events are none."""
    found = []
    for block in stream.replace(b"\r\n", b"\n").split(b"\n\n"):
        name, lines = "", []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"event":
                name = value.strip().decode()
            elif field == b"data":
                lines.append(value.removeprefix(b" "))
        if lines:
            found.append(Event(name, b"\n".join(lines)))
    return found
