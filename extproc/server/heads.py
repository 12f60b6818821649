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

from google.protobuf.struct_pb2 import Value

from extproc._pb.core_pb2 import HeaderValue, Metadata
from extproc._pb.ext_proc_pb2 import ProcessingRequest
from extproc._pb.heads_pb2 import Head, HttpHeaders
from extproc.exchange import events
from extproc.routing.wait import noted as wait_of
from extproc.runtime import MAX_ATTEMPTS
from extproc.server.fields import field

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
        told = ProcessingRequest.FromString(field(9, entry)).attributes
        attributes = told[ATTRIBUTES].fields
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
    head = Head.FromString(message).request_headers
    return events.RequestHeaders(_read(head), head.end_of_stream)


def read_response_headers(message: bytes) -> events.ResponseHeaders:
    """Read a ``ProcessingRequest`` that begins with ``response_headers``.

    Raises:
        google.protobuf.message.DecodeError: these are not its bytes.
    """
    told = Head.FromString(message)
    metadata, attributes = told.metadata_context, told.attributes
    attempts, details = _attributes(attributes[0]) if attributes else (0, "")
    if attempts == 1 and metadata.find(_ANY_FAILED) < 0:
        at = metadata.find(_FIRST_BEGUN) + len(_FIRST_BEGUN)
        began = _number(metadata, at)[0] / 1000 if at >= len(_FIRST_BEGUN) else 0.0
        noted: Noted = (), (began,), None
    else:
        noted = _noted(metadata, attempts)
    head = told.response_headers
    headers = _read(head)
    status = headers.get(":status", "0")
    return events.ResponseHeaders(
        int(status) if status.isdecimal() else 0,
        headers,
        head.end_of_stream,
        details,
        attempts,
        *noted,
    )


def _read(head: HttpHeaders) -> dict[str, str]:
    # A slice is a list at once; what goes through it one by one ends in an IndexError.
    return dict(map(_header, head.headers.headers[:]))


_FIRST_BEGUN = b"\n\x02t1\x12\x09\x11"
"""The key, and what stands before the number: when the first attempt was begun."""
_ANY_FAILED = b"\n\x02a"

Noted = tuple[tuple[events.FailedAttempt, ...], tuple[float, ...], str | None]
"""Who failed, when each attempt began, and how long the last says to wait."""


def _noted(metadata: bytes, attempts: int) -> Noted:
    noted = Metadata.FromString(metadata).filter_metadata[ATTEMPTS].fields
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
