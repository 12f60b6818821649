"""What inputs are made of, and how one becomes another: bytes, JSON, events, messages, text.

A mutation of bytes hardly ever gives JSON again, and stays in front of the first parser.
So an input is taken apart into the tree that it is, the tree is changed, and written.
"""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

VALUES: Sequence[Any] = (
    None, True, False, 0, 1, -1, 2, 255, 65_536, 2**31, 2**53, 2**63, 2**64, -(2**63),
    0.5, -0.0, 1e308, "", "a", "0", "null", "auto", "\x00", "\u2028", "\U0001f600" * 3,
    "a" * 300, "data:image/png;base64,AAAA", "https://example.com/a.png", "data:,",
    [], {}, [[]], [{}], [None], [""], {"": ""}, {"type": "text"}, {"type": []},
    {"type": "object", "properties": {}}, {"$ref": "#"}, [1, "a", None, {}],
    msgspec.Raw(b"1e999"), msgspec.Raw(b"-1e-999"), msgspec.Raw(b"9" * 400),
    msgspec.Raw(b'"\\ud800"'), msgspec.Raw(b'"\\udc00\\ud800"'), msgspec.Raw(b"NaN"),
    msgspec.Raw(b'"\xff"'), msgspec.Raw(b"01"), msgspec.Raw(b"[" * 60 + b"]" * 60), msgspec.Raw(b"[" * 2000 + b"]" * 2000),
    msgspec.Raw(b'{"a":1,"a":2}'), msgspec.Raw(b'"\\u0000"'), msgspec.Raw(b"1.0"),
)  # fmt: skip
"""What is put in place of anything; a `Raw` is written as it stands."""

Change = Callable[[Any, random.Random], Any]


@dataclass(frozen=True)
class Shape:
    """One way to take inputs apart."""

    parse: Callable[[bytes], Any]
    """Raises ValueError for what has not this shape."""
    change: Change
    write: Callable[[Any], bytes]
    of_bytes: bool = False
    """Whether it is no shape at all, and libFuzzer's own mutations are the better ones."""

    def mutate(self, data: bytes, chance: random.Random) -> bytes:
        """Return an input that differs from `data`."""
        try:
            tree = self.parse(data)
        except (ValueError, RecursionError):
            return change_bytes(data, chance)
        return self.vary(tree, chance)

    def vary(self, tree: Any, chance: random.Random) -> bytes:
        """Return an input made from what `parse` gave."""
        for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
            tree = self.change(tree, chance)
        data = self.write(tree)
        return change_bytes(data, chance) if chance.random() < 0.1 else data


# ---------------------------------------------------------------- bytes


def change_bytes(data: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat, insert."""
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.choice((1, 1, 2, 4, 16, 200)))
    match chance.randrange(7):
        case 0:
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + data[end:]
        case 3:
            return data[:end] + data[at:end] * chance.choice((1, 2, 30)) + data[end:]
        case 4:
            return data[:at] + chance.randbytes(end - at) + data[at:]
        case 5:
            number = chance.choice((0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
            return data[:at] + struct.pack("!I", number) + data[at + 4 :]
        case _:
            other = chance.randrange(len(data) + 1)
            return data[:at] + data[other : other + end - at] + data[end:]


# ---------------------------------------------------------------- JSON


def change_json(tree: Any, chance: random.Random) -> Any:
    """Change one place of a JSON value; what is around it is copied."""
    if isinstance(tree, dict) and tree and chance.random() < 0.9:
        key = chance.choice(list(tree))
        return _change_member(tree, key, chance)
    if isinstance(tree, list) and tree and chance.random() < 0.9:
        return _change_item(tree, chance.randrange(len(tree)), chance)
    if isinstance(tree, str) and chance.random() < 0.3:
        return change_bytes(tree.encode("utf-8", "replace"), chance).decode(
            "utf-8", "replace"
        )
    return chance.choice(VALUES)


def _change_member(tree: dict[str, Any], key: str, chance: random.Random) -> Any:
    draw = chance.random()
    if draw < 0.7:
        return tree | {key: change_json(tree[key], chance)}
    if draw < 0.8:
        return {name: value for name, value in tree.items() if name != key}
    if draw < 0.9:
        other = chance.choice(list(tree))
        return tree | {key: tree[other]}
    if draw < 0.95:
        return {key + "s" if name == key else name: one for name, one in tree.items()}
    return tree | {chance.choice(("type", "id", "text", "model", "x")): tree[key]}


def _change_item(tree: list[Any], at: int, chance: random.Random) -> Any:
    draw = chance.random()
    if draw < 0.7:
        return [*tree[:at], change_json(tree[at], chance), *tree[at + 1 :]]
    if draw < 0.8:
        return [*tree[:at], *tree[at + 1 :]]
    if draw < 0.9:
        return [*tree[:at], tree[at], *tree[at:]]
    return [*tree[at:], *tree[:at]]


def read_json(data: bytes) -> Any:
    return msgspec.json.decode(data)


JSON = Shape(read_json, change_json, msgspec.json.encode)

# ---------------------------------------------------------------- streams

Event = tuple[str, Any]
"""A name, and JSON or bytes."""


def change_events(events: list[Event], chance: random.Random) -> list[Event]:
    """Leave out, repeat, swap or change an event."""
    if not events:
        return [("", {})]
    at = chance.randrange(len(events))
    other = chance.randrange(len(events))
    name, said = events[at]
    draw = chance.random()
    if draw < 0.6:
        said = change_bytes(said, chance) if isinstance(said, bytes) else change_json(
            said, chance
        )  # fmt: skip
        return [*events[:at], (name, said), *events[at + 1 :]]
    if draw < 0.7:
        return [*events[:at], *events[at + 1 :]]
    if draw < 0.8:
        return [*events[:at], events[other], *events[at:]]
    if draw < 0.9:
        return [*events[:at], (name, events[other][1]), *events[at + 1 :]]
    if draw < 0.95:
        return events[:at]
    return [*events[:at], (events[other][0], said), *events[at + 1 :]]


def _said(data: bytes) -> Any:
    try:
        return read_json(data)
    except msgspec.DecodeError:
        return data


def _read_sse(data: bytes) -> list[Event]:
    # Not by our own reader, which would be counted as code that the input led to.
    events: list[Event] = []
    for block in re.split(rb"\r?\n\r?\n", data):
        name, said = "", list[bytes]()
        for line in block.splitlines():
            field, _, value = line.partition(b":")
            if field == b"event":
                name = value.strip().decode("latin-1")
            elif field == b"data":
                said.append(value.removeprefix(b" "))
        if name or said:
            events.append((name, _said(b"\n".join(said))))
    return events


def _bytes_of(said: Any) -> bytes:
    return said if isinstance(said, bytes) else msgspec.json.encode(said)


def _write_sse(events: list[Event]) -> bytes:
    return b"".join(
        (b"event: %s\n" % name.encode("latin-1", "replace") if name else b"")
        + b"data: %s\n\n" % _bytes_of(said)
        for name, said in events
    )


SSE = Shape(_read_sse, change_events, _write_sse)


def _read_messages(data: bytes) -> list[Event]:
    events: list[Event] = []
    while data:
        if len(data) < 16:
            raise ValueError("no message")
        total, size = struct.unpack_from("!II", data)
        if not 16 + size <= total <= len(data):
            raise ValueError("no message")
        block = data[12 : 12 + size]
        events.append((block.decode("latin-1"), _said(data[12 + size : total - 4])))
        data = data[total:]
    return events


def _write_messages(events: list[Event]) -> bytes:
    return b"".join(
        write_message(name.encode("latin-1", "replace"), _bytes_of(said))
        for name, said in events
    )


def write_message(headers: bytes, payload: bytes) -> bytes:
    """Write a message of an AWS event stream, its checksums right."""
    head = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    head += struct.pack("!I", zlib.crc32(head))
    whole = head + headers + payload
    return whole + struct.pack("!I", zlib.crc32(whole))


MESSAGES = Shape(_read_messages, change_events, _write_messages)

# ---------------------------------------------------------------- bytes and text


def _as_it_is(data: bytes) -> bytes:
    return data


BYTES = Shape(_as_it_is, change_bytes, _as_it_is, of_bytes=True)


def _change_lines(lines: list[str], chance: random.Random) -> list[str]:
    if not lines:
        return [""]
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    line = lines[at]
    match chance.randrange(6):
        case 0:
            return [*lines[:at], *lines[at + 1 :]]
        case 1:
            return [*lines[:at], lines[other], *lines[at:]]
        case 2:
            name, colon, _ = line.partition(": ")
            value = lines[other].partition(": ")[2]
            return [*lines[:at], name + colon + value, *lines[at + 1 :]]
        case 3:
            name, colon, _ = line.partition(": ")
            word = chance.choice(WORDS)
            return [*lines[:at], name + colon + word, *lines[at + 1 :]]
        case 4:
            moved = "  " + line if chance.random() < 0.5 else line[2:]
            return [*lines[:at], moved, *lines[at + 1 :]]
        case _:
            changed = change_bytes(line.encode(), chance).decode("utf-8", "replace")
            return [*lines[:at], changed, *lines[at + 1 :]]


WORDS: Sequence[str] = (
    "", "~", "yes", "0", "-1", "1e999", "9" * 400, ".inf", ".nan", "0x10", "0o17",
    "12:30", "2026-01-01", "[]", "{}", "[{}]", "!!python/object:os.system ls", "!!binary a",
    "&a [*a]", "*a", "<<", "{<<: *a}", "${A}", "${A:-b}", "$${A}", "${", '"\\x00"', "'",
    "|", ">-", "? a", "\u2028", "../../etc/passwd", "http://169.254.169.254/",
    "https://user:pw@host/", "http://[::1", "1d", "5 minutes", "!!set {a}", "%YAML 9",
)  # fmt: skip


def _lines(data: bytes) -> list[str]:
    return data.decode().split("\n")


TEXT = Shape(_lines, _change_lines, lambda lines: "\n".join(lines).encode())
