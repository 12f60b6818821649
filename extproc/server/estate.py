"""What workers that have died leave, and what is made of it.

A worker that begins takes what it finds: records go to control, which knows them by their
ids, and bills to the store, which charges each once. What was under way is recorded as
lost with its worker and charged as reserved; what was never sent is given back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from extproc.exchange.commands import Settlement
from extproc.exchange.completion import Completion
from extproc.exchange.slip import lost_with_worker, read_slip
from extproc.policy.claims import NOTHING, Admission, Spent
from extproc.server.journal import Entry, Kind
from extproc.server.notes import Bill, More, Sent
from extproc.state.memory import CORRECTABLE_SECONDS


class Estate(NamedTuple):
    """What is to be told to control and to the store."""

    records: tuple[Completion, ...] = ()
    settlements: tuple[Settlement, ...] = ()
    unread: int = 0
    """Entries that this version cannot read."""


_RECORD: Final = msgspec.msgpack.Decoder(Completion)
_SENT: Final = msgspec.msgpack.Decoder(Sent)
_CLAIM: Final = msgspec.msgpack.Decoder(Admission)
_MORE: Final = msgspec.msgpack.Decoder(More)
_SPENT: Final = msgspec.msgpack.Decoder(Bill)


class _Left:
    """The entries, by what they are of."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.records: dict[str, Completion] = {}
        self.sent: dict[str, Sent] = {}
        self.claims: dict[str, Admission] = {}
        self.more: dict[str, int] = {}
        self.bills: dict[str, Spent] = {}
        self.unread = 0
        for entry in entries:
            try:
                self._take(entry)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self.unread += 1

    def _take(self, entry: Entry) -> None:
        match entry.kind:
            case Kind.RECORD:
                record = _RECORD.decode(entry.data)
                self.records[record.id] = record
            case Kind.SENT:
                sent = _SENT.decode(entry.data)
                self.sent[sent.id] = sent
            case Kind.CLAIM:
                claim = _CLAIM.decode(entry.data)
                self.claims[claim.id] = claim
            case Kind.MORE:
                more = _MORE.decode(entry.data)
                self.more[more.id] = self.more.get(more.id, 0) + more.nanos
            case Kind.SPENT:
                bill = _SPENT.decode(entry.data)
                self.bills[bill.id] = bill.spent
            case _:
                self.unread += 1


def settle(entries: Iterable[Entry], *, now: float) -> Estate:
    """Return what comes of the entries of one journal; `now` is in Unix seconds."""
    left = _Left(entries)
    for sent in left.sent.values():
        if sent.id not in left.records:
            record = _lost(sent, left, now)
            if record is None:
                left.unread += 1
            else:
                left.records[sent.id] = record
    settlements = tuple(_settlements(left, now))
    return Estate(tuple(left.records.values()), settlements, left.unread)


def _lost(sent: Sent, left: _Left, now: float) -> Completion | None:
    """Return the record that the worker did not live to make."""
    try:
        slip = read_slip(sent.slip)
    except msgspec.DecodeError:
        return None
    record = lost_with_worker(
        slip,
        id=sent.id,
        request_id=sent.request_id,
        started=sent.started,
        duration=max(0.0, now - sent.started),
        request_bytes=sent.request_bytes,
    )
    spent = left.bills.get(sent.id)
    if spent is not None and record.cost is not None:
        return msgspec.structs.replace(record, cost=spent.nanos)
    more = left.more.get(sent.id)
    if more and record.cost is not None:
        nanos = record.cost + more
        return msgspec.structs.replace(record, cost=nanos, reserved=nanos)
    return record


def _settlements(left: _Left, now: float) -> Iterator[Settlement]:
    for id_, admission in left.claims.items():
        record = left.records.get(id_)
        if record is not None and record.started < now - CORRECTABLE_SECONDS:
            # The store no longer knows what it has charged for it: it would twice.
            continue
        spent = left.bills.get(id_)
        if spent is None:
            spent = NOTHING if record is None else _spent(record, admission)
        yield Settlement(admission, spent)


def _spent(record: Completion, admission: Admission) -> Spent:
    """Return the bill of a record; its tokens, where nobody counted them, as reserved."""
    usage = None if record.estimated else record.usage
    if usage is not None:
        return Spent(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            nanos=record.cost or 0,
        )
    held: dict[str, int] = {}
    for claim in admission.claims:
        held[claim.counts] = max(held.get(claim.counts, 0), claim.amount)
    given = held.get("input_tokens", 0)
    made = held.get("output_tokens", 0)
    made = max(made, held.get("total_tokens", 0) - given)
    return Spent(input_tokens=given, output_tokens=made, nanos=record.cost or 0)
