"""Envoy's access log, as it comes to control: OTLP's protobuf in, `Entry` out.

https://opentelemetry.io/docs/specs/otlp/#otlpgrpc. What is logged is chosen in
`extproc.config.compile.access_log`: the values in one line, ``-`` where there is none.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

EXPORT: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
"""The method that Envoy calls."""
ACCEPTED: Final = ExportLogsServiceResponse().SerializeToString()

__all__ = ["ACCEPTED", "EXPORT", "DecodeError", "Entry", "read_entries"]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One request, as Envoy saw it end. Absent: an empty string, or 0."""

    id: str = ""
    """``gw.id``; empty where no worker had routed it."""
    slip: str = ""
    """See `extproc.exchange.slip`."""
    request_id: str = ""
    method: str = ""
    route: str = ""
    status: int = 0
    flags: str = ""
    """``%RESPONSE_FLAGS%``, such as ``DC``: the client left."""
    details: str = ""
    cluster: str = ""
    attempts: int = 0
    milliseconds: int = 0
    first_byte_milliseconds: int = 0
    request_bytes: int = 0
    answer_bytes: int = 0
    started: float = 0.0
    """Unix seconds, to the millisecond: every log record's own time, not in its line."""


SEPARATOR: Final = "\t"
"""Between values."""


def read_entries(export: bytes) -> list[Entry]:
    """Return the entries of an ``ExportLogsServiceRequest``.

    Raises:
        google.protobuf.message.DecodeError: these are not its bytes.
    """
    request = ExportLogsServiceRequest.FromString(export)
    return [
        _entry(record.body.string_value, record.time_unix_nano // 1_000_000 / 1000)
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def _text(said: str) -> str:
    return "" if said == "-" else said


def _number(said: str) -> int:
    return int(said) if said.isdecimal() else 0


_READERS: Final = tuple(
    _text if field.type is str else _number
    for field in msgspec.structs.fields(Entry)
    if field.name != "started"
)


def _entry(line: str, started: float) -> Entry:
    said = itertools.chain(line.split(SEPARATOR), itertools.repeat("-"))
    values: list[Any] = [
        read(value) for read, value in zip(_READERS, said, strict=False)
    ]
    return Entry(*values, started)  # type: ignore[call-arg]  # it is the last
