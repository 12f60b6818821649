"""What is made of the notes of workers that have died."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from extproc.exchange.commands import Settlement
from extproc.exchange.completion import Completion
from extproc.exchange.slip import Slip
from extproc.policy.budget import NEVER
from extproc.policy.claims import NOTHING, Admission, Claim, Spent
from extproc.server import estate
from extproc.server.estate import Estate
from extproc.server.journal import Entry, Journal, Kind, read, size_of
from extproc.server.notes import More, Notes, Sent
from extproc.state.memory import CORRECTABLE_SECONDS, MemoryStore
from extproc.usage import Usage

NOW = 1_800_000_000.0
SLOTS = 64


def admission(id_: str, nanos: int = 50) -> Admission:
    money = Claim("key/a/total/UTC/0", "nanos", 1000, nanos, ends=NEVER)
    tokens = Claim("key/a/tokens/60", "total_tokens", 9000, 70, seconds=60)
    return Admission(id_, (money, tokens))


def sent(id_: str, reserved: int | None = 50, started: float = NOW - 3) -> Sent:
    budgets = () if reserved is None else (("key/a/total/UTC/0", NEVER),)
    slip = Slip(
        "chat", "a", (("openai", "openai", "gpt-4o"),), "gpt-4o", "gpt-4o",
        end_user="ann", reserved=reserved, budgets=budgets,
    )  # fmt: skip
    return Sent(id_, "req", started, 400, msgspec.json.encode(slip).decode())


def record(id_: str, cost: int | None = 20, started: float = NOW - 3) -> Completion:
    return Completion(
        id=id_, operation="chat", started=started, duration=1.0, outcome="ok",
        status=200, key="a", usage=Usage(7, 3), cost=cost,
        budgets=(("key/a/total/UTC/0", NEVER),),
    )  # fmt: skip


class Dead:
    """A worker's notes, and what they come to when it is killed."""

    def __init__(self) -> None:
        self.memory = bytearray(size_of(SLOTS))
        self.notes = Notes(Journal(self.memory, SLOTS))

    def left(self) -> Estate:
        entries, torn = read(self.memory)
        assert torn == 0
        return estate.settle(entries, now=NOW)

    def end(self, one: Completion) -> int:
        return self.notes.record(one.id, msgspec.msgpack.encode(one))


@pytest.fixture
def dead() -> Dead:
    return Dead()


def test_a_record_that_control_has_not_is_left_with_its_bill(dead):
    claim, spent = admission("x"), Spent(1, 7, 3, 20)
    dead.notes.claimed(claim)
    dead.notes.sent(sent("x"))
    place = dead.end(record("x"))
    dead.notes.billed(Settlement(claim, spent))
    assert dead.left() == Estate((record("x"),), (Settlement(claim, spent),))
    dead.notes.settled(claim)
    assert dead.left() == Estate((record("x"),))
    dead.notes.kept(place)
    assert dead.left() == Estate()
    assert dead.notes.empty


def test_what_control_has_and_the_store_has_not_is_a_bill(dead):
    claim = admission("x")
    dead.notes.claimed(claim)
    dead.notes.sent(sent("x"))
    dead.notes.kept(dead.end(record("x")))
    dead.notes.billed(Settlement(claim, NOTHING))
    assert dead.left() == Estate((), (Settlement(claim, NOTHING),))


def test_what_was_asked_and_not_sent_is_given_back(dead):
    dead.notes.claimed(admission("x"))
    assert dead.left() == Estate((), (Settlement(admission("x"), NOTHING),))


def test_what_was_under_way_is_charged_as_reserved_and_marked(dead):
    dead.notes.claimed(admission("x"))
    dead.notes.sent(sent("x"))
    dead.notes.reserved(More("x", 30))
    dead.notes.reserved(More("y", 9))  # of nothing that is under way
    [found] = dead.left().records
    assert (found.error, found.estimated, found.outcome, found.status) == (
        "worker_lost", True, "gateway_error", 0,
    )  # fmt: skip
    assert (found.cost, found.reserved, found.key, found.end_user) == (
        80, 80, "a", "ann",
    )  # fmt: skip
    assert found.budgets == (("key/a/total/UTC/0", NEVER),)
    assert (found.provider, found.request_model) == ("openai", "gpt-4o")
    [bill] = dead.left().settlements
    assert [bill.spent.on(claim) for claim in bill.admission.claims] == [80, 70]


def test_what_nothing_was_reserved_for_has_no_cost(dead):
    dead.notes.sent(sent("x", reserved=None))
    [found] = dead.left().records
    assert (found.cost, found.budgets, found.admission) == (None, (), "free")
    assert dead.left().settlements == ()


@pytest.mark.parametrize(
    ("cost", "bill"),
    [
        (20, Spent(input_tokens=7, output_tokens=3, nanos=20)),
        (None, Spent(input_tokens=7, output_tokens=3)),
    ],
)
def test_a_kill_between_the_record_and_its_bill_charges_what_the_record_says(
    dead, cost, bill
):
    dead.notes.claimed(admission("x"))
    dead.notes.sent(sent("x"))
    dead.end(record("x", cost=cost))
    assert dead.left().settlements == (Settlement(admission("x"), bill),)


def test_what_the_store_has_forgotten_by_now_is_not_charged_again(dead):
    long_ago = NOW - CORRECTABLE_SECONDS - 1
    dead.notes.claimed(admission("x"))
    dead.notes.sent(sent("x", started=long_ago))
    assert len(dead.left().records) == 1
    assert dead.left().settlements == ()


def test_what_stood_by_and_was_never_asked_is_charged_all_the_same(dead):
    settlement = Settlement(admission("x/2"), Spent())
    dead.notes.billed(settlement)
    assert dead.left().settlements == (settlement,)
    dead.notes.settled(settlement.admission)
    assert dead.notes.empty


def test_what_cannot_be_read_is_counted_and_spoils_nothing():
    good = Entry(Kind.RECORD, msgspec.msgpack.encode(record("x")))
    bad = [
        Entry(kind, data)
        for kind in (*Kind, 77)
        for data in (b"", b"\xc1", b"\x93\x01\x02\x03", b"\xa1\xff")
    ]
    no_slip = Entry(Kind.SENT, msgspec.msgpack.encode(Sent("y", None, 1.0, 1, "{")))
    found = estate.settle([*bad, no_slip, good], now=NOW)
    assert found.records == (record("x"),)
    assert found.unread == len(bad) + 1


def test_without_a_journal_it_is_known_what_would_die():
    notes = Notes()
    notes.claimed(admission("x"))
    notes.sent(sent("x"))
    notes.reserved(More("x", 1))
    place = notes.record("x", b"record")
    notes.billed(Settlement(admission("x"), NOTHING))
    assert notes.unwritten == 1
    notes.kept(place)
    notes.settled(admission("x"))
    assert notes.unwritten == 0
    assert notes.empty


def test_where_there_is_no_more_room_it_is_known_too(dead):
    places = [dead.end(record(f"x{n}")) for n in range(SLOTS + 3)]
    assert dead.notes.unwritten == 3
    assert len(dead.left().records) == SLOTS
    for place in places:
        dead.notes.kept(place)
    assert dead.notes.unwritten == 0
    assert dead.notes.empty


class Life:
    """Of one exchange, step by step: asked, sent, more, recorded, billed, delivered, kept."""

    def __init__(self, number: int, dead: Dead, store: MemoryStore) -> None:
        self.dead, self.store, self.number = dead, store, number
        self.claim = admission(f"x{number}")
        self.known: Completion | None = None
        self.so_far = ""
        self.place = 0

    def step(self, move: str) -> None:
        after = {"s": "a", "m": "s", "r": "s", "b": "r", "d": "b", "k": "b"}.get(
            move, ""
        )
        if move in self.so_far or after not in self.so_far:
            return
        if move == "m" and "r" in self.so_far:
            return
        getattr(self, f"_{move}")()
        self.so_far += move

    def _a(self) -> None:
        self.dead.notes.claimed(self.claim)
        self.store.admit(self.claim, now=NOW - 3, expires=NOW + 100)

    def _s(self) -> None:
        self.dead.notes.sent(sent(self.claim.id))

    def _m(self) -> None:
        self.store.top_up(self.claim, 30, now=NOW - 2, expires=NOW + 100)
        self.dead.notes.reserved(More(self.claim.id, 30))

    def _r(self) -> None:
        self.known = record(self.claim.id, cost=self.number + 1)
        self.place = self.dead.end(self.known)

    @property
    def bill(self) -> Settlement:
        return Settlement(self.claim, Spent(1, 7, 3, self.number + 1))

    def _b(self) -> None:
        self.dead.notes.billed(self.bill)

    def _d(self) -> None:
        self.store.settle(self.claim, self.bill.spent, now=NOW)
        if self.number % 2:  # else it was killed before it could note that
            self.dead.notes.settled(self.claim)

    def _k(self) -> None:
        self.dead.notes.kept(self.place)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("asmrbdk")), max_size=60))
@settings(max_examples=60, deadline=None)
def test_killed_wherever_it_was_the_store_and_the_records_come_to_the_same(moves):
    """Whatever some exchanges had come to: one store, one control, and who inherits."""
    dead, store = Dead(), MemoryStore()
    lives = [Life(number, dead, store) for number in range(6)]
    for number, move in moves:
        lives[number].step(move)
    control = {one.known.id: one.known for one in lives if one.known is not None}
    for _ in range(2):  # who inherits may die as well
        left = dead.left()
        control |= {one.id: one for one in left.records}
        for bill in left.settlements:
            store.settle(bill.admission, bill.spent, now=NOW)
    assert {one.claim.id for one in lives if "s" in one.so_far} == set(control)
    recorded = sum(one.cost or 0 for one in control.values())
    assert store.spent(("key/a/total/UTC/0",)) == (recorded,)
