"""Headers in ext_proc messages. What a program or a server says each time is read once.

Most headers of most requests are the same bytes as in a request before: SDKs name
themselves in a dozen, and Envoy says the same of every answer that a provider gave at the
first attempt. So it is found where each begins, and a dictionary knows the rest. What is
one caller's, or one request's, is never remembered.

Envoy writes fields in the order of their numbers: headers, metadata, attributes.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Value

from extproc._pb.core_pb2 import HeaderValue
from extproc._pb.ext_proc_pb2 import ProcessingRequest
from extproc._pb.heads_pb2 import Headers
from extproc.exchange import events
from extproc.routing.wait import noted as wait_of
from extproc.runtime import MAX_ATTEMPTS

ATTRIBUTES: Final = "envoy.filters.http.ext_proc"
"""Under this name Envoy sends the attributes that the filter asks for."""
ATTEMPTS: Final = "gw.att"
"""The metadata in which the upstream Lua notes what failed attempts said."""

REMEMBERED: Final = 2048
"""Entries of each kind,"""
REMEMBERED_BYTES: Final = 256
"""and of the longest one; so that all of them are 1 MiB at most."""

_SAME_EACH_TIME: Final = frozenset({
    ":authority", ":method", ":path", ":scheme", ":status", "accept", "accept-encoding",
    "accept-language", "anthropic-beta", "anthropic-version", "cache-control",
    "connection", "content-type", "host", "openai-beta", "openai-organization",
    "openai-project", "openai-version", "pragma", "server", "strict-transport-security",
    "te", "user-agent", "vary", "via", "x-content-type-options", "x-extproc-provider",
    "x-forwarded-proto", "x-stainless-arch", "x-stainless-async", "x-stainless-lang",
    "x-stainless-os", "x-stainless-package-version", "x-stainless-read-timeout",
    "x-stainless-retry-count", "x-stainless-runtime", "x-stainless-runtime-version",
    "x-stainless-timeout",
})  # fmt: skip
"""No credential is in any of them but in the query of a ``:path``."""

_number = struct.Struct("<d").unpack_from


class _KnownHeaders(dict[bytes, tuple[str, str]]):
    """Name and value by the bytes of a ``HeaderValue``."""

    def __missing__(self, entry: bytes) -> tuple[str, str]:
        if (
            len(entry) < 130
        ):  # 0x0A, size, name, 0x1A, size, value; no size has two bytes
            text = entry[2:].decode("utf-8", "surrogateescape")
            name, _, behind = text.partition("\x1a")
            said = name, behind[1:]
        else:
            header = HeaderValue.FromString(entry)
            name, value = header.key, header.raw_value
            said = name, value.decode("utf-8", "surrogateescape")
        if name in _SAME_EACH_TIME and "?" not in said[1]:
            _remember(self, entry, said)
        return said


class _KnownAttributes(dict[bytes, tuple[int, str]]):
    """Which attempt has answered, and ``response.code_details``, by their bytes."""

    def __missing__(self, entry: bytes) -> tuple[int, str]:
        attributes = ProcessingRequest.FromString(entry).attributes[ATTRIBUTES].fields
        tried = attributes["upstream.request_attempt_count"].number_value
        attempts = int(min(max(0, tried), MAX_ATTEMPTS))
        said = attempts, attributes["response.code_details"].string_value
        _remember(self, entry, said)
        return said


def _remember(known: dict[bytes, Any], entry: bytes, said: object) -> None:
    if len(entry) <= REMEMBERED_BYTES:
        if len(known) >= REMEMBERED:
            known.clear()
        known[entry] = said


_header = _KnownHeaders().__getitem__
_attributes = _KnownAttributes().__getitem__


def read_request_headers(message: bytes) -> events.RequestHeaders:
    """Read a ``ProcessingRequest`` that begins with ``request_headers``.

    Raises:
        google.protobuf.message.DecodeError: these are not its bytes.
    """
    headers, end, _ = _head(message)
    return events.RequestHeaders(headers, end)


def read_response_headers(message: bytes) -> events.ResponseHeaders:
    """Read a ``ProcessingRequest`` that begins with ``response_headers``.

    Raises:
        google.protobuf.message.DecodeError: these are not its bytes.
    """
    headers, end, behind = _head(message)
    metadata_end = behind
    if message[behind : behind + 1] == b"\x42":
        _, metadata_end = _extent(message, behind)
    attempts, details = _attributes(message[metadata_end:])
    if attempts == 1 and message.find(_ANY_FAILED, behind, metadata_end) < 0:
        at = message.find(_FIRST_BEGUN, behind, metadata_end) + len(_FIRST_BEGUN)
        began = _number(message, at)[0] / 1000 if at > behind else 0.0
        noted: Noted = (), (began,), None
    else:
        noted = _noted(message[behind:metadata_end], attempts)
    status = headers.get(":status", "0")
    return events.ResponseHeaders(
        int(status) if status.isdecimal() else 0,
        headers,
        end,
        details,
        attempts,
        *noted,
    )


def _head(message: bytes) -> tuple[dict[str, str], bool, int]:
    """Return the headers, whether they are all, and where the next field begins."""
    start, stop = _extent(message, 0)
    if start == stop:
        return {}, False, stop
    first, last = _extent(message, start)
    if message[start] != 0x0A:  # there are no headers
        last = first = start
    headers = dict(map(_header, Headers.FromString(message[first:last]).headers))
    end = last + 2 == stop and message[last:stop] == b"\x18\x01"  # end_of_stream
    return headers, end, stop


def _extent(message: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the field at `at` begins and ends.

    Raises:
        google.protobuf.message.DecodeError: it ends behind the message.
    """
    try:
        size, start, shift = message[at + 1], at + 2, 0
        while message[start - 1] >= 0x80:
            shift += 7
            size += (message[start] - 1) << shift  # and not what says that it goes on
            start += 1
    except IndexError:
        size, start = len(message), at + 1
    if start + size > len(message):
        raise DecodeError("a field that is cut short")
    return start, start + size


_FIRST_BEGUN = b"\n\x02t1\x12\x09\x11"
"""The key, and what stands before the number: when the first attempt was begun."""
_ANY_FAILED = b"\n\x02a"

Noted = tuple[tuple[events.FailedAttempt, ...], tuple[float, ...], str | None]
"""Who failed, when each attempt began, and how long the last says to wait."""


def _noted(metadata: bytes, attempts: int) -> Noted:
    namespaces = ProcessingRequest.FromString(metadata).metadata_context.filter_metadata
    noted = namespaces[ATTEMPTS].fields
    said = [_said(noted, n) for n in range(1, attempts + 1)]
    return (
        tuple([events.FailedAttempt(n, *one) for n, one in enumerate(said[:-1], 1)]),
        tuple([noted[f"t{n}"].number_value / 1000 for n in range(1, attempts + 1)]),
        said[-1][1] if said else None,
    )


def _said(noted: Mapping[str, Value], attempt: int) -> tuple[int, str | None]:
    """Return status and retry-after of an attempt that failed."""
    said = noted[f"a{attempt}"].string_value
    if not said:  # nothing to tell, or a connection that was refused
        return 0, None
    status, _, wait = said.partition(" ")
    return int(status) if status.isdecimal() else 0, wait_of(wait)
