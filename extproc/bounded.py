"""Answers of servers that may be anybody: read up to a length, and up to a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import httpx

PLAIN: Final[Mapping[str, str]] = {"accept-encoding": "identity"}
"""To be said in the request: a few bytes of what is compressed can be all of our memory."""


class Endless(httpx.ReadError):
    """There is more of an answer than it may have."""


def read(answer: httpx.Response, *, most: int, ends: float) -> bytes:
    """Return the body of an answer that was asked for as a stream, and `PLAIN`.

    Args:
        answer: what came of the request so far.
        most: bytes.
        ends: when it has to be there, by `time.monotonic`; looked at with each piece, so
            that the client's own timeout bounds how long one is waited for.

    Raises:
        Endless: it is longer, or takes longer.
        httpx.HTTPError: it does not come, or is compressed.
    """
    content = _begin(answer)
    for piece in answer.iter_raw():
        _add(content, piece, answer, most)
        if time.monotonic() > ends:
            raise Endless("it does not end", request=answer.request)
    return bytes(content)


async def read_async(answer: httpx.Response, *, most: int) -> bytes:
    """Return as much as `read` does; how long it may take is the caller's to bound.

    Raises:
        Endless: it is longer.
        httpx.HTTPError: it does not come, or is compressed.
    """
    content = _begin(answer)
    async for piece in answer.aiter_bytes():  # uncompressed, as was just seen
        _add(content, piece, answer, most)
    return bytes(content)


def _begin(answer: httpx.Response) -> bytearray:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise httpx.DecodingError("it is compressed", request=answer.request)
    return bytearray()


def _add(content: bytearray, piece: bytes, answer: httpx.Response, most: int) -> None:
    content += piece
    if len(content) > most:
        raise Endless("it does not end", request=answer.request)
