"""One ext_proc stream: messages in, messages out, whichever edge carries them."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from extproc.exchange import events
from extproc.exchange.commands import (
    Command,
    Complete,
    Leave,
    Reserve,
    Route,
    Settle,
    TopUp,
)
from extproc.exchange.completion import Completion
from extproc.exchange.content import Content
from extproc.exchange.events import RequestBody, ResponseBody
from extproc.exchange.exchange import Exchange
from extproc.policy.claims import Verdict
from extproc.routing.state import RoutingState
from extproc.runtime import Runtime
from extproc.server.bodies import Bodies, Room
from extproc.server.codec import (
    WRITERS,
    decode,
    decode_last,
    encode,
    write_piece,
)
from extproc.server.notes import Notes, Sent
from extproc.server.pieces import read_piece
from extproc.server.till import Till


class Office(msgspec.Struct):
    """What all calls of one worker share; the runtime in it is swapped whole."""

    runtime: Runtime
    new_id: Callable[[], str]
    wall_clock: Callable[[], float]
    """Unix seconds."""
    record: Callable[[Completion], None]
    routing: RoutingState
    """Survives every change of the runtime."""
    till: Till
    """As `routing`."""
    keep: Callable[[Content], None] = lambda _: None
    """Takes what was said, where that is kept, before the record of it."""
    notes: Notes = msgspec.field(default_factory=Notes)
    bodies: Bodies = msgspec.field(default_factory=Bodies)
    """As `routing`."""

    def current(self) -> Runtime:
        """Return what exchanges begin with now."""
        return self.runtime


HEAVY_BYTES = 256 * 1024
"""From here on a body is read in a thread. Up to here reading takes some 5 ms even where
it is all small parts of a translated request; 32 MiB of them take seconds, and a loop that
does not answer Envoy's PINGs for two seconds loses all its streams."""


LIGHT_BYTES = HEAVY_BYTES // 100
"""Nobody has to ask how much there is to read in a piece up to here, where no more than that
is held already: what is compressed is taken to become at most a hundred times as long.
Nor is a body counted before it is longer: ten thousand such are 26 MB."""


Worked = tuple[list[Command], list[bytes]] | events.Admitted | events.Denied
"""What an event led to, and the messages that say it; or the verdict that was awaited."""


class Call:
    """Drives one `Exchange`; an edge feeds it and sends what it returns.

    What would hold the loop for long, or has to be awaited, is left in `work`: the edge
    waits for what `begin` returns and comes back with `resume`. What happens in the
    meantime waits its turn.
    """

    __slots__ = (
        "_exchange", "_more", "_office", "_room", "_waiting", "finished", "parting", "work",
    )  # fmt: skip

    def __init__(self, office: Office) -> None:
        self._office = office
        self._exchange: Exchange | None = None
        self._waiting: list[events.Event] = []
        self._room: Room | None = None
        """What it holds of its request's body, or of an answer that has to be whole."""
        self.parting = False
        """Whether it holds much until the edge has sent what it said; then `part`, also
        behind `close`."""
        self._more: asyncio.Future[bool] | None = None
        """What will say whether more money is reserved; looked at when more comes."""
        self.finished = False
        """Nothing more will be said: end the stream with OK."""
        self.work: Callable[[], Worked] | asyncio.Future[Verdict] | None = None
        """To be waited for; see `begin`."""

    @property
    def deadline(self) -> float:
        """When `expire` is due, by the edge's clock."""
        if self._exchange is None:
            return math.inf
        deadline, room = self._exchange.deadline, self._room
        if room is None:
            return deadline
        if room.turn is not None:
            return min(deadline, room.until)
        collects = self._exchange.takes is RequestBody
        if collects and room.large and self._office.bodies.waiting:
            return room.due(self._exchange.held, deadline)
        return deadline

    @property
    def turn(self) -> asyncio.Future[None] | None:
        """Done when the edge may take more of the body; None: it may."""
        return None if self._room is None else self._room.turn

    @property
    def known_as(self) -> dict[str, str | None]:
        """By what a log line says which request it is about."""
        if self._exchange is None:
            return {}
        tally = self._exchange.tally
        return {"gw_id": tally.id, "request_id": tally.request_id}

    def hear(self, messages: Sequence[bytes], now: float, replies: list[bytes]) -> None:
        """Take messages that came together, in order; add to `replies` what to send.

        Of most requests, and of most answers that are no streams, that is all there is:
        headers, a body, and its end.
        """
        last = decode_last(messages)
        for message in messages if last is None else messages[:-2]:
            replies += self.receive(message, now)
            if self.finished:
                return
        if last is not None:
            replies += self._deliver(self._exchange or self._open(now), last, now)

    def receive(self, message: bytes, now: float) -> list[bytes]:
        """Return the messages to send for one that came, in order."""
        exchange = self._exchange
        if exchange is None:
            exchange = self._open(now)
        elif (kind := exchange.takes) is not None and self.work is None:
            # Most messages of a stream: bytes that are only passed on, or kept.
            piece = read_piece(message, kind)
            if piece is not None:
                said = exchange.take(piece, now)
                if isinstance(said, bytes):
                    return [write_piece(said)]
                messages = self._carry_out(said, now) if said else []
                if self._room or exchange.held > LIGHT_BYTES:
                    messages += self._hold(exchange, now)
                return messages
        return self._deliver(exchange, decode(message), now)

    def _open(self, now: float) -> Exchange:
        """Begin the exchange that the call is about."""
        office = self._office
        # Held for the life of the exchange: a reload never changes one under way.
        exchange = self._exchange = Exchange(
            office.runtime,
            id=office.new_id(),
            started=office.wall_clock(),
            now=now,
            routing=office.routing,
            books=office.till.books,
            current=office.current,
        )
        return exchange

    def begin(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Worked]:
        """Start `work`, or say what it is that is under way."""
        work = self.work
        assert work is not None, "there is nothing to wait for"  # noqa: S101  for mypy
        if isinstance(work, asyncio.Future):
            return cast("asyncio.Future[Worked]", work)
        return loop.run_in_executor(None, work)

    def resume(self, worked: Worked, now: float) -> list[bytes]:
        """Take what `work` came to; return the messages to send."""
        self.work = None
        waiting, self._waiting = self._waiting, []
        if isinstance(worked, tuple):
            commands, messages = worked
            messages += self._carry_out(commands, now, written=True)
        elif any(type(event) is events.Closed for event in waiting):
            messages = []  # nobody is there to be told, and nothing has been sent
        else:
            messages = self._deliver(self._exchange, worked, now)
        for event in waiting:
            messages += self._deliver(self._exchange, event, now)
        if self._room is not None and self.work is None:
            messages += self._hold(self._exchange, now)
        return messages

    def expire(self, now: float) -> list[bytes]:
        """Return the messages to send because the deadline has passed."""
        crowded = self.turn is not None
        return self._deliver(self._exchange, events.Expired(crowded), now)

    def part(self) -> None:
        """Hold nothing any more of what has been sent."""
        self.parting = False
        if self._room is not None:
            self._office.bodies.leave(self._room)
            self._room = None

    def close(self, now: float, *, clean: bool) -> None:  # noqa: ARG002
        """Say that the stream is over; `clean` is whether Envoy ended it properly.

        Envoy half-closes as soon as it has nothing more to send, also when the client has
        left: only the exchange knows whether it had come to its end.
        """
        if not self.finished:
            self._deliver(self._exchange, events.Closed(), now)
        if self.work is None and not (self.finished and self.parting):
            self.part()

    def _deliver(
        self, exchange: Exchange | None, event: events.Event, now: float
    ) -> list[bytes]:
        if exchange is None:
            return []
        if self.work is not None:
            self._waiting.append(event)
            return []
        if self._more is not None and self._more.done():
            granted, self._more = self._more.result(), None
            exchange.receive(events.ToppedUp(granted), now)
        grows = False
        if type(event) is ResponseBody or type(event) is RequestBody:
            grows = True
            much = self._room or len(event.data) > LIGHT_BYTES
            if much and exchange.weight(event) > HEAVY_BYTES:
                self.work = functools.partial(_work, exchange, event, now)
                return []
        commands = exchange.receive(event, now)
        messages = self._carry_out(commands, now) if commands else []
        if self._room or (grows and exchange.held > LIGHT_BYTES):
            messages += self._hold(exchange, now)
        return messages

    def _hold(self, exchange: Exchange | None, now: float) -> list[bytes]:
        """Count what is held now; return what to say if that is too much."""
        if self.parting:
            return []  # what is on its way is still what it holds
        held = 0 if exchange is None else exchange.held
        room = self._room
        if not held or exchange is None:
            if room is not None:
                self.parting = room.large and room.turn is None
                if not self.parting:
                    self.part()
            return []
        if room is None:
            room = self._room = Room()
        waits = room.turn is not None
        if not self._office.bodies.hold(room, held, lambda: exchange.announced):
            return self._deliver(exchange, events.Expired(crowded=True), now)
        if room.turn is not None and not waits:
            # Half of what it has to arrive: Envoy, or we, would say that it came too late.
            most = exchange.runtime.limits.request_seconds
            room.until = now + min(most, exchange.deadline - now) / 2
        return []

    def _carry_out(
        self, commands: list[Command], now: float, *, written: bool = False
    ) -> list[bytes]:
        """Do what is asked; return what is to be sent, the till's verdict included.

        What is `written` already is not returned again.
        """
        messages: list[bytes] = []
        for command in commands:
            write = WRITERS.get(type(command))
            if write is None:
                self._do(command)
                continue
            if not written:
                messages += write(command)
            if type(command) is Route:
                self._note_sent(command)
        if commands and type(commands[-1]) is Reserve:
            messages += self._reserved(commands[-1], now)
        return messages

    def _do(self, command: Command) -> None:
        """Do what is not for Envoy; what the till is asked is up to `_carry_out`."""
        if type(command) is Leave:
            self.finished = True
        elif type(command) is Complete:
            if command.content is not None:
                self._office.keep(command.content)
            self._office.record(command.completion)
            if command.settlement is not None:
                self._office.till.settle(command.settlement)
            for settlement in command.more:
                self._office.till.settle(settlement)
        elif type(command) is Settle:
            self._office.till.settle(command.settlement)
        elif type(command) is TopUp:
            self._ask_more(command)

    def _note_sent(self, route: Route) -> None:
        if self._exchange is None:
            return
        tally = self._exchange.tally
        self._office.notes.sent(
            Sent(
                route.id, tally.request_id, tally.started, tally.request_bytes,
                route.slip,
            )
        )  # fmt: skip

    def _ask_more(self, command: TopUp) -> None:
        granted = self._office.till.top_up(command.admission, command.nanos)
        if isinstance(granted, asyncio.Future):
            self._more = granted
        elif self._exchange is not None:
            # It says nothing at once: whatever follows, follows at the next message.
            self._exchange.receive(events.ToppedUp(granted), 0.0)

    def _reserved(self, command: Reserve, now: float) -> list[bytes]:
        """Ask the till; return what its verdict leads to, if it has one at once."""
        exchange = self._exchange
        if exchange is None:
            return []
        verdict = self._office.till.admit(command.admission)
        if isinstance(verdict, asyncio.Future):
            self.work = verdict
            return []
        return self._carry_out(exchange.receive(verdict, now), now)


def _work(exchange: Exchange, event: events.Event, now: float) -> Worked:
    """Do in a thread what takes long: reading a large body, and copying it out."""
    commands = exchange.receive(event, now)
    return commands, encode(commands)
