"""What a worker writes down, so that nobody's money depends on whether it lives.

Until control has a record, and the store a bill, they are in the worker's `Journal`; and so
is what has been asked of the store, and what has been sent to a provider, until it has
come to its end. Who finds the journal of a worker that has died makes of it what the worker
would have (`extproc.server.estate`). Nothing is in it that is not in a record: no prompt,
no answer, no key.

Part of every worker: it imports nothing but msgspec and the core.
"""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.exchange.commands import Settlement
from extproc.policy.claims import Admission, Spent
from extproc.server.journal import CLAIM, MORE, NOWHERE, RECORD, SENT, SPENT, Journal


class Sent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An exchange that was given to Envoy."""

    id: str
    """``gw.id``."""
    request_id: str | None
    started: float
    request_bytes: int
    slip: str
    """See `extproc.exchange.slip`."""


class More(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """So much more was reserved for an exchange."""

    id: str
    nanos: int


class Bill(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is to be charged for a claim."""

    id: str
    spent: Spent


_encode: Final = msgspec.msgpack.Encoder().encode


class Notes:
    """Of one worker; without a journal it writes nothing, and `unwritten` says so.

    Attributes:
        unwritten: records that control does not have and that are nowhere but in memory.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self.unwritten = 0
        self._journal = journal
        self._sent: dict[str, list[int]] = {}
        self._claims: dict[str, list[int]] = {}

    def record(self, id_: str, record: bytes) -> int:
        """Write the record of an exchange that has ended; return its place."""
        journal = self._journal
        if journal is None:
            self.unwritten += 1
            return NOWHERE
        place = journal.write(RECORD, record)
        if place < 0:
            self.unwritten += 1
        for sent in self._sent.pop(id_, ()):
            journal.forget(sent)
        return place

    def kept(self, place: int) -> None:
        """Forget a record: control has it, or never will."""
        if place < 0:
            self.unwritten -= 1
        elif self._journal is not None:
            self._journal.forget(place)

    def sent(self, sent: Sent) -> None:
        """Write down that an exchange goes to a provider."""
        journal = self._journal
        if journal is not None:
            self._sent[sent.id] = [journal.write(SENT, _encode(sent))]

    def reserved(self, more: More) -> None:
        """Write down that more is reserved for one."""
        places = self._sent.get(more.id)
        if places is not None and self._journal is not None:
            places.append(self._journal.write(MORE, _encode(more)))

    def claimed(self, admission: Admission) -> None:
        """Write down what the store is about to be asked."""
        if self._journal is not None:
            place = self._journal.write(CLAIM, _encode(admission))
            self._claims[admission.id] = [place]

    def billed(self, settlement: Settlement) -> None:
        """Write down what it is to be told."""
        if self._journal is None:
            return
        admission = settlement.admission
        if admission.id not in self._claims:
            self.claimed(admission)
        bill = Bill(admission.id, settlement.spent)
        place = self._journal.write(SPENT, _encode(bill))
        self._claims[admission.id].append(place)

    def settled(self, admission: Admission) -> None:
        """Forget a claim: the store has denied it, or been told what came of it."""
        self._forget(self._claims.pop(admission.id, ()))

    @property
    def empty(self) -> bool:
        """Whether nothing is left for anybody to take in."""
        return self._journal is None or self._journal.empty

    def _forget(self, places: list[int] | tuple[()]) -> None:
        if self._journal is not None:
            for place in places:
                self._journal.forget(place)
