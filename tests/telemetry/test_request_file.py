"""The file of requests has a line for each, no person in it, and does not grow for ever."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from extproc.exchange.completion import Completion
from extproc.redact import Redactor
from extproc.telemetry.request_file import RequestFile
from extproc.telemetry.request_lines import Told

RECORD = Completion(
    id="gw-1",
    operation="chat",
    started=1_764_000_000.25,
    duration=1,
    outcome="ok",
    status=200,
    end_user="bob@example.com",
)


def numbered(*numbers: int) -> list[Told]:
    return [Told(msgspec.structs.replace(RECORD, id=f"gw-{n}")) for n in numbers]


def ids(path: Path) -> list[str]:
    return [json.loads(line)["gw_id"] for line in path.read_text().splitlines()]


def test_a_line_for_each_request_and_none_for_probes(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    file = RequestFile(path, Redactor(), max_bytes=1 << 20, keep=2)
    probe = msgspec.structs.replace(RECORD, operation="ready")
    assert file.write([Told(RECORD), Told(probe)])
    assert file.write([Told(probe)])
    [line] = path.read_text().splitlines()
    assert json.loads(line) == {
        "time": "2025-11-24T16:00:00.250Z",
        "gw_id": "gw-1",
        "operation": "chat",
        "outcome": "ok",
        "status": 200,
        "seconds": 1.0,
        "end_user": "[redacted:email]",
        "streamed": False,
    }
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    file = RequestFile(path, Redactor(), max_bytes=400, keep=2)
    for number in range(1, 9):
        assert file.write(numbered(number))
    kept = [
        path.with_name("requests.jsonl.2"),
        path.with_name("requests.jsonl.1"),
        path,
    ]
    found = [one for part in kept for one in ids(part)]
    assert found == [f"gw-{n}" for n in range(9 - len(found), 9)]
    assert all(part.stat().st_size <= 400 for part in kept)
    assert len(list(tmp_path.iterdir())) == 3


def test_nothing_before_is_kept_where_nobody_wants_it(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    file = RequestFile(path, Redactor(), max_bytes=1, keep=0)
    assert file.write(numbered(1))
    assert file.write(numbered(2))
    assert ids(path) == ["gw-2"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "requests.jsonl"
    file = RequestFile(path, Redactor(), max_bytes=400, keep=2)
    assert not file.write([Told(RECORD)])
