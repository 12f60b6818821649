"""Pieces of bodies in ext_proc messages, read without protobuf, as most of all messages are.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct

from extproc.exchange import events

_BODY_TAGS = {events.RequestBody: 0x22, events.ResponseBody: 0x2A}
"""The fields ``request_body`` and ``response_body``."""

_unpack_head = struct.Struct("6B").unpack_from


def read_piece(
    message: bytes, kind: type[events.RequestBody | events.ResponseBody]
) -> bytes | None:
    """Return the bytes of a body message of this `kind`, not the last, without protobuf.

    None: it is something else, longer than 16 KiB, or not as Envoy writes it; `decode` it.
    Envoy writes fields in the order of their numbers, so that at most the metadata follow.
    """
    size = len(message)
    if size < 8:
        return None
    tag, first, second, third, fourth, fifth = _unpack_head(message)
    if tag != _BODY_TAGS[kind]:
        return None
    # In it 0x0A, body. Of a length under 128 one byte, of most others two.
    if first < 0x80:
        end, start = 2 + first, 4
        fits = second == 0x0A and third == end - 4
    else:
        end = 3 + first - 0x80 + (second << 7)
        if fourth < 0x80:
            start = 5
            fits = third == 0x0A and fourth == end - 5
        else:
            start = 6
            fits = third == 0x0A and fourth - 0x80 + (fifth << 7) == end - 6
    if not fits or end > size:
        return None
    behind = size - end  # metadata_context, 0x42, to the end
    if behind and not (
        behind > 1
        and message[end] == 0x42
        and (
            message[end + 1] == behind - 2
            if behind < 0x82
            else message[end + 1] - 0x80 + (message[end + 2] << 7) == behind - 3
        )
    ):
        return None
    return message[start:end]
