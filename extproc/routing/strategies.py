"""In which order the able targets of one tier are asked; each is a sentence in the docs.

A strategy gets candidates in the order of the configuration and returns all of them, the
first attempt's first. ``priority`` is not here: its targets are tiers of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from extproc.deployment import Strategy
from extproc.pricing import PriceTable, cost as cost_of
from extproc.routing.affinity import distance
from extproc.routing.demand import USUAL_OUTPUT, Demand
from extproc.routing.health import Health
from extproc.routing.state import RoutingState
from extproc.target import Lane, Target
from extproc.usage import Usage


class Candidate(msgspec.Struct, frozen=True):
    """A target that may be asked, with what is known of its deployment."""

    target: Target
    health: Health
    lane: Lane
    """With the request model."""

    @property
    def slot(self) -> str:
        """Its name in the turn of its model: as many as the configuration has."""
        return f"{self.target.spec.cluster}/{self.target.spec.model}"


class Turn(msgspec.Struct, frozen=True):
    """What a choice is made for."""

    demand: Demand
    state: RoutingState
    now: float
    prices: PriceTable
    behind: str = ""
    """The virtual model that this choice is a fallback of; empty: it is none. Fallbacks
    take turns of their own: what is hardly ever asked may not take those of who asks."""
    credits: dict[str, int] = {}

    def of(self, model: str, tier: int) -> Turn:
        """Return it with the credits of one tier of a virtual model."""
        account = self.state.credits.setdefault((self.behind, model, tier), {})
        return msgspec.structs.replace(self, credits=account)


Candidates = Sequence[Candidate]
Order = Callable[[Candidates, Turn], list[Candidate]]


def in_turn(candidates: Candidates, turn: Turn) -> list[Candidate]:
    """Every target in turn."""
    return smooth(candidates, turn, lambda _: 1)


def weighted(candidates: Candidates, turn: Turn) -> list[Candidate]:
    """Every target in turn, as often as its weight says."""
    return smooth(candidates, turn, _weight)


def shuffle(candidates: Candidates, turn: Turn) -> list[Candidate]:
    """At random, by weight."""
    # Efraimidis and Spirakis: the order in which a weighted draw takes them all.
    draws = [
        (-math.log(1 - turn.state.chance.random()) / _weight(candidate), i)
        for i, candidate in enumerate(candidates)
    ]
    return [candidates[i] for _, i in sorted(draws)]


def least_busy(candidates: Candidates, turn: Turn) -> list[Candidate]:
    """The one with the fewest requests in flight."""
    return lowest(candidates, turn, lambda candidate: candidate.health.load)


def latency(candidates: Candidates, turn: Turn) -> list[Candidate]:
    """The fastest; one that nobody has measured lately is tried by one request."""
    now, stream = turn.now, turn.demand.stream

    def seconds(candidate: Candidate) -> float:
        measured = candidate.health.time(now, stream=stream)
        if measured is not None:
            return measured
        return -1.0 if not candidate.health.load else math.inf

    return lowest(candidates, turn, seconds)


def usage(candidates: Candidates, turn: Turn) -> list[Candidate]:
    """The one that has used the least of its limits."""

    def used(candidate: Candidate) -> float:
        place = candidate.target.spec.placement
        return candidate.health.share(
            turn.now, place.requests_per_minute, place.tokens_per_minute
        )

    return lowest(candidates, turn, used)


def cost(candidates: Candidates, turn: Turn) -> list[Candidate]:
    """The one that is cheapest for this request; of unknown price, last."""

    def dollars(candidate: Candidate) -> float:
        nanos = likely_cost(candidate, turn.demand, turn.prices)
        return math.inf if nanos is None else nanos

    return lowest(candidates, turn, dollars)


def affinity(candidates: Candidates, turn: Turn) -> list[Candidate]:
    """The one that had the conversation's last request, as long as it may be asked."""
    session = turn.demand.session
    return sorted(candidates, key=lambda one: distance(session, one.slot, _weight(one)))


def adaptive(candidates: Candidates, turn: Turn) -> list[Candidate]:
    """Every target in turn, as often as its weight times its health score says."""
    numbers = turn.state.numbers

    def worth(candidate: Candidate) -> int:
        score = candidate.health.score(turn.now, numbers)
        return _weight(candidate) * max(1, score)

    return smooth(candidates, turn, worth)


ORDERS: Mapping[Strategy, Order] = {
    "priority": in_turn,
    "round_robin": in_turn,
    "weighted": weighted,
    "shuffle": shuffle,
    "least_busy": least_busy,
    "latency": latency,
    "usage": usage,
    "cost": cost,
    "affinity": affinity,
    "adaptive": adaptive,
}


def likely_cost(candidate: Candidate, demand: Demand, prices: PriceTable) -> int | None:
    """Return the nano-dollars that the request is likely to cost there, if known."""
    spec = candidate.target.spec
    price = prices.find(spec.provider, spec.type, candidate.lane.model)
    if price is None:
        return None
    output = USUAL_OUTPUT if demand.output_tokens is None else demand.output_tokens
    return cost_of(price, Usage(input_tokens=demand.input_tokens, output_tokens=output))


def lowest(
    candidates: Candidates, turn: Turn, value: Callable[[Candidate], float]
) -> list[Candidate]:
    """Order by `value`; those that share the lowest take turns."""
    values = [value(candidate) for candidate in candidates]
    least = min(values)
    tied = [one for one, its in zip(candidates, values, strict=True) if its == least]
    rest = sorted(
        (i for i, its in enumerate(values) if its != least), key=lambda i: values[i]
    )
    first = weighted(tied, turn) if len(tied) > 1 else tied
    return [*first, *(candidates[i] for i in rest)]


def smooth(
    candidates: Candidates, turn: Turn, weight: Callable[[Candidate], int]
) -> list[Candidate]:
    """Take turns by weight, spread evenly: never ``AAABB`` where ``ABABA`` will do.

    Everybody is credited their weight, the one with the most credit is taken and pays
    what all were credited. The sum of all credit stays 0, so that after each round of
    the weights everybody was taken exactly as often as their weight says.
    """
    if len(candidates) == 1:
        return list(candidates)
    account, total = turn.credits, 0
    for candidate in candidates:
        gained = weight(candidate)
        total += gained
        account[candidate.slot] = account.get(candidate.slot, 0) + gained
    # Sorting is stable: of equals the first of the configuration comes first.
    order = sorted(candidates, key=lambda one: -account[one.slot])
    account[order[0].slot] -= total
    return order


def _weight(candidate: Candidate) -> int:
    return candidate.target.spec.placement.weight
