"""The till in front of memory, and of a store that is slow, away, and back."""

from __future__ import annotations

import asyncio

import pytest

from extproc.exchange.commands import Settlement
from extproc.identity import Accounting
from extproc.policy.claims import NOTHING, Admission, Admitted, Claim, Denied, Spent
from extproc.server.estate import settle
from extproc.server.journal import Journal, read, size_of
from extproc.server.network_till import NetworkTill
from extproc.server.notes import Notes
from extproc.server.till import MemoryTill, make_till
from extproc.state.base import Balance
from extproc.state.memory import MemoryStore
from tests.server.test_estate import sent

SLOTS = 64
METER = "team/a/month/UTC/0"
ENDS = 2_000_000_000


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


class Away(Exception):
    """What a store says that cannot be asked."""


class Wire:
    """A store behind a wire that can be cut, or slow; `lose` is a crash without a disk."""

    def __init__(self, clock):
        self.clock = clock
        self.store = MemoryStore()
        self.cut = False
        self.deaf = False
        """It is cut on the way back: the store has heard, and its reply is lost."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls = 0

    def lose(self):
        self.store = MemoryStore()
        self.clock.now += 1

    def __getattr__(self, verb):
        async def call(*args, **kwargs):
            self.calls += 1
            if verb == "admit":
                await self.gate.wait()
            if self.cut:
                raise Away
            reply = getattr(self.store, verb)(*args, **kwargs)
            if self.deaf:
                raise Away
            return reply

        return call


def money(number, amount=10, limit=1000):
    return Admission(f"gw-{number}", (Claim(METER, "nanos", limit, amount, ends=ENDS),))


def paid(admission, nanos=10):
    return Settlement(admission, Spent(nanos=nanos))


class Played:
    """A network till under test, with its clock and its wire."""

    def __init__(self, **accounting):
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self.memory = bytearray(size_of(SLOTS))
        self.till = NetworkTill(
            self.wire,
            clock=self.clock,
            accounting=Accounting(**{"deadline_seconds": 5.0, **accounting}),
            error=Away,
            notes=Notes(Journal(self.memory, SLOTS)),
        )

    def left(self):
        """Return what its journal would tell the next worker to charge."""
        entries, _ = read(self.memory)
        return settle(entries, now=self.clock.now).settlements

    async def admit(self, admission):
        verdict = self.till.admit(admission)
        if isinstance(verdict, asyncio.Future):
            return await asyncio.wait_for(verdict, 10)
        return verdict

    @property
    def spent(self):
        return self.wire.store.spent((METER,))[0]


def play(scene, **accounting):
    async def run():
        played = Played(**accounting)
        running = asyncio.ensure_future(played.till.run())
        try:
            await asyncio.wait_for(scene(played), 20)
        finally:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    asyncio.run(run())


def test_memory_answers_at_once_and_settles():
    clock, store = Clock(), MemoryStore()
    till = MemoryTill(store, clock=clock, accounting=Accounting(hold_seconds=10))
    assert isinstance(till.admit(money(1)), Admitted)
    assert isinstance(till.admit(money(2, 995)), Denied)
    till.settle(paid(money(1), 4))
    assert store.spent((METER,)) == (4,)


def test_what_is_under_way_never_expires_and_what_was_lost_does():
    clock, store = Clock(), MemoryStore()
    till = MemoryTill(store, clock=clock, accounting=Accounting(hold_seconds=10))
    till.admit(money(1))
    for _ in range(10):
        clock.now += 4
        till.tick()
    till.settle(paid(money(1), 3))
    assert store.spent((METER,)) == (3,)


def test_verdicts_and_settlements_go_through():
    async def scene(played):
        assert isinstance(await played.admit(money(1)), Admitted)
        assert played.spent == 10
        played.till.settle(paid(money(1), 7))
        await played.till.flushed()
        assert played.spent == 7

    play(scene)


def test_a_store_that_is_away_leaves_each_worker_its_lease():
    async def scene(played):
        await played.admit(money(0))
        played.wire.cut = True
        verdicts = [await played.admit(money(n)) for n in range(1, 9)]
        # 5 % of 1,000, 10 at a time.
        assert [isinstance(v, Admitted) for v in verdicts] == [True] * 5 + [False] * 3
        assert all(v.leased for v in verdicts[:5])
        assert all(v.storeless for v in verdicts[5:])
        for n in range(6):
            played.till.settle(paid(money(n)))
        played.wire.cut = False
        await played.till.flushed()
        assert played.spent == 60
        while played.till.away:
            await asyncio.sleep(0.01)
        assert isinstance(await played.admit(money(99, 940)), Admitted)

    play(scene, lease_percent=5.0)


def test_a_lease_is_never_more_than_what_was_left():
    async def scene(played):
        await played.admit(money(0, 985))
        played.wire.cut = True
        verdicts = [await played.admit(money(n)) for n in range(1, 4)]
        assert [isinstance(v, Admitted) for v in verdicts] == [True, False, False]

    play(scene, lease_percent=50.0)


def test_an_open_till_admits_when_the_lease_is_used_up():
    async def scene(played):
        played.wire.cut = True
        for n in range(9):
            verdict = await played.admit(money(n))
            assert isinstance(verdict, Admitted)
            assert verdict.leased
            played.till.settle(paid(money(n)))
        played.wire.cut = False
        await played.till.flushed()
        assert played.spent == 90

    play(scene, lease_percent=1.0, fail_open=True)


def test_a_slow_verdict_is_the_leases():
    async def scene(played):
        played.wire.gate.clear()
        verdict = await played.admit(money(1))
        assert isinstance(verdict, Admitted)
        assert verdict.leased
        played.till.settle(paid(money(1), 6))
        await played.till.flushed()
        # The store's own answer comes after all, and must reserve nothing.
        played.wire.gate.set()
        await played.admit(money(2))
        assert played.spent == 16

    play(scene, deadline_seconds=0.02)


def test_a_store_that_is_slow_again_and_again_uses_no_lease_up():
    """Of 20, for requests of 10: what the store has admitted, however late, it counts."""

    async def scene(played):
        for n in range(12):
            played.wire.gate.clear()
            late = money(n, limit=1000)
            verdict = await played.admit(late)
            assert isinstance(verdict, Admitted), n
            assert verdict.leased
            if n % 2:
                played.till.settle(paid(late))
            played.wire.gate.set()
            while played.till._asking:
                await asyncio.sleep(0)
            if not n % 2:
                played.till.settle(paid(late))
            await played.till.flushed()
        assert played.spent == 120

    play(scene, deadline_seconds=0.02, lease_percent=2.0)


@pytest.mark.parametrize("settled_first", [True, False])
def test_what_a_slow_store_has_refused_stays_of_the_lease(settled_first):
    """Overspent by no more than that, though the store is slow again and again."""

    async def scene(played):
        played.wire.store.seed({METER: Balance(995, ENDS)}, now=played.clock.now)
        admitted = []
        for n in range(8):
            played.wire.gate.clear()
            late = money(n)
            verdict = await played.admit(late)
            leased = isinstance(verdict, Admitted)
            if leased:
                admitted.append(n)
            if leased and settled_first:
                played.till.settle(paid(late))
            played.wire.gate.set()
            while played.till._asking:
                await asyncio.sleep(0)
            if leased and not settled_first:
                played.till.settle(paid(late))
            await played.till.flushed()
        # The first one; of the others, as what is left is known by then, none.
        assert admitted == [0]
        assert played.spent == 1005

    play(scene, deadline_seconds=0.02, lease_percent=2.0)


def test_a_store_that_is_back_renews_the_lease():
    async def scene(played):
        played.wire.cut = True
        for n in range(3):
            verdict = await played.admit(money(n))
            assert isinstance(verdict, Admitted) == (n < 2)
            if n < 2:
                played.till.settle(paid(money(n)))
        played.wire.cut = False
        await played.till.flushed()
        played.wire.gate.clear()
        assert isinstance(await played.admit(money(4)), Admitted)
        played.wire.gate.set()

    play(scene, deadline_seconds=0.05, lease_percent=2.0)


def test_what_the_store_admits_after_we_have_refused_is_given_back():
    async def scene(played):
        played.wire.gate.clear()
        assert isinstance(await played.admit(money(1)), Denied)
        played.wire.gate.set()
        assert isinstance(await played.admit(money(2)), Admitted)
        while played.spent != 10:
            await asyncio.sleep(0.01)

    play(scene, deadline_seconds=0.05, lease_percent=0.0)


def test_what_the_store_admits_and_nobody_hears_of_is_given_back():
    """Refused by an empty lease, its reply lost: nobody else would settle it."""

    async def scene(played):
        await played.admit(money(0))
        played.wire.deaf = True
        assert isinstance(await played.admit(money(1, 30)), Denied)
        assert played.left() == (
            Settlement(money(0), NOTHING),
            Settlement(money(1, 30), NOTHING),
        )
        assert played.spent == 40
        played.wire.deaf = False
        await played.till.flushed()
        assert played.spent == 10
        assert played.left() == (Settlement(money(0), NOTHING),)

    play(scene, lease_percent=1.0)


def test_what_is_open_is_written_down_until_the_store_has_its_bill():
    async def scene(played):
        till = played.till
        await played.admit(money(1))
        assert isinstance(await played.admit(money(2, 5000)), Denied)
        assert played.left() == (Settlement(money(1), NOTHING),)
        played.wire.cut = True
        till.settle(paid(money(1), 7))
        while not till.away:
            await asyncio.sleep(0.01)
        assert isinstance(await played.admit(money(3, 5000)), Denied)
        assert played.left() == (paid(money(1), 7),)
        played.wire.cut = False
        await till.flushed()
        assert played.left() == ()
        assert played.spent == 7

    play(scene)


def test_who_inherits_bills_tells_the_store_each_once():
    async def scene(played):
        await played.admit(money(1))
        played.till.inherit([paid(money(1), 7), paid(money(2), 4)])
        assert played.left() == (paid(money(1), 7), paid(money(2), 4))
        await played.till.flushed()
        played.till.inherit([paid(money(2), 4)])
        await played.till.flushed()
        assert played.spent == 11
        assert played.left() == ()

    play(scene)


def test_more_that_is_reserved_is_written_down_with_what_was_sent():
    clock = Clock()
    memory = bytearray(size_of(SLOTS))
    notes = Notes(Journal(memory, SLOTS))
    till = MemoryTill(MemoryStore(), clock=clock, accounting=Accounting(), notes=notes)
    till.admit(money(1))
    notes.sent(sent("gw-1"))
    assert till.top_up(money(1), 25)
    assert not till.top_up(money(1), 5000)
    till.inherit([paid(money(2))])
    [record] = settle(read(memory)[0], now=clock.now).records
    assert record.cost == 50 + 25


def test_a_store_that_forgot_everything_is_told_what_is_known():
    async def scene(played):
        played.till.seed({METER: Balance(900, ENDS), "old": Balance(1, 5)})
        played.wire.cut = True
        await played.admit(money(0))
        played.wire.lose()
        played.wire.cut = False
        while played.till.away:
            await asyncio.sleep(0.01)
        assert played.spent == 900 + 10
        assert isinstance(await played.admit(money(1, 91)), Denied)

    play(scene)


def test_a_store_that_forgot_is_told_what_the_others_had_spent_too():
    async def scene(played):
        played.wire.store.seed({METER: Balance(400, ENDS)}, now=played.clock.now)
        await played.admit(money(0))
        played.till.settle(paid(money(0), 30))
        await played.till.flushed()
        played.wire.cut = True
        await played.admit(money(1))
        played.wire.lose()
        played.wire.cut = False
        while played.till.away:
            await asyncio.sleep(0.01)
        assert played.spent == 430 + 10, "what the lease admitted is held there now"

    play(scene)


def test_a_store_that_forgot_holds_again_what_is_under_way():
    async def scene(played):
        await played.admit(money(0, 300))
        played.wire.cut = True
        await played.admit(money(1))
        played.wire.lose()
        played.wire.cut = False
        while played.till.away:
            await asyncio.sleep(0.01)
        assert isinstance(await played.admit(money(2, 701)), Denied)
        assert isinstance(await played.admit(money(3, 600)), Admitted)

    play(scene)


def test_a_store_that_forgot_unnoticed_is_asked_what_it_remembers():
    async def scene(played):
        await played.admit(money(0))
        played.till.settle(paid(money(0), 30))
        await played.till.flushed()
        played.wire.lose()
        await played.admit(money(1))
        while played.spent < 40:
            await asyncio.sleep(0.01)
        played.till.settle(paid(money(1), 5))
        await played.till.flushed()
        assert played.spent == 35

    play(scene)


def test_a_store_that_remembers_is_told_nothing():
    """Control knows of charges that are still on their way: they would count twice."""

    async def scene(played):
        await played.admit(money(0))
        played.clock.now += 10
        played.till.seed({METER: Balance(900, ENDS)})
        played.wire.cut = True
        await played.admit(money(1))
        played.wire.cut = False
        while played.till.away:
            await asyncio.sleep(0.01)
        played.till.settle(paid(money(0), 30))
        await played.till.flushed()
        assert played.spent == 30

    play(scene)


def test_a_new_store_is_told_what_control_knows():
    async def scene(played):
        played.till.seed({METER: Balance(900, ENDS)})
        while played.spent != 900:
            await asyncio.sleep(0.01)

    play(scene)


def test_settlements_survive_an_outage_in_order_and_once():
    async def scene(played):
        for n in range(300):
            await played.admit(money(n, 1))
        played.wire.cut = True
        for n in range(300):
            played.till.settle(paid(money(n, 1), 1))
        await asyncio.sleep(0.3)
        played.wire.cut = False
        await played.till.flushed()
        assert played.spent == 300

    play(scene)


def test_a_released_admission_may_overtake_its_own_verdict():
    async def scene(played):
        played.wire.gate.clear()
        verdict = played.till.admit(money(1))
        played.till.settle(Settlement(money(1), NOTHING))
        await played.till.flushed()
        played.wire.gate.set()
        await verdict
        assert played.spent == 0

    play(scene)


def test_the_address_decides_which_till_there_is():
    assert isinstance(make_till(Accounting(), clock=Clock()), MemoryTill)

    async def network():
        till = make_till(Accounting(store="redis://127.0.0.1:1"), clock=Clock())
        assert isinstance(till, NetworkTill)

    asyncio.run(network())
