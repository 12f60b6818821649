"""Protobuf's fields, written by hand: numbers, lengths, and what is nested in what.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterable


def _make_varint(number: int) -> bytes:
    if 0x7F < number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


VARINTS = tuple(_make_varint(number) for number in range(4096))
"""Most lengths are short, and a request has dozens of them."""


def varint(number: int) -> bytes:
    """Write a number."""
    return VARINTS[number] if number < 4096 else _make_varint(number)


def field(number: int, *payload: bytes) -> bytes:
    """Write a length-delimited field: a message, string or bytes."""
    size = sum(map(len, payload))
    return b"".join((varint(number << 3 | 2), varint(size), *payload))


_TRUE = b"\x01"


def flag(number: int) -> bytes:
    """Write a field that is true."""
    return varint(number << 3) + _TRUE


Level = tuple[bytes, bytes, int]
"""A field that has others in it: its tag of one byte, what stands in it before the next
one, and how many bytes that is."""


def level(tag: bytes, before: bytes = b"") -> Level:
    """Return a field's tag, and what stands in it before the next one."""
    return tag, before, len(before)


def around(size: int, levels: Iterable[Level]) -> bytes:
    """Write the heads of nested fields, the inmost first, around `size` bytes of content."""
    head = b""
    for tag, before, more in levels:
        size += more
        if size < 128:  # as most are, of all but the body
            head = tag + VARINTS[size] + before + head
            size += 2
        else:
            length = VARINTS[size] if size < 4096 else _make_varint(size)
            head = tag + length + before + head
            size += 1 + len(length)
    return head
