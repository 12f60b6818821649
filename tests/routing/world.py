"""Virtual models out of thin air, and a clock that moves when told."""

from __future__ import annotations

import json
import random
from typing import Any

from extproc.deployment import ModelRouting, Placement, RoutingNumbers
from extproc.framing.members import read_members
from extproc.identity import Grant
from extproc.pricing import PriceRow
from extproc.routing.demand import Demand
from extproc.routing.plan import Plan, plan
from extproc.routing.state import RoutingState
from extproc.routing.ticket import Ticket
from extproc.runtime import ModelSpec, Runtime, Snapshot, TargetSpec

GRANT = Grant("ci", "00" * 32)


def target(name: str, model: str | None = "m", **place: Any) -> TargetSpec:
    """Return a target at the provider `name`; ``p.2`` is its second key."""
    return TargetSpec(
        provider=name.partition(".")[0],
        type="openai",
        cluster=name,
        authority=f"{name}.test",
        base_path="/v1",
        model=model,
        placement=Placement(**place),
    )


def demand(
    body: dict[str, Any] | None = None, *, chat: bool = True, **headers: str
) -> Demand:
    sent = json.dumps(body or {"messages": []}).encode()
    return Demand(
        members=read_members(sent),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        grant=GRANT,
        size=len(sent),
        stream=bool((body or {}).get("stream")),
        chat=chat,
    )


class World:
    """One worker's routing, under a clock."""

    def __init__(
        self,
        *specs: TargetSpec,
        seed: int = 1,
        numbers: RoutingNumbers | None = None,
        more: dict[str, tuple[TargetSpec, ...]] | None = None,
        prices: tuple[PriceRow, ...] = (),
        **routing: Any,
    ) -> None:
        self.now = 1000.0
        self.told = 0
        models = [ModelSpec("v", specs, routing=ModelRouting(**routing))]
        models += [ModelSpec(name, its) for name, its in (more or {}).items()]
        self.runtime = Runtime.of(
            Snapshot(
                1,
                models=tuple(models),
                prices=prices,
                routing=numbers or RoutingNumbers(),
            )
        )
        self.state = RoutingState(
            random.Random(seed), self.runtime.routing, on_change=self._tell
        )

    def _tell(self) -> None:
        self.told += 1

    def plan(self, wanted: Demand | None = None, asked: str = "v") -> Plan:
        model = self.runtime.model(asked)
        assert model is not None
        return plan(
            self.runtime,
            model,
            asked,
            demand=wanted or demand(),
            state=self.state,
            now=self.now,
        )

    def chain(self, wanted: Demand | None = None, asked: str = "v") -> list[str]:
        """Return the clusters that are tried, in order."""
        return names(self.plan(wanted, asked))

    def send(self, wanted: Demand | None = None) -> Ticket:
        return Ticket(self.state, self.plan(wanted).picks, self.now)

    def play(
        self, *statuses: int, retry_after: str | None = None, seconds: float = 0.0
    ) -> list[str]:
        """Send a request whose attempts end so (0: no answer); return who was tried."""
        found = self.plan()
        ticket = Ticket(self.state, found.picks, self.now)
        self.now += seconds
        statuses = statuses[: len(found.picks)]
        failed = [(status, retry_after) for status in statuses[:-1]]
        last = statuses[-1]
        ticket.answered(failed, last or None, retry_after, self.now)
        ticket.end(self.now, whole=last == 200)
        return names(found)[: len(statuses)]

    def health(self, name: str, model: str = "m"):
        return self.state.health(f"{name}/{model}")


def names(found: Plan) -> list[str]:
    return [pick.candidate.target.spec.cluster for pick in found.picks]
