"""Tells somebody when a budget has reached a part of itself: one POST for each.

    {"type": "budget_alert", "subject": "team 'search'", "percent": 80,
     "spent_usd": "8.01", "budget_usd": "10", "period": "month", "ends": 1801440000}

Each threshold of a period is told once; those that were reached before control started
are taken as told. A webhook that does not answer is asked again a few times, and then let
be: no request waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import httpx
import msgspec

from extproc.identity import Budget, Period, glob_pattern
from extproc.policy.meters import meters_of
from extproc.pricing import show
from extproc.runtime import Snapshot
from extproc.state.base import Balance

log = logging.getLogger(__name__)

MOST_WAITING: Final = 1_000
"""Alerts that are not sent yet; more are dropped and logged."""
PAUSES: Final = (1.0, 5.0, 30.0)
"""Seconds before each further attempt."""


class Alert(msgspec.Struct, frozen=True, tag="budget_alert"):
    """One threshold that has been reached."""

    subject: str
    percent: int
    spent_usd: str
    budget_usd: str
    period: Period
    ends: int
    """Unix seconds at which the period is over."""


class Alerts:
    """Looks at the balances; `post` sends one body to one address."""

    def __init__(
        self, post: Callable[[str, bytes], Awaitable[None]] | None = None
    ) -> None:
        self._post = post or post_json
        self._url: str | None = None
        self._named: dict[str, tuple[str, Budget]] = {}
        self._globs: list[tuple[re.Pattern[str], Budget]] = []
        self._told: dict[str, int] = {}
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(MOST_WAITING)

    def configure(
        self, snapshot: Snapshot, url: str | None, balances: Mapping[str, Balance]
    ) -> None:
        """Watch the budgets of `snapshot`; what `balances` have reached is told already."""
        first = not self._named and not self._globs
        self._url = url
        self._named, self._globs = {}, []
        owners = [(s.kind, s.id, s.allowance) for s in snapshot.subjects]
        for kind, name, allowance in (
            *owners,
            *(("key", grant.id, grant.allowance) for grant in snapshot.grants),
        ):
            for purse in meters_of(kind, name, allowance).purses:
                if not purse.budget.alerts:
                    continue
                if "*" in name:
                    self._globs.append((glob_pattern(purse.meter), purse.budget))
                else:
                    self._named[purse.meter] = (purse.subject, purse.budget)
        if first:
            for meter in balances:
                self._reached(meter, balances)

    def look(self, meters: Iterable[str], balances: Mapping[str, Balance]) -> None:
        """Tell of what `meters`, which have just been charged, have reached."""
        for meter in meters:
            alert = self._reached(meter, balances)
            if alert is None or self._url is None:
                continue
            try:
                self._waiting.put_nowait(alert)
            except asyncio.QueueFull:
                log.warning("an alert is lost: too many are waiting")

    async def run(self) -> None:
        """Send alerts until canceled."""
        while True:
            alert = await self._waiting.get()
            for pause in (*PAUSES, None):
                url = self._url
                if url is None:
                    break
                try:
                    await self._post(url, msgspec.json.encode(alert))
                except (httpx.HTTPError, OSError) as error:
                    if pause is None:
                        log.warning("an alert is lost: %s", type(error).__name__)
                    else:
                        await asyncio.sleep(pause)
                else:
                    break

    def _reached(self, meter: str, balances: Mapping[str, Balance]) -> Alert | None:
        found = self._find(meter)
        balance = balances.get(meter)
        if found is None or balance is None:
            return None
        subject, budget = found
        percent = balance.nanos * 100 // budget.nanos if budget.nanos else 100
        reached = max((one for one in budget.alerts if one <= percent), default=0)
        if reached <= self._told.get(meter, 0):
            return None
        self._told[meter] = reached
        return Alert(
            subject=subject,
            percent=reached,
            spent_usd=show(balance.nanos),
            budget_usd=show(budget.nanos),
            period=budget.period,
            ends=balance.ends,
        )

    def _find(self, meter: str) -> tuple[str, Budget] | None:
        purse = meter[: meter.rfind("/") + 1]
        found = self._named.get(purse)
        if found is not None:
            return found
        for pattern, budget in self._globs:
            if pattern.match(purse):
                name = purse.split("/", 1)[1].rsplit(f"/{budget.period}/", 1)[0]
                return f"end user {name!r}", budget
        return None


async def post_json(url: str, body: bytes) -> None:
    """POST `body`.

    Raises:
        httpx.HTTPError: nobody answers, or not with a 2xx.
    """
    async with httpx.AsyncClient(timeout=10) as client:
        answer = await client.post(
            url, content=body, headers={"content-type": "application/json"}
        )
        answer.raise_for_status()
