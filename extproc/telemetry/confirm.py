"""Joins what workers record with what Envoy logs, and settles what only one of them says.

A record is confirmed by the entry with its ``gw.id``; one that was answered before it was
routed by Envoy's request id. An entry without a record is

- of a worker that has died and has left nothing (`extproc.server.estate`): its exchange is
  settled from the entry and its slip, with estimated tokens and the money that was reserved;
- of a request that never reached a worker (Envoy's own answer): it is counted as one;
- of a worker that is there and says nothing any more: it hangs, and is taken for dead; should
  it wake, its own record comes too late, and is known by its id;
- of a worker that answers: its record has been counted by a control before this one.

A record without an entry stays as it is: Envoy drops what control is not there to take.

Of an answer that broke off in the middle a worker knows no more than that: it takes its client
to have left. Envoy knows who it was, so such a record waits a moment before it is counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from extproc.exchange.completion import Completion, Outcome
from extproc.exchange.local_reply import LOCAL
from extproc.exchange.slip import (
    WORKER_LOST,
    Slip,
    lost_with_worker,
    read_slip,
)
from extproc.policy.estimate import answer_tokens
from extproc.telemetry.access import Entry
from extproc.usage import Usage

Result = Literal[
    "confirmed", "differing", "settled", "local", "unmatched", "unconfirmed"
]

GRACE_SECONDS: Final = 3.0
"""That an entry waits for its record, once no worker is there that would have it. A worker
sends within a tenth of a second, and one that lost its link is back within a second."""
PATIENCE_SECONDS: Final = 30.0
"""That a record waits for its entry, and an entry for the record of a worker that is there:
Envoy flushes every half second, and a batch may wait for another export's five."""
TOLD_SECONDS: Final = 2.0
"""That a record waits for Envoy's word before a line is written of it, and one of an answer
that broke off before it is counted."""
MAX_HELD: Final = 100_000
"""Of each, some 20 MB: 30 s at 3,000 requests/s. The oldest are given up first."""

Price = Callable[[str, str, Usage], int | None]
"""Nano-dollars for the usage of a model at a cluster; None: nobody knows."""


class Ended(NamedTuple):
    """One exchange, as far as both have told of it."""

    completion: Completion
    entry: Entry | None = None
    """None: Envoy has said nothing, or too late."""


class _Record(NamedTuple):
    completion: Completion
    at: float


class _Entry(NamedTuple):
    entry: Entry
    at: float


class Confirmations:
    """The join; `clock` gives Unix seconds.

    Attributes:
        results: how many there were of each.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        price: Price = lambda *_: None,
        alive: Callable[[str], bool] = lambda _: False,
        answers: Callable[[str], bool] | None = None,
        left: Callable[[str], bool] = lambda _: False,
        steady: Callable[[], float] | None = None,
    ) -> None:
        """Begin with nothing.

        Args:
            clock: see above.
            steady: seconds that nobody sets, by which all that waits does; without it, as
                `clock`.
            price: what settled exchanges cost that nothing was reserved for.
            alive: whether the worker is there whose ``gw.id`` this is.
            answers: whether it has been heard of lately; without it, as `alive`.
            left: whether what it has written down is still there, for another to bring.
        """
        self.results: Counter[Result] = Counter()
        self._steady = steady or clock
        self._began = clock()
        self._price = price
        self._alive = alive
        self._answers = answers or alive
        self._left = left
        self._records: dict[str, _Record] = {}
        self._by_request: dict[str, str] = {}
        self._entries: dict[str, _Entry] = {}
        self._untold: dict[str, float] = {}
        """Records that Envoy has not said anything of, and since when."""
        self._ready: list[Completion] = []
        self._corrected: list[Completion] = []
        self._ended: list[Ended] = []

    def ready(self) -> list[Completion]:
        """Return the records that are to be counted now, each once."""
        ready, self._ready = self._ready, []
        return ready

    def corrected(self) -> list[Completion]:
        """Return those of them that are others than they were, each once."""
        corrected, self._corrected = self._corrected, []
        return corrected

    def ended(self) -> list[Ended]:
        """Return the exchanges that a line can be written of now, each once.

        Not those that `sweep` returns.
        """
        ended, self._ended = self._ended, []
        return ended

    def release(self) -> None:
        """Let no record wait any longer: control ends."""
        for key in list(self._untold):
            self._tell(key)

    @property
    def waiting(self) -> int:
        """Records and entries that have not met."""
        return len(self._records) + len(self._entries)

    def recorded(self, completions: Iterable[Completion]) -> None:
        """Take records that are new."""
        now = self._steady()
        for one in completions:
            found = self._entries.pop(one.id, None)
            if found is None and one.request_id is not None:
                found = self._entries.pop(one.request_id, None)
            if found is not None:
                right = self._corrected_by(one, found.entry)
                self._ready.append(right)
                self._ended.append(Ended(right, found.entry))
                self._meet(right, found.entry)
                continue
            self._records[one.id] = _Record(one, now)
            self._untold[one.id] = now
            if not _waits(one):
                self._ready.append(one)
            if one.request_id is not None:
                self._by_request[one.request_id] = one.id
        while len(self._records) > MAX_HELD:
            self._give_up(next(iter(self._records)))

    def logged(self, entries: Iterable[Entry]) -> None:
        """Take what Envoy says."""
        now = self._steady()
        for entry in entries:
            key = entry.id or self._by_request.get(entry.request_id, "")
            found = self._records.get(key)
            if found is not None:
                one = found.completion
                if key in self._untold:
                    one = self._tell(key, entry)
                self._forget(key)
                self._meet(one, entry)
            else:
                self._entries[entry.id or entry.request_id] = _Entry(entry, now)
        while len(self._entries) > MAX_HELD:
            del self._entries[next(iter(self._entries))]
            self.results["unmatched"] += 1

    def sweep(self) -> list[Ended]:
        """Return what has to be counted and charged on Envoy's word; the rest is let go."""
        now = self._steady()
        while self._untold:
            key, since = next(iter(self._untold.items()))
            if now - since < TOLD_SECONDS:
                break
            self._tell(key)
        while self._records:
            key, record = next(iter(self._records.items()))
            if now - record.at < PATIENCE_SECONDS:
                break
            self._give_up(key)
        due = [
            (key, held.entry)
            for key, held in self._entries.items()
            if now - held.at >= GRACE_SECONDS and self._is_due(held, now)
        ]
        for key, _ in due:
            del self._entries[key]
        return list(self._settle(entry for _, entry in due))

    def _is_due(self, held: _Entry, now: float) -> bool:
        """Say whether nobody will bring the record any more, `GRACE_SECONDS` being over."""
        id_ = held.entry.id
        if not id_:
            return True
        if self._alive(id_):
            return now - held.at >= PATIENCE_SECONDS
        return not self._left(id_)

    def _settle(self, entries: Iterable[Entry]) -> Iterator[Ended]:
        for entry in entries:
            ended = entry.started + entry.milliseconds / 1000
            if not entry.id:
                self.results["local"] += 1
                yield Ended(local_reply(entry), entry)
            elif ended < self._began or self._answers(entry.id):
                self.results["unmatched"] += 1
            else:
                self.results["settled"] += 1
                yield Ended(settled(entry, self._price), entry)

    def _meet(self, completion: Completion, entry: Entry) -> None:
        self.results["confirmed" if agree(completion, entry) else "differing"] += 1

    def _corrected_by(self, completion: Completion, entry: Entry) -> Completion:
        if completion.error == WORKER_LOST:
            corrected = _as_told(completion, entry, self._price)
        elif completion.outcome == "canceled" and broke_off(entry):
            corrected = msgspec.structs.replace(
                completion, outcome="upstream_error", error=RESET
            )
        else:
            return completion
        self._corrected.append(corrected)
        return corrected

    def _tell(self, key: str, entry: Entry | None = None) -> Completion:
        """Tell of a record, as it is or as Envoy knows it; count it if nobody has yet."""
        del self._untold[key]
        one = self._records[key].completion
        right = one if entry is None else self._corrected_by(one, entry)
        if _waits(one):
            self._ready.append(right)
        self._ended.append(Ended(right, entry))
        return right

    def _give_up(self, key: str) -> None:
        if key in self._untold:
            self._tell(key)
        self._forget(key)
        self.results["unconfirmed"] += 1

    def _forget(self, key: str) -> None:
        record = self._records.pop(key)
        if record.completion.request_id is not None:
            self._by_request.pop(record.completion.request_id, None)


def _waits(completion: Completion) -> bool:
    """Say whether Envoy may know better how it ended."""
    return completion.outcome == "canceled" or completion.error == WORKER_LOST


def broke_off(entry: Entry) -> bool:
    """Say whether it was the provider that ended an answer in its middle."""
    flags = set(entry.flags.split(","))
    return bool(flags & _BROKE_OFF) and not flags & LEFT


def agree(completion: Completion, entry: Entry) -> bool:
    """Say whether both tell of the same end."""
    if completion.outcome == "canceled" or completion.error == RESET:
        return entry.flags != "" or entry.status == 0
    return completion.status == entry.status and (
        not completion.attempts or completion.attempts == entry.attempts
    )


def settled(entry: Entry, price: Price = lambda *_: None) -> Completion:
    """Return the record that a worker did not live to make."""
    try:
        slip = read_slip(entry.slip)
    except msgspec.DecodeError:
        slip = Slip("unknown", None, ())
    lost = lost_with_worker(
        slip,
        id=entry.id,
        request_id=entry.request_id or None,
        started=entry.started,
        duration=entry.milliseconds / 1000,
        request_bytes=entry.request_bytes,
        attempts=entry.attempts,
    )
    return _as_told(lost, entry, price)


def _as_told(lost: Completion, entry: Entry, price: Price) -> Completion:
    """Return the record of a lost exchange with what Envoy knows of its end.

    What is charged stays, for the store is told the same; only what nobody reserved for
    has no cost yet.
    """
    usage, cost = lost.usage, lost.cost
    if usage is not None:
        given = entry.request_bytes // 4 + 1
        usage = Usage(given, answer_tokens(entry.answer_bytes))
        if cost is None and lost.cluster and lost.request_model:
            cost = price(lost.cluster, lost.request_model, usage)
    return msgspec.structs.replace(
        lost,
        duration=entry.milliseconds / 1000,
        outcome=_outcome(entry),
        status=entry.status,
        usage=usage,
        cost=cost,
        request_bytes=entry.request_bytes,
        answer_bytes=entry.answer_bytes,
    )


def local_reply(entry: Entry) -> Completion:
    """Return the record of a request that Envoy answered before a worker saw it."""
    word = _WORD.match(entry.details)
    return Completion(
        id=f"envoy-{entry.request_id}",
        request_id=entry.request_id or None,
        operation=LOCAL,
        started=entry.started,
        duration=entry.milliseconds / 1000,
        outcome=_outcome(entry),
        status=entry.status,
        error=None if entry.status < 400 or word is None else word[0],
        request_bytes=entry.request_bytes,
        answer_bytes=entry.answer_bytes,
    )


_WORD: Final = re.compile(r"[a-zA-Z_.]{1,64}")
"""How ``%RESPONSE_CODE_DETAILS%`` begins; what follows may be an address or a number."""

RESET: Final = "upstream_reset"
"""The error of a provider that ended its answer in the middle."""
_BROKE_OFF: Final = frozenset({"UC", "UR", "UPE", "UT"})
"""As `LEFT`: the provider's connection ended, it reset the stream, broke HTTP, or was late."""
LEFT: Final = frozenset({"DC", "DR"})
"""https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage:
the client closed the connection, or reset the stream."""


def lost_its_worker(entry: Entry) -> bool:
    """Say whether its stream to a worker broke: an answer that had begun was cut then."""
    return entry.details.startswith("ext_proc_error")


def _outcome(entry: Entry) -> Outcome:
    if entry.status == 0 or LEFT & set(entry.flags.split(",")):
        return "canceled"
    if entry.status >= 500 or lost_its_worker(entry):
        return "gateway_error"
    return "client_error" if entry.status >= 400 else "ok"
