"""Notes when a budget has reached a part of itself.

Each threshold of a period is told once, whichever control does it; those that were reached
before the first one are taken as told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from extproc.identity import Budget, glob_pattern
from extproc.policy.meters import meters_of
from extproc.pricing import show
from extproc.runtime import Snapshot
from extproc.server.alert_book import Alert, AlertBook, Reached
from extproc.state.base import Balance


class Alerts:
    """Looks at the balances; `tell` hears of what is new, `clock` gives Unix seconds."""

    def __init__(
        self,
        tell: Callable[[Alert], None],
        *,
        clock: Callable[[], float],
        book: AlertBook | None = None,
    ) -> None:
        self._book = book or AlertBook()
        self._tell = tell
        self._clock = clock
        self._named: dict[str, tuple[str, Budget]] = {}
        self._globs: list[tuple[re.Pattern[str], Budget]] = []

    def configure(self, snapshot: Snapshot, balances: Mapping[str, Balance]) -> None:
        """Watch the budgets of `snapshot`.

        What `balances` have reached when the first is watched is told, unless nobody was
        there before to do it.
        """
        first = not self._named and not self._globs
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
        if first and not self._book.fresh:
            self.look(list(balances), balances)
        elif first:
            for meter in balances:
                self._reached(meter, balances)

    def look(self, meters: Iterable[str], balances: Mapping[str, Balance]) -> None:
        """Tell of what `meters`, which have just been charged, have reached."""
        for meter in meters:
            alert = self._reached(meter, balances)
            if alert is not None:
                self._tell(alert)

    def _reached(self, meter: str, balances: Mapping[str, Balance]) -> Alert | None:
        found = self._find(meter)
        balance = balances.get(meter)
        if found is None or balance is None:
            return None
        subject, budget = found
        percent = balance.nanos * 100 // budget.nanos if budget.nanos else 100
        reached = max((one for one in budget.alerts if one <= percent), default=0)
        told = self._book.page.budgets.get(meter)
        if reached <= (0 if told is None else told.percent):
            return None
        self._book.page.budgets[meter] = Reached(reached, balance.ends)
        self._book.changed()
        spent, whole = show(balance.nanos), show(budget.nanos)
        return Alert(
            kind="budget",
            key=f"budget/{meter}/{reached}",
            summary=f"{subject} has reached {reached} % of its budget for the "
            f"{budget.period}: {spent} of {whole} dollars",
            at=int(self._clock()),
            details={
                "subject": subject,
                "percent": reached,
                "spent_usd": spent,
                "budget_usd": whole,
                "period": budget.period,
                "ends": balance.ends,
            },
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
