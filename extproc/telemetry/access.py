"""Envoy's access log, as it comes to control: OTLP's protobuf in, `Entry` out.

https://opentelemetry.io/docs/specs/otlp/#otlpgrpc. What is logged is chosen in
`extproc.config.compile.access_log`; every value is a string, ``-`` where there is none.
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
    """Unix seconds, to the millisecond."""


_NUMBERS: Final = {
    field.name: field.type
    for field in msgspec.structs.fields(Entry)
    if field.type is not str
}


def read_entries(export: bytes) -> list[Entry]:
    """Return the entries of an ``ExportLogsServiceRequest``.

    Raises:
        google.protobuf.message.DecodeError: these are not its bytes.
    """
    request = ExportLogsServiceRequest.FromString(export)
    return [
        _entry(
            {pair.key: pair.value.string_value for pair in record.attributes},
            record.time_unix_nano // 1_000_000 / 1000,
        )
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def _entry(said: dict[str, str], started: float) -> Entry:
    values: dict[str, str | float] = {"started": started}
    for name in Entry.__struct_fields__[:-1]:
        value = said.get(name, "-")
        if value == "-":
            continue
        number = _NUMBERS.get(name)
        try:
            values[name] = value if number is None else number(value)
        except ValueError:
            continue
    return Entry(**values)  # type: ignore[arg-type]
