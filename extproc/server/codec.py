"""ext_proc messages to events, and commands to ext_proc messages. Pure.

Incoming messages are parsed by protobuf (its C decoder), but for most pieces of bodies,
which `pieces` reads, and what is the same in most headers (`heads`). Outgoing ones are written here,
field by field: most of each is the same for every request of a target and is kept
encoded, and the body, up to 32 MiB, is copied once. The tests hold every message against
the generated classes. Numbers are the fields of ``protos/ext_proc.proto``; wire format:
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from extproc._pb.ext_proc_pb2 import ProcessingRequest
from extproc.exchange import events
from extproc.exchange.commands import (
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    Attempt,
    Command,
    Headers,
    RequestChunk,
    Respond,
    Route,
)
from extproc.exchange.events import RequestBody, ResponseBody
from extproc.runtime import MAX_ATTEMPTS
from extproc.server.fields import Level, Nest, around, field, flag, level, varint
from extproc.server.heads import read_request_headers, read_response_headers
from extproc.server.pieces import read_piece
from extproc.target import Heading

LIMITS = "gw.rl"
"""The metadata that Envoy makes headers of, on whatever is answered."""

# ------------------------------------------------------------------------- decoding


def decode(message: bytes) -> events.Event:
    """Read one ``ProcessingRequest``.

    Raises:
        google.protobuf.message.DecodeError: these are not its bytes.
        ValueError: it has no request in it.
    """
    end = _ENDS.get(message[:4])
    if end is not None:
        return end
    read = _READERS.get(message[:1])  # Envoy writes what it is about first
    if read is None:
        raise ValueError("an ext_proc message without a request")
    return read(message)


def decode_last(messages: Sequence[bytes]) -> RequestBody | ResponseBody | None:
    """Read the last two of `messages` as one, if they are a piece of a body and its end.

    Raises:
        google.protobuf.message.DecodeError: the piece is none.
    """
    behind = messages[-1]
    end = _ENDS.get(behind[:4])
    if end is None or len(messages) == 1 or messages[-2][:1] != behind[:1]:
        return None
    message, kind = messages[-2], type(end)
    piece = read_piece(message, kind)
    if piece is None:
        read = _request_body if kind is RequestBody else _response_body
        piece = read(message).data
    return kind(piece, True)


def _request_body(message: bytes) -> RequestBody:
    body = ProcessingRequest.FromString(message).request_body
    return RequestBody(body.body, body.end_of_stream)


def _response_body(message: bytes) -> ResponseBody:
    body = ProcessingRequest.FromString(message).response_body
    return ResponseBody(body.body, body.end_of_stream)


_READERS: Mapping[bytes, Callable[[bytes], events.Event]] = {
    b"\x12": read_request_headers,
    b"\x1a": read_response_headers,
    b"\x22": _request_body,
    b"\x2a": _response_body,
    b"\x32": lambda _: events.RequestTrailers(),
    b"\x3a": lambda _: events.ResponseTrailers(),
}
"""By tag."""

_ENDS: Mapping[bytes, RequestBody | ResponseBody] = {
    b"\x22\x02\x10\x01": RequestBody(b"", end=True),
    b"\x2a\x02\x10\x01": ResponseBody(b"", end=True),
}
"""By tag, length and ``end_of_stream``: most bodies' last message has no bytes."""

# ------------------------------------------------------------------------- encoding


def encode(commands: Iterable[Command]) -> list[bytes]:
    """Write the ``ProcessingResponse`` messages that `commands` amount to."""
    messages: list[bytes] = []
    for command in commands:
        write = WRITERS.get(type(command))
        if write is not None:
            messages += write(command)
    return messages


_OVERWRITE = varint(3 << 3) + b"\x02"  # append_action: OVERWRITE_IF_EXISTS_OR_ADD


@functools.lru_cache(maxsize=4096)
def _set_header(name: str, value: str) -> bytes:
    """Write one ``set_headers`` entry of a ``HeaderMutation``."""
    raw = value.encode("utf-8", "surrogateescape")
    return field(1, field(1, field(1, name.encode()), field(3, raw)), _OVERWRITE)


@functools.lru_cache(maxsize=1024)
def _mutation(set_headers: Headers, delete_headers: tuple[str, ...]) -> bytes:
    """Write the content of a ``HeaderMutation``."""
    return b"".join(
        (
            *(_set_header(name, value) for name, value in set_headers),
            *(field(2, name.encode()) for name in delete_headers),
        )
    )


def _respond(answer: Respond) -> tuple[bytes, ...]:
    before, behind = _around_body(answer.status, answer.headers, answer.details)
    return (field(7, before, field(3, answer.body), behind),)


@functools.lru_cache(maxsize=1024)
def _around_body(status: int, headers: Headers, details: str) -> tuple[bytes, bytes]:
    """Write what stands before the body of an ``ImmediateResponse``, and behind it."""
    code = field(1, varint(1 << 3), varint(status))
    return code + field(2, _mutation(headers, ())), field(5, details.encode())


def _answer_headers(answer: AnswerHeaders) -> tuple[bytes, ...]:
    return (_header_reply(answer.status, answer.set_headers, answer.delete_headers),)


@functools.lru_cache(maxsize=1024)
def _header_reply(
    status: int | None, set_headers: Headers, delete_headers: tuple[str, ...]
) -> bytes:
    if status is not None:
        set_headers = ((":status", str(status)), *set_headers)
    return field(2, field(1, field(2, _mutation(set_headers, delete_headers))))


def _answer_body(answer: AnswerBody) -> tuple[bytes, ...]:
    return (_chunk(b"\x22", answer.data, end=answer.end),)  # response_body


def write_piece(data: bytes) -> bytes:
    """Write what `encode` makes of an `AnswerBody` that is not the last."""
    return _chunk_head(b"\x22", len(data), 0) + data


def _request_chunk(chunk: RequestChunk) -> tuple[bytes, ...]:
    return (_chunk(b"\x1a", chunk.data, end=chunk.end),)  # request_body


_END = b"\x10\x01"  # end_of_stream


def _chunk(kind: bytes, data: bytes, *, end: bool) -> bytes:
    head = _chunk_head(kind, len(data), len(_END) if end else 0)
    return b"".join((head, data, _END)) if end else head + data


@functools.lru_cache(maxsize=4096)
def _chunk_head(kind: bytes, size: int, behind: int) -> bytes:
    """Write what stands before a chunk: of most streams' chunks one of a few sizes."""
    body = b"\x0a" + varint(size)
    # Around it body_mutation.streamed_response, response.body_mutation, response, `kind`.
    levels = level(b"\x1a", body), level(b"\x1a"), level(b"\x0a"), level(kind)
    return around(size + behind, levels)


_ANSWER_TRAILERS = field(6)


def _answer_trailers(_: AnswerTrailers) -> tuple[bytes, ...]:
    return (_ANSWER_TRAILERS,)


# The real body is put in by the upstream Lua; Envoy only needs to see the end of one.
_PLACEHOLDER = field(3, field(1, field(3, field(3, field(1, b"{}"), flag(2)))))


def _route(route: Route) -> tuple[bytes, ...]:
    """Write the headers reply that names the chain and carries each rendering."""
    chain = route.chain
    if len(chain) == 1:  # most
        clusters: tuple[str, ...] = (chain[0].cluster,)
    else:
        clusters = tuple([attempt.cluster for attempt in chain])
    metadata = [*_about(route), _priority_groups(clusters)]
    if route.limits:
        metadata += _limits(route.limits)
    for key, attempt in zip(_RENDERINGS, chain, strict=False):
        metadata += _rendering(key, attempt)
    reply = b"".join(
        (
            _route_headers(len(chain) - 1, route.first_byte),
            b"\x42",  # dynamic_metadata
            varint(sum(map(len, metadata))),
            *metadata,
        )
    )
    return (reply,) if chain[0].streams else (reply, _PLACEHOLDER)


def _about(route: Route) -> tuple[bytes, ...]:
    """Write the metadata ``gw``, in pieces."""
    id_, slip = route.id.encode(), route.slip.encode()
    before_id, before_slip = _heads(len(id_), len(slip))
    return before_id, id_, before_slip, slip


@functools.lru_cache(maxsize=2048)
def _heads(id_size: int, slip_size: int) -> tuple[bytes, bytes]:
    """Write what stands before an id and before a slip of so many bytes."""
    before_id = around(id_size, _text_entry(b"id"))
    before_slip = around(slip_size, _text_entry(b"slip"))
    size = len(before_id) + id_size + len(before_slip) + slip_size
    return around(size, _struct_entry(b"gw")) + before_id, before_slip


def _limits(limits: Headers) -> tuple[bytes, bytes]:
    """Write the metadata `LIMITS`, in two pieces."""
    entries: list[bytes] = []
    for name, value in limits:
        text = value.encode()
        entries += _before_header(name, len(text)), text
    content = b"".join(entries)
    return _before_limits(len(content)), content


def _text_entry(name: bytes) -> tuple[Level, ...]:
    """Return what is around a text: a string_value, in the value of an entry of a struct."""
    return level(b"\x1a"), level(b"\x12"), level(b"\x0a", field(1, name))


def _struct_entry(name: bytes) -> tuple[Level, ...]:
    """Return what is around a struct in the value of an entry of another."""
    return level(b"\x2a"), level(b"\x12"), level(b"\x0a", field(1, name))


@functools.lru_cache(maxsize=1024)
def _before_header(name: str, size: int) -> bytes:
    return around(size, _text_entry(name.encode()))


@functools.lru_cache(maxsize=1024)
def _before_limits(size: int) -> bytes:
    return around(size, _struct_entry(LIMITS.encode()))


@functools.lru_cache(maxsize=256)
def _route_headers(retries: int, first_byte: float | None) -> bytes:
    # Envoy ignores clear_route_cache in a reply without a header mutation.
    headers: Headers = (("x-envoy-max-retries", str(retries)),)
    if first_byte is not None:
        each = str(max(1, round(first_byte * 1000)))
        headers = (*headers, ("x-envoy-upstream-rq-per-try-timeout-ms", each))
    mutation = _mutation(headers, ())
    return field(1, field(1, field(2, mutation), flag(5)))


def _rendering(key: bytes, attempt: Attempt) -> tuple[bytes, ...]:
    """Write one rendering in pieces: a body of 32 MiB is copied once."""
    nest = _fixed_rendering(key, attempt.heading, attempt.flags, attempt.streams)
    if attempt.streams:
        return (nest.around(0),)
    body = attempt.body
    return nest.around(len(body)), body


_ENTRY_OF_BODY = _text_entry(b"body")
_RENDERINGS = tuple(field(1, b"gw.t%d" % n) for n in range(1, MAX_ATTEMPTS + 1))
"""The metadata's keys, by attempt."""


# Clients' own `anthropic-…` headers are among what is kept, 32 KiB at most each time.
@functools.lru_cache(maxsize=256)
def _fixed_rendering(key: bytes, heading: Heading, flags: str, streams: bool) -> Nest:
    """Return what is around a body: all else of a rendering among it."""
    fixed = b"".join(
        (
            _entry("path", _text(heading.path)),
            _entry("host", _text(heading.authority)),
            _entry(
                "set",
                _structure(
                    *(_entry(name, _text(to)) for name, to in heading.set_headers)
                ),
            ),
            _entry("del", _list(map(_text, heading.delete_headers))),
            _entry("flags", _text(flags)) if flags else b"",
        )
    )
    levels = level(b"\x2a", fixed), level(b"\x12"), level(b"\x0a", key)
    return Nest(levels if streams else (*_ENTRY_OF_BODY, *levels))


@functools.lru_cache(maxsize=1024)
def _priority_groups(clusters: tuple[str, ...]) -> bytes:
    """Write the override of the ``priority_group`` specifier: attempt n, cluster n."""
    groups = [
        _structure(
            _entry("name", _text(str(number))),
            _entry(
                "clusters",
                _list(
                    [
                        _structure(
                            _entry("cluster_name", _text(cluster)),
                            _entry("weight", _ONE),
                        )
                    ]
                ),
            ),
        )
        for number, cluster in enumerate(clusters, 1)
    ]
    return _entry("gw.pg", _structure(_entry("priority_groups", _list(groups))))


# google.protobuf.Struct: an entry of `fields`, and the values that stand in one.


def _entry(key: str, value: bytes) -> bytes:
    return field(1, field(1, key.encode()), field(2, value))


def _text(value: str) -> bytes:
    return field(3, value.encode())


def _structure(*entries: bytes) -> bytes:
    return field(5, *entries)


def _list(values: Iterable[bytes]) -> bytes:
    return field(6, *(field(1, value) for value in values))


_ONE = b"\x11\x00\x00\x00\x00\x00\x00\xf0\x3f"  # number_value: 1.0

WRITERS: Mapping[type, Callable[[Any], tuple[bytes, ...]]] = {
    AnswerBody: _answer_body,
    AnswerHeaders: _answer_headers,
    AnswerTrailers: _answer_trailers,
    RequestChunk: _request_chunk,
    Respond: _respond,
    Route: _route,
}
"""By command; the others are not for Envoy."""
