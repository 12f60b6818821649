"""What was charged survives: restarts, torn lines, records that come twice."""

from __future__ import annotations

import pytest

from extproc.exchange.completion import Completion
from extproc.server import ledger as ledgers
from extproc.server.ledger import Ledger, read_balances
from extproc.state.base import Balance

METER, ENDS = "key/app/month/UTC/0", 2_000_000_000


def record(number, cost=5, *, budgets=((METER, ENDS),)):
    return Completion(
        id=f"gw-{number}", operation="chat", started=1.0, duration=1.0, outcome="ok",
        status=200, cost=cost, budgets=budgets,
    )  # fmt: skip


def ledger(folder):
    return Ledger(folder / "ledger.jsonl", clock=lambda: 1_800_000_000.0)


def test_a_restart_resets_nothing(tmp_path):
    first = ledger(tmp_path)
    first.charge([record(1), record(2, 7), record(3, None), record(4, 9, budgets=())])
    assert first.balances == {METER: Balance(12, ENDS)}
    assert ledger(tmp_path).balances == first.balances
    assert read_balances(tmp_path / "ledger.jsonl") == first.balances
    assert (tmp_path / "ledger.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_record_that_comes_twice_counts_once_across_restarts(tmp_path):
    ledger(tmp_path).charge([record(1), record(1)])
    again = ledger(tmp_path)
    again.charge([record(1), record(2)])
    assert again.balances == {METER: Balance(10, ENDS)}


def test_a_torn_line_costs_itself_only(tmp_path):
    ledger(tmp_path).charge([record(1)])
    file = tmp_path / "ledger.jsonl"
    file.write_bytes(file.read_bytes() + b'{"type":"charge","id":"gw-')
    again = ledger(tmp_path)
    assert again.balances == {METER: Balance(5, ENDS)}
    again.charge([record(2)])
    assert ledger(tmp_path).balances == {METER: Balance(10, ENDS)}


def test_a_full_disk_forgets_no_money(tmp_path):
    file, kept = tmp_path / "ledger.jsonl", tmp_path / "kept"
    book = ledger(tmp_path)
    book.charge([record(1)])
    file.rename(kept)
    file.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        book.charge([record(2)])
    assert book.balances == {METER: Balance(10, ENDS)}
    # Half of a line found room.
    file.unlink()
    file.write_bytes(kept.read_bytes() + b'{"type":"cha')
    book.charge([])
    assert ledger(tmp_path).balances == {METER: Balance(10, ENDS)}


def test_a_long_ledger_is_rewritten_short(tmp_path, monkeypatch):
    monkeypatch.setattr(ledgers, "LONGEST", 1_000)
    monkeypatch.setattr(ledgers, "REMEMBERED", 10)
    book = ledger(tmp_path)
    for number in range(100):
        book.charge([record(number, budgets=((METER, ENDS), ("old", 5)))])
    assert (tmp_path / "ledger.jsonl").stat().st_size < 3_000
    again = ledger(tmp_path)
    assert again.balances[METER] == Balance(500, ENDS)
    again.charge([record(99)])
    assert again.balances[METER] == Balance(500, ENDS)


def test_no_ledger_is_an_empty_one(tmp_path):
    assert read_balances(tmp_path / "ledger.jsonl") == {}
