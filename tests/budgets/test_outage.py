"""Redis killed and started again under load: nobody is served a 500, money stays in bounds."""

from __future__ import annotations

import asyncio
import time

import pytest

from extproc.pricing import show
from tests.budgets.conftest import FULL
from tests.budgets.world import (
    ANSWER_NANOS,
    WORST_TOKENS,
    Asked,
    ask,
    chat,
    key_of,
    world,
)

pytestmark = pytest.mark.envoy

GATEWAYS = 3
DOLLARS = 5
LEASE_PERCENT = 10
LEASE = DOLLARS * 1_000_000_000 * LEASE_PERCENT // 100
WORST = WORST_TOKENS * 1_000_000
KEYS = {
    name: {"budgets": [{"usd": DOLLARS, "period": "total"}]}
    for name in ("kept", "lost")
}


@pytest.mark.parametrize("name", ["kept", "lost"] if FULL else ["lost"])
def test_an_outage_costs_no_more_than_the_leases(name, rows):
    """`kept`: the store comes back with its data; `lost`: with nothing at all."""
    with world(
        f"redis-{GATEWAYS}", gateways=GATEWAYS, redis=True, keys=KEYS,
        keep=name == "kept", lease_percent=LEASE_PERCENT, deadline=0.25,
    ) as here:  # fmt: skip
        seen = asyncio.run(_load(here, name))
        by_status = {
            s: sum(one.status == s for one in seen) for s in {o.status for o in seen}
        }
        assert set(by_status) <= {200, 402, 429, 503}, by_status
        refused = [one for one in seen if one.status == 503]
        assert {one.code for one in refused} <= {"limits_unavailable"}
        records = here.records(name, len(seen))
        spent = sum(record.cost or 0 for record in records)
        limit = DOLLARS * 1_000_000_000
        over = max(0, spent - limit)
        rows(
            here.name, f"${DOLLARS}, killed, data {name}", len(seen), by_status[200],
            f"${show(spent)}", f"${DOLLARS}", f"${show(over)}",
        )  # fmt: skip
        assert over <= GATEWAYS * LEASE
        assert spent > limit - GATEWAYS * LEASE - CLIENTS * WORST
        assert by_status[200] * ANSWER_NANOS >= spent - ANSWER_NANOS


CLIENTS = 24


async def _load(here, name) -> list[Asked]:
    """Ask without pause from 24 clients until the money is gone and the store is back."""
    seen: list[Asked] = []
    until = time.monotonic() + 60

    async def client(number: int) -> None:
        url = here.gateways[number % GATEWAYS].url
        broke = 0
        while broke < 3 and time.monotonic() < until:
            one = await ask(url, key_of(name), chat(stream=number % 2 == 0))
            seen.append(one)
            if one.status == 402:
                broke += 1
            elif one.status != 200:
                await asyncio.sleep(0.1)

    async def outage() -> None:
        while sum(one.status == 200 for one in seen) < 60:
            await asyncio.sleep(0.01)
        here.redis.kill()
        served = len(seen)
        await asyncio.sleep(1.5)
        assert len(seen) > served, "nobody was answered while the store was away"
        await asyncio.to_thread(here.redis.restart)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(outage())
        for number in range(CLIENTS):
            tasks.create_task(client(number))
    return seen
