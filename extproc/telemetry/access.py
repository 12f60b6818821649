"""Envoy's access log, as it comes to control: OTLP's protobuf in, `Entry` out.

https://opentelemetry.io/docs/specs/otlp/#otlpgrpc. What is logged is chosen in
`extproc.config.compile.access_log`: the values in one line, ``-`` where there is none.
"""

from __future__ import annotations

from typing import Final

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
    route: str = ""
    status: int = 0
    flags: str = ""
    """``%RESPONSE_FLAGS%``, such as ``DC``: the client left."""
    details: str = ""
    attempts: int = 0
    milliseconds: int = 0
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


_MISSING: Final = ["-"] * (len(Entry.__struct_fields__) - 1)


def _entry(line: str, started: float) -> Entry:
    said = line.split(SEPARATOR)
    if len(said) != len(_MISSING):
        said = [*said, *_MISSING][: len(_MISSING)]
    id_, slip, request_id, route, status, flags, details, attempts, *numbers = said
    milliseconds, request_bytes, answer_bytes = numbers
    return Entry(
        "" if id_ == "-" else id_,
        "" if slip == "-" else slip,
        "" if request_id == "-" else request_id,
        "" if route == "-" else route,
        int(status) if status.isdecimal() else 0,
        "" if flags == "-" else flags,
        "" if details == "-" else details,
        int(attempts) if attempts.isdecimal() else 0,
        int(milliseconds) if milliseconds.isdecimal() else 0,
        int(request_bytes) if request_bytes.isdecimal() else 0,
        int(answer_bytes) if answer_bytes.isdecimal() else 0,
        started,
    )
