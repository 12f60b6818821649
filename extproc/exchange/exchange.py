"""One exchange: a client request with all its attempts, from first header to record.

Events in, commands out; it reads no clock and does no I/O, so any exchange can be played
again byte for byte. Whatever happens, and in whatever order the ends of it arrive, it
gives exactly one `Complete`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from extproc.errors import (
    BadRequest,
    BadUpstreamAnswer,
    ClientError,
    GatewayError,
    SessionExpired,
    UpstreamError,
    UpstreamTimeout,
)
from extproc.exchange import events
from extproc.exchange.account import Account
from extproc.exchange.arrival import answering
from extproc.exchange.commands import (
    Command,
    Complete,
    Leave,
    Reserve,
    Respond,
    Route,
)
from extproc.exchange.completion import Outcome
from extproc.exchange.dispatch import Dispatch
from extproc.exchange.events import RequestBody, ResponseBody, ResponseHeaders
from extproc.exchange.forecast import Forecast
from extproc.exchange.local_reply import LocalReply
from extproc.exchange.operations import REALTIME
from extproc.exchange.render import Leg
from extproc.exchange.request import JSON, RequestHalf, crowded
from extproc.exchange.response import DONE, ResponseHalf
from extproc.exchange.retry import advice
from extproc.exchange.session import CHECK_SECONDS, SessionHalf, spent
from extproc.exchange.tally import Tally
from extproc.policy.admit import authenticate
from extproc.policy.books import Books
from extproc.routing.plan import Plan
from extproc.routing.state import RoutingState, Still
from extproc.runtime import NOBODY, Runtime


class Exchange:
    """Drives the two halves and closes the books."""

    __slots__ = (
        "_account", "_began", "_current", "_dispatch", "_end", "_idle", "_refused", "_request",
        "_response", "_taker", "_tally", "completed", "deadline", "runtime", "takes",
    )  # fmt: skip

    def __init__(
        self,
        runtime: Runtime,
        *,
        id: str,  # noqa: A002  gw.id
        started: float,
        now: float,
        routing: RoutingState | None = None,
        books: Books | None = None,
        current: Callable[[], Runtime] | None = None,
    ) -> None:
        """Begin; `started` is in Unix seconds, `now` in those of the edge's own clock.

        `current` gives the runtime that exchanges begin with now: what lasts asks it
        whether its key still holds.
        Without `routing`, nothing is known of any deployment and nothing remembered;
        without `books`, nothing of earlier answers.
        """
        self.runtime = runtime
        self._current = current
        tally = self._tally = Tally.begin(id=id, started=started)
        state = routing or RoutingState(Still(), runtime.routing)
        self._dispatch = Dispatch(runtime, state, now, started - now)
        self._account = Account(runtime, tally, books or Books(), Forecast(runtime))
        self._request = RequestHalf(runtime, tally, self._dispatch, self._account)
        self._response: ResponseHalf | LocalReply | None = None
        self._refused: GatewayError | None = None
        self._began = now
        limits = runtime.limits
        self._idle = limits.idle_seconds
        self._end = math.inf
        self.completed = False
        self._taker: ResponseHalf | None = None
        """Where such a piece goes; None: to the request half."""
        self.takes: type[events.RequestBody | events.ResponseBody] | None = None
        """Of which body a piece, unless it is the last, may be given to `take`."""
        self.deadline = now + limits.request_seconds
        """When `events.Expired` is due, by the edge's clock."""

    @property
    def tally(self) -> Tally:
        """What is known of it so far."""
        return self._tally

    @property
    def plan(self) -> Plan | None:
        """What routing decided, once it has."""
        return self._dispatch.plan

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The attempts, once they are rendered."""
        return self._request.legs

    @property
    def held(self) -> int:
        """How many bytes are held of the request, or of an answer that has to be whole."""
        if self.completed:
            return 0
        half = self._response
        return self._request.held if half is None else half.held

    @property
    def announced(self) -> int:
        """How many bytes what is held may come to."""
        half = self._response
        return (half if isinstance(half, ResponseHalf) else self._request).announced

    def weight(self, event: events.RequestBody | events.ResponseBody) -> int:
        """Return how many bytes `receive` will have to read for this event, about."""
        if self.completed:
            return 0
        half = self._response or self._request
        return half.weight(event)

    def receive(self, event: events.Event, now: float) -> list[Command]:
        """Return what `event` leads to; after the end, nothing."""
        if self.completed:
            return []
        if type(event) in _OF_NEITHER_HALF:
            return self._note(event, now)
        self._dispatch.now = now
        try:
            if type(event) is ResponseHeaders:
                return self._begin(event, now)
            half = self._response
            if half is None:
                return self._ask(event, now)
            return self._hear_of(half, event, now)
        except (GatewayError, RecursionError) as error:
            return self._stumbled(error, now)

    def _note(self, event: events.Event, now: float) -> list[Command]:
        if isinstance(event, events.ToppedUp):
            self._account.topped_up(event)
            return []
        # Envoy had the last word before we did: the client left, or a reset.
        self._dispatch.now = now
        return [self._complete(self._left(), now)]

    def take(self, data: bytes, now: float) -> bytes | list[Command]:
        """Take a piece of the body that `takes` names: `receive`, for what most events are.

        Returns:
            The client's bytes; or whatever else the piece leads to, in most cases nothing.
        """
        half = self._taker
        try:
            if half is None:
                return self._request.take(data)
            self._hear(now)
            said = half.take(data)
        except (GatewayError, RecursionError) as error:
            self._dispatch.now = now
            return self._stumbled(error, now)
        if half.state is DONE and isinstance(said, list):
            said += self._ended(now)
        return said

    def _hear(self, now: float) -> None:
        """Note that a piece of the answer has come."""
        self._dispatch.now = now
        if self._idle:
            due = now + self._idle
            self.deadline = due if due < self._end else self._end  # noqa: FURB136  no call
        tally = self._tally
        tally.chunks += 1
        if tally.first_byte is None:
            tally.first_byte = now - self._began
            if tally.streamed:
                self._dispatch.first_byte()

    def _stumbled(
        self, error: GatewayError | RecursionError, now: float
    ) -> list[Command]:
        if isinstance(error, RecursionError):
            # Of msgspec and of ours: a thousand lists in lists, for which no API has a use.
            return self._fail(self._too_deep(), now)
        return self._look(error) or self._fail(error, now)

    def _look(self, error: GatewayError) -> list[Command]:
        """Ask where the limits stand, if `error` is ours and they are not known yet."""
        grant = self._request.grant
        if self._response is not None or grant is NOBODY:
            return []
        admission = self._account.look(grant)
        if admission is None:
            return []
        self._refused, self.takes = error, None
        return [Reserve(admission)]

    def _refuse(
        self, error: GatewayError, event: events.Event, now: float
    ) -> list[Command]:
        """Tell `error` when it is known where the limits stand, or will not be."""
        if isinstance(event, (events.Admitted, events.Denied)):
            form = self._request.operation.format
            self._account.looked(event, anthropic=form.name == "anthropic")
        elif type(event) is not events.Expired:
            return []
        return self._fail(error, now)

    def _too_deep(self) -> GatewayError:
        if self._response is not None:
            return BadUpstreamAnswer("The provider's JSON is nested too deeply.")
        return BadRequest(
            "The request's JSON is nested too deeply.", code="invalid_json"
        )

    def _hear_of(
        self, half: ResponseHalf | LocalReply, event: events.Event, now: float
    ) -> list[Command]:
        """Go on with the answer."""
        if type(event) is ResponseBody:
            self._hear(now)
        elif type(event) is events.Expired:
            return self._expired(half, event, now)
        else:
            if self._idle:
                self.deadline = min(now + self._idle, self._end)
            if type(event) in _OF_THE_REQUEST:
                return self._request.receive(event)
        commands = half.receive(event)
        if half.state is DONE:
            commands += self._ended(now)
        return commands

    def _begin(self, event: events.ResponseHeaders, now: float) -> list[Command]:
        """Take an answer's headers."""
        half = self._response
        if half is None:
            half = self._response = LocalReply(event, self._tally)
        self._dispatch.answered(event)
        if type(half) is LocalReply:
            commands = half.receive(event)
        else:
            legs = self._request.legs
            leg = half.leg = answering(legs, event.attempts)
            self._measure(leg, event, now)
            commands = half.receive(event)
            commands += self._account.answered(legs, leg)
            if self._idle and half.plain:
                self.takes, self._taker = events.ResponseBody, half
        if half.state is DONE:
            commands += self._ended(now)
        return commands

    def _measure(self, leg: Leg, event: events.ResponseHeaders, now: float) -> None:
        """Note how long the answer of `leg` may take."""
        if event.status == 101 and self._request.operation.kind is REALTIME:
            self._idle, self._end = 0.0, now + self.runtime.limits.session_seconds
            self.deadline = min(now + CHECK_SECONDS, self._end)
            return
        self._idle, end = self._dispatch.times(leg, event)
        due = now + self._idle
        self._end, self.deadline = end, due if due < end else end  # noqa: FURB136

    def _expired(
        self, half: ResponseHalf | LocalReply, event: events.Expired, now: float
    ) -> list[Command]:
        """End the answer, or see whether a session may go on.

        Raises:
            GatewayError: it is over; the client is told why.
        """
        if event.crowded:
            raise crowded()
        if not (isinstance(half, SessionHalf) and half.talking):
            raise UpstreamTimeout(
                "The provider was silent for too long."
                if now < self._end
                else "The provider's answer took too long."
            )
        if now >= self._end:
            raise SessionExpired("The session has lasted as long as one may.")
        if self._account.cut:
            raise spent()
        at = self._tally.started + now - self._began
        runtime = self.runtime if self._current is None else self._current()
        authenticate(runtime, self._request.headers, at=at)
        self.deadline = min(now + CHECK_SECONDS, self._end)
        return []

    def _left(self) -> Outcome:
        """Note that somebody left; return what that is: the usual end of a session."""
        half = self._response
        talked = isinstance(half, SessionHalf) and half.talking
        if half is not None:
            half.abandon()
        return "ok" if talked else "canceled"

    def _ask(self, event: events.Event, now: float) -> list[Command]:
        """Go on with the request half."""
        if self._refused is not None:
            return self._refuse(self._refused, event, now)
        request = self._request
        commands = request.receive(event)
        if not commands:  # a body that is not whole yet leads to nothing
            self.takes = RequestBody if request.collects else None
            return commands
        self.takes = None
        first = commands[0]
        if type(first) is Route:
            realtime = request.operation.kind is REALTIME
            answer = SessionHalf if realtime else ResponseHalf
            legs, limits = request.legs, self.runtime.limits
            self._response = answer(request, self._tally, limits, self._account)
            patience = self._dispatch.patience(legs, first.first_byte)
            self.deadline = now + patience
        elif type(first) is Respond:
            self._tally.status = first.status
            commands += [Leave(), self._complete("ok", now)]
        return commands

    def _ended(self, now: float) -> list[Command]:
        error = None if self._response is None else self._response.error
        outcome: Outcome = "ok" if error is None else _outcome(error)
        return [Leave(), self._complete(outcome, now, error)]

    def _fail(self, error: GatewayError, now: float) -> list[Command]:
        if self._response is not None:
            return [*self._response.fail(error), *self._ended(now)]
        self._tally.status = error.status
        body = self._request.operation.format.write_error(error)
        told = (*self._account.headers, *advice(error.retry_after))
        return [
            Respond(
                error.status, body, (*JSON, *told), f"gw_{error.code or error.type}"
            ),
            Leave(),
            self._complete(_outcome(error), now, error),
        ]

    def _complete(
        self, outcome: Outcome, now: float, cause: GatewayError | None = None
    ) -> Complete:
        self.completed, self.takes = True, None
        half, account, tally = self._response, self._account, self._tally
        if half is None or type(half) is LocalReply:
            settlement = account.close(None, cause, produced=0)
        else:
            if outcome == "ok":
                account.learn()
            produced = half.produced if tally.estimated else 0
            settlement = account.close(half.leg, cause, produced=produced)
        capture = self._request.capture
        tally.duration = now - self._began
        if outcome != "ok":
            tally.outcome = outcome
        if cause is not None:
            tally.error = cause.code or cause.type
        whole = outcome == "ok" and not tally.streamed
        self._dispatch.end(error=cause, usage=tally.usage, whole=whole)
        self.deadline = math.inf
        return Complete(
            tally,
            settlement,
            None if capture is None else capture.content(tally.id),
            account.rest,
        )


_OF_NEITHER_HALF = frozenset({events.ToppedUp, events.Closed})
_OF_THE_REQUEST = frozenset({events.RequestBody, events.RequestTrailers})
"""What may still come when the provider is being asked already."""


def _outcome(error: GatewayError) -> Outcome:
    match error:
        case ClientError():
            return "client_error"
        case UpstreamError():
            return "upstream_error"
        case _:
            return "gateway_error"
