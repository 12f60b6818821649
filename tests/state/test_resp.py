"""Replies of Redis, however their bytes are split."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from redis.exceptions import InvalidResponse, ResponseError

from extproc.state.resp import LONGEST, Replies, command

REPLIES = {
    b":12\r\n": 12,
    b":-1\r\n": -1,
    b"+OK\r\n": b"OK",
    b"$0\r\n\r\n": b"",
    b"$5\r\na\r\nb:\r\n": b"a\r\nb:",
    b"$-1\r\n": None,
    b"*-1\r\n": None,
    b"*0\r\n": [],
    b"*3\r\n*1\r\n$1\r\na\r\n$-1\r\n:3\r\n": [[b"a"], None, 3],
}


def plain(reply):
    """Errors are equal when they say the same."""
    return str(reply) if isinstance(reply, ResponseError) else reply


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_replies_are_the_same_however_they_are_split(size):
    replies = Replies()
    data = b"".join(REPLIES) + b"-NOSCRIPT No matching script.\r\n" + b":1\r\n"
    found = []
    for at in range(0, len(data), size):
        found += replies.feed(data[at : at + size])
    expected = [*REPLIES.values(), "NOSCRIPT No matching script.", 1]
    assert list(map(plain, found)) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"?\r\n",
        b":a\r\n",
        b"$a\r\n",
        b"*1\r\n!\r\n",
        b"_\r\n",
        b"*1\r\n" * 20 + b":1\r\n",
    ],
)
def test_what_is_no_reply_is_an_error(data):
    with pytest.raises(InvalidResponse):
        Replies().feed(data)


def test_a_reply_that_never_ends_is_an_error():
    replies = Replies()
    assert replies.feed(b"$%d\r\n" % (2 * LONGEST)) == []
    with pytest.raises(InvalidResponse):
        replies.feed(bytes(LONGEST))


@given(st.binary(max_size=60))
def test_any_bytes_are_replies_or_the_one_error(data):
    replies = Replies()
    try:
        for byte in data:
            replies.feed(bytes([byte]))
    except InvalidResponse:
        return
    # It can still begin anew, or is in the middle of something.
    assert len(replies._left) <= len(data)


def test_a_command_is_as_long_as_it_says():
    assert command(b"SET", b"a", b"\r\n") == (
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n"
    )
