"""Envoy's access log, as its own batches come."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

from extproc.config.compile.access_log import FIELDS, LINE
from extproc.telemetry.access import SEPARATOR, Entry, read_entries


def export(*entries: dict[str, str], started: float = 0.0) -> bytes:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for entry in entries:
        record = scope.log_records.add(time_unix_nano=round(started * 1000) * 1_000_000)
        said = {**dict.fromkeys(FIELDS, "-"), **entry}
        record.body.string_value = SEPARATOR.join(said.values())
    return request.SerializeToString()


def test_what_is_logged_is_what_is_read() -> None:
    assert (*FIELDS, "started") == Entry.__struct_fields__
    assert LINE.split(SEPARATOR) == [*FIELDS.values()]


def test_nothing_of_a_prompt_or_a_path_is_logged() -> None:
    """The renderings are metadata too: of those only ours are named."""
    for operator in FIELDS.values():
        assert "gw.t" not in operator
        assert "PATH" not in operator
        assert "BODY" not in operator.removeprefix("%BODY")


def test_every_value_is_a_string_and_a_dash_is_none() -> None:
    said = dict.fromkeys(FIELDS, "-") | {
        "id": "gw-1", "status": "200", "attempts": "2", "milliseconds": "12",
        "flags": "DC",
    }  # fmt: skip
    [entry] = read_entries(export(said, started=1700000000.25))
    assert entry == Entry(
        id="gw-1", started=1700000000.25, status=200, attempts=2, milliseconds=12,
        flags="DC",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["", "x", "12.5", "--"])
def test_what_is_no_number_is_nought(text: str) -> None:
    assert read_entries(export({"status": text, "attempts": text}, {})) == [Entry()] * 2


def test_a_line_that_ends_early_says_nothing_of_the_rest() -> None:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for line in ("", "gw-1\tslip"):
        scope.log_records.add().body.string_value = line
    assert read_entries(request.SerializeToString()) == [
        Entry(), Entry(id="gw-1", slip="slip"),
    ]  # fmt: skip


def test_bytes_that_are_no_export_are_refused() -> None:
    with pytest.raises(DecodeError):
        read_entries(b"\xff\xff")
