"""The folder of journals: what a worker leaves there, whoever comes next, and when."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from extproc.exchange.completion import Completion
from extproc.policy.claims import Admission
from extproc.server import journals
from extproc.server.journals import Journals, is_left
from extproc.server.notes import Notes
from tests.server.test_estate import record

NOW = 1_800_000_000.0
SLOTS = 16


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(journals, "SLOTS", SLOTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journals"


def end(worker: Journals, one: Completion) -> int:
    return worker.notes.record(one.id, msgspec.msgpack.encode(one))


def die(worker: Journals) -> None:
    """Let go of everything, as the system does for a process that is killed."""
    for _, handle in (*worker._left, *([worker._own] if worker._own else [])):
        os.close(handle)
    worker._left.clear()
    worker._own = None
    worker.notes = Notes()  # and with it the map


KILLED = """
import sys
from pathlib import Path
from extproc.server.journals import Journals
from tests.server.test_estate import record
from tests.server.test_journals import end

worker = Journals(Path(sys.argv[1]), "first", now=0.0)
for number in range(1000):
    end(worker, record(f"gw-first-{number}"))
print("written", flush=True)
while True:
    worker.notes.kept(end(worker, record("gw-first-x")))
"""


def test_a_process_that_is_killed_leaves_its_records_to_the_next(folder):
    command = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        early = Journals(folder, "early", now=NOW)
        assert early.records == []
        assert early.settlements == []
        process.send_signal(signal.SIGKILL)
    heir = Journals(folder, "second", now=NOW)
    ids = [one.id for one in heir.records if one.id != "gw-first-x"]
    assert ids == [f"gw-first-{number}" for number in range(1000)]
    assert is_left(folder, "gw-first-5")
    # Who inherits has it alone, and may die as well.
    assert Journals(folder, "third", now=NOW).records == []
    die(heir)
    again = Journals(folder, "fourth", now=NOW)
    assert [one.id for one in again.records if one.id != "gw-first-x"] == ids
    again.forget_left()
    assert not is_left(folder, "gw-first-5")
    die(again)
    assert Journals(folder, "fifth", now=NOW).records == []


def test_only_its_user_can_read_it_and_an_empty_one_goes_with_its_worker(folder):
    worker = Journals(folder, "a", now=NOW)
    path = folder / "a.journal"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_blocks * 512 >= path.stat().st_size, "it has to be all there"
    place = end(worker, record("gw-a-1"))
    worker.close()
    assert path.exists(), "control has not got what is in it"
    worker.notes.kept(place)
    worker.close()
    worker.close()
    assert not path.exists()


def test_a_disk_without_room_costs_the_journal_and_no_worker(
    folder, monkeypatch, caplog
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    worker = Journals(folder, "a", now=NOW)
    assert caplog.messages == ["records are in memory only: No space left on device"]
    assert list(folder.glob("*.journal")) == []
    assert end(worker, record("gw-a-1")) < 0
    assert worker.notes.unwritten == 1
    worker.close()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path, caplog):
    (tmp_path / "file").touch()
    worker = Journals(tmp_path / "file" / "journals", "a", now=NOW)
    assert caplog.messages == ["records are in memory only: Not a directory"]
    assert worker.notes.unwritten == 0


def test_without_a_folder_nothing_is_said(caplog):
    worker = Journals(None, "a", now=NOW)
    worker.notes.claimed(Admission("gw-a-1", ()))
    worker.close()
    assert caplog.messages == []


@pytest.mark.parametrize("content", [b"", b"GET / HTTP/1.1", bytes(20_000)])
def test_what_is_no_journal_is_taken_away(folder, content):
    folder.mkdir()
    stray = folder / "stray.journal"
    stray.write_bytes(content)
    heir = Journals(folder, "a", now=NOW)
    assert heir.records == []
    heir.forget_left()
    assert not stray.exists()


def test_a_link_to_elsewhere_is_not_followed(folder, tmp_path):
    folder.mkdir()
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    (folder / "link.journal").symlink_to(other)
    heir = Journals(folder, "a", now=NOW)
    heir.forget_left()
    assert other.read_bytes() == b"precious"


def test_what_cannot_be_read_is_told(folder, caplog):
    worker = Journals(folder, "a", now=NOW)
    worker.notes.record("gw-a-1", b"\xc1")
    end(worker, record("gw-a-2"))
    die(worker)
    heir = Journals(folder, "b", now=NOW)
    assert [one.id for one in heir.records] == ["gw-a-2"]
    warned = [one.message for one in caplog.records if one.levelname == "WARNING"]
    assert warned == ["1 notes of a dead worker cannot be read"]


def test_workers_that_die_one_after_the_other_do_not_fill_the_disk(
    folder, monkeypatch, caplog
):
    monkeypatch.setattr(journals, "MOST_LEFT", 3)
    for number in range(3):
        worker = Journals(folder, f"w{number}", now=NOW)
        end(worker, record(f"gw-w{number}-1"))
        die(worker)
    last = Journals(folder, "last", now=NOW)
    assert len(last.records) == 3
    assert len(list(folder.glob("*.journal"))) == 3
    assert "3 journals wait" in caplog.text
    last.forget_left()
    assert list(folder.glob("*.journal")) == []


@pytest.mark.parametrize("id_", ["", "gw", "envoy-1", "gw-other-1", "x" * 300])
def test_of_who_has_left_nothing_nothing_is_awaited(folder, id_):
    Journals(folder, "a", now=NOW)
    assert not is_left(folder, id_)
    assert is_left(folder, "gw-a-1")
