"""One exchange's dealings with routing: a place, a chain, and what came of it."""

from __future__ import annotations

import msgspec

from extproc.errors import GatewayError, Overloaded, UpstreamError
from extproc.exchange.events import ResponseHeaders
from extproc.exchange.render import Asked, Leg
from extproc.formats.base import CHAT
from extproc.identity import Grant
from extproc.routing.demand import Demand
from extproc.routing.plan import Plan, plan
from extproc.routing.retry import deadline
from extproc.routing.state import RoutingState
from extproc.routing.ticket import Failures, Ticket
from extproc.runtime import Runtime, VirtualModel
from extproc.usage import Usage

LUA = "lua_response"
"""Envoy's word for an answer of our own upstream Lua: the attempt was not made, for it is
only for prompts that the one before it refused."""


LIKELY = 0.1
"""Part of requests that fail at all targets before one, from where on its limits are held
for each of them."""


class Dispatch(msgspec.Struct, eq=False):
    """Between an exchange and the routing state of its worker."""

    _runtime: Runtime
    _state: RoutingState
    now: float
    """Seconds; set before each event."""
    _epoch: float
    """What is to be added to such a time for Unix seconds."""
    plan: Plan | None = None
    """What was decided, once it was."""
    _ticket: Ticket | None = None
    _answered: bool = False

    def enter(self, grant: Grant) -> None:
        """Take one of the worker's places.

        Raises:
            Overloaded: there is none for a request of this priority.
        """
        if not self._state.has_room(grant.priority):
            raise Overloaded("The gateway is overloaded; try again.", retry_after="1")
        self._state.open.add(self)

    def choose(self, asked: Asked, model: VirtualModel, grant: Grant) -> Plan:
        """Decide who is asked, in which order.

        Raises:
            GatewayError: nobody can be.
        """
        chat = asked.operation.format.operation == CHAT
        demand = Demand(
            asked.members, asked.headers, grant, len(asked.body), asked.stream, chat
        )
        chosen = self.plan = plan(
            self._runtime,
            model,
            asked.model,
            demand=demand,
            state=self._state,
            now=self.now,
        )
        return chosen

    def likely(self, legs: tuple[Leg, ...]) -> int:
        """Return how many attempts after the first will be made, as things are."""
        numbers, found, chance = self._state.numbers, 0, 1.0
        for before in legs[:-1]:
            if before.pick is None:
                break
            chance *= before.pick.candidate.health.failing(self.now, numbers)
            if chance < LIKELY:
                break
            found += 1
        return found

    def send(self, legs: tuple[Leg, ...]) -> None:
        """Note that these attempts may now be made."""
        first = legs[0].pick
        if first is None:
            return  # what is found by an id has no choice of deployments
        picks = [first]
        if len(legs) > 1:
            picks += [leg.pick for leg in legs[1:] if leg.pick is not None]
        self._ticket = Ticket(self._state, picks, self.now)

    def patience(self, legs: tuple[Leg, ...], first_byte: float | None) -> float:
        """Return the seconds until the answer's headers must be here.

        `first_byte` is `longest_first_byte` of `legs`.
        """
        limits = self._runtime.limits
        # Nobody here sees how far a body is that passes unseen, as do all without a model.
        unseen = legs[0].unread or not legs[0].model
        upload = limits.upload_seconds if unseen else 0.0
        if first_byte is None:
            return upload + limits.first_byte_seconds
        return upload + deadline(len(legs), first_byte)

    def answered(self, event: ResponseHeaders) -> None:
        """Note what became of the attempts."""
        if self._ticket is None:
            return
        failed: Failures = ()
        began = None
        if event.failed:
            failed = [(one.status, one.retry_after) for one in event.failed]
            at = event.attempts_at[-1] if event.attempts_at else 0.0
            began = at - self._epoch if at else None
        status: int | None = event.status
        retry_after = event.retry_after or event.headers.get("retry-after")
        if event.details != "via_upstream":
            status = retry_after = None
            if event.details == LUA and failed:
                *failed, (said, retry_after) = failed
                status = said or None
        now = self.now
        self._answered = status is not None and status < 400
        self._ticket.answered(
            failed, status, retry_after, now, wall=now + self._epoch, began=began
        )

    def times(self, leg: Leg, event: ResponseHeaders) -> tuple[float, float]:
        """Return how long `leg`'s answer may be silent, in seconds, and when it must end."""
        limits, own = self._runtime.limits, leg.target.spec.placement
        idle = limits.idle_seconds if own.idle is None else own.idle
        total = limits.total_seconds if own.total is None else own.total
        began = now = self.now
        if event.attempts_at:
            at = event.attempts_at[-1] - self._epoch
            # Another machine's clock, or none that was read: then it begins now.
            began = at if now - total < at < now else now
        return idle, began + total

    def first_byte(self) -> None:
        """Note the first byte of an answer's body."""
        if self._ticket is not None and self._answered:
            self._ticket.first_byte(self.now)

    def end(
        self, *, error: GatewayError | None, usage: Usage | None, whole: bool
    ) -> None:
        """Give the place back; `whole` is whether an unstreamed answer came."""
        self._state.open.discard(self)
        ticket, self._ticket = self._ticket, None
        if ticket is None:
            return
        if error is not None and self._answered and isinstance(error, UpstreamError):
            ticket.broke(self.now)
        tokens = usage.input_tokens + usage.output_tokens if usage is not None else 0
        ticket.end(self.now, tokens=tokens, whole=whole and self._answered)


def longest_first_byte(legs: tuple[Leg, ...], default: float) -> float | None:
    """Return the longest that a target of the chain may take; None: all the `default`.

    Envoy has one time for all attempts of a request.
    """
    if len(legs) == 1:
        return legs[0].target.spec.placement.first_byte
    times = [leg.target.spec.placement.first_byte for leg in legs]
    if times.count(None) == len(times):
        return None
    return max(default if time is None else time for time in times)
