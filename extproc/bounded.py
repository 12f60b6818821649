"""Answers of servers that may be anybody: read up to a length, and up to a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import httpx

PLAIN: Final[Mapping[str, str]] = {"accept-encoding": "identity"}
"""To be said in the request: a few bytes of what is compressed can be all of our memory."""


class Endless(httpx.ReadError):
    """There is more of an answer than it may have."""


def read(
    answer: httpx.Response,
    *,
    most: int,
    ends: float,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """Return the body of an answer that was asked for as a stream, and `PLAIN`.

    Args:
        answer: what came of the request so far.
        most: bytes.
        ends: when it has to be there, by `clock`; looked at with each piece, so that the
            client's own timeout bounds how long one is waited for.
        clock: seconds.

    Raises:
        Endless: it is longer, or takes longer.
        httpx.HTTPError: it does not come, or is compressed.
    """
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise httpx.DecodingError("it is compressed", request=answer.request)
    content = bytearray()
    for piece in answer.iter_raw():
        content += piece
        if len(content) > most or clock() > ends:
            raise Endless("it does not end", request=answer.request)
    return bytes(content)
