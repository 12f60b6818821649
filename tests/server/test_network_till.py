"""The till in front of a real redis-server that hangs: stopped by a signal, then let go on."""

from __future__ import annotations

import asyncio
import signal
import time

import psutil
import pytest

from extproc.exchange.commands import Settlement
from extproc.identity import Accounting
from extproc.policy.claims import Admission, Admitted, Claim, Denied, Spent
from extproc.server.network_till import NetworkTill
from extproc.server.patience import STEPS
from extproc.server.till import STORE_SECONDS, make_till
from tests.busy import Busy
from tests.redis_server import RedisServer

DEADLINE = Accounting().deadline_seconds
LIMIT, AMOUNT, PERCENT = 1_000, 10, 5.0
LEASE = int(LIMIT * PERCENT / 100)
WORKERS = 2
STEP = DEADLINE / STEPS / 4


class SteppedLoop(asyncio.SelectorEventLoop):
    """A loop whose clock, by which every deadline ends, can be stopped and set on.

    Sockets are real: whatever the machine is busy with, nothing is late by this clock.
    """

    stopped: float | None = None

    def time(self):
        return super().time() if self.stopped is None else self.stopped

    async def at(self, when):
        """Set the clock on to `when`, in steps as an idle loop does, and let it stand."""
        while self.stopped is not None and self.stopped < when - STEP:
            self.stopped += STEP
            await asyncio.sleep(0)
        self.stopped = when
        for _ in range(20):
            await asyncio.sleep(0)


def money(number):
    meter = "team/a/month/UTC/0"
    return Admission(
        f"gw-{number}", (Claim(meter, "nanos", LIMIT, AMOUNT, ends=2**32),)
    )


def paid(admission):
    return Settlement(admission, Spent(nanos=AMOUNT))


@pytest.fixture
def redis():
    server = RedisServer()
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


def hang(server):
    server.process.send_signal(signal.SIGSTOP)
    process = psutil.Process(server.process.pid)
    while process.status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)


async def until(true):
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


async def answered(verdicts):
    return [
        await verdict if isinstance(verdict, asyncio.Future) else verdict
        for verdict in verdicts
    ]


def network_till(accounting):
    till = make_till(accounting, clock=time.time)
    assert isinstance(till, NetworkTill)
    return till


def play(server, scene):
    """Play `scene` with the tills of two workers before one store."""

    async def run():
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SteppedLoop)
        accounting = Accounting(store=server.url, lease_percent=PERCENT)
        tills = [network_till(accounting) for _ in range(WORKERS)]
        running = [asyncio.ensure_future(till.run()) for till in tills]
        try:
            await until(lambda: all(till._epoch is not None for till in tills))
            await scene(loop, tills)
        finally:
            loop.stopped = None
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for till in tills:
                await asyncio.gather(*till._asking, return_exceptions=True)
                await till._store.close()

    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        runner.run(run())


def test_while_redis_hangs_nobody_waits_past_the_deadline_and_leases_admit(redis):
    async def scene(loop, tills):
        # The clock stands: the store answers in time, however busy the machine is.
        began = loop.time()
        await loop.at(began)
        first = [till.admit(money(f"first-{n}")) for n, till in enumerate(tills)]
        while not all(verdict.done() for verdict in first):
            await asyncio.sleep(0)
        assert [v.result().leased for v in first] == [False] * WORKERS
        for n, till in enumerate(tills):
            till.settle(paid(money(f"first-{n}")))
            await till.flushed()

        hang(redis)
        held = [money(f"hung-{n}") for n in range(6)]
        asked = [(n, one, tills[n % WORKERS]) for n, one in enumerate(held)]
        late = [till.admit(one) for _, one, till in asked]
        await loop.at(began + DEADLINE * 0.999)
        assert not any(verdict.done() for verdict in late)
        await loop.at(began + DEADLINE * 1.001)
        assert all(verdict.done() for verdict in late), "none waits longer"
        assert all(verdict.result().leased for verdict in late)
        assert not any(till.away for till in tills)

        # Of each worker's, one is over before the store is given up, one after it, and one
        # goes on until it is back.
        for n, till in enumerate(tills):
            till.settle(paid(held[n]))
        await loop.at(began + STORE_SECONDS + DEADLINE)
        for n, till in enumerate(tills):
            till.settle(paid(held[WORKERS + n]))
        assert all(till.away for till in tills)
        more = [money(f"away-{n}") for n in range(20)]
        verdicts = [tills[n % WORKERS].admit(one) for n, one in enumerate(more)]
        assert not any(isinstance(v, asyncio.Future) for v in verdicts), "at once"
        leased = [isinstance(v, Admitted) for v in verdicts]
        assert all(v.storeless for v in verdicts if isinstance(v, Denied))
        # The published bound, to the last nano-dollar: workers times the lease.
        assert (len(late) + sum(leased)) * AMOUNT == WORKERS * LEASE

        redis.process.send_signal(signal.SIGCONT)
        loop.stopped = None
        await until(lambda: not any(till.away for till in tills))
        for n, till in enumerate(tills):
            till.settle(paid(held[2 * WORKERS + n]))
        for n, one in enumerate(more):
            if leased[n]:
                tills[n % WORKERS].settle(paid(one))
        for till in tills:
            await till.flushed()
        # All that was admitted is charged, once; and it goes on at the store.
        spent = WORKERS * AMOUNT + WORKERS * LEASE
        (meter,) = {claim.meter for one in held for claim in one.claims}
        await until(lambda: not any(till._asking for till in tills))
        assert await tills[0]._store.spent((meter,)) == (spent,)
        await loop.at(loop.time())
        last = tills[0].admit(money("last"))
        while not last.done():
            await asyncio.sleep(0)
        assert isinstance(last.result(), Admitted)
        assert not last.result().leased
        assert last.result().left[0].remaining == LIMIT - spent - AMOUNT

    play(redis, scene)


def test_a_worker_that_was_busy_hears_what_the_store_has_said(redis):
    async def scene(_, tills):
        verdicts = []
        for number in range(3):
            verdicts += [
                till.admit(money(f"{number}-{n}")) for n, till in enumerate(tills)
            ]
            # Not the store is late: nobody reads what it says.
            time.sleep(2 * DEADLINE)
            if number:
                await asyncio.sleep(0)
        for verdict in await answered(verdicts):
            assert isinstance(verdict, Admitted)
            assert not verdict.leased

    play(redis, scene)


def test_a_burst_at_a_busy_worker_is_the_stores_to_decide(redis):
    """33 at once, and each turn of the loop takes a third of the deadline."""

    async def scene(loop, tills):
        busy = Busy(loop, DEADLINE / 3)
        for burst in range(3):
            asked = [tills[0].admit(money(f"{burst}-{n}")) for n in range(33)]
            verdicts = await answered(asked)
            assert [v.leased for v in verdicts] == [False] * 33
        busy.stop()

    play(redis, scene)
