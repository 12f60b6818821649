"""One ext_proc stream: messages in, messages out, whichever edge carries them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import msgspec

from extproc.exchange import events
from extproc.exchange.commands import Command, Complete, Leave
from extproc.exchange.completion import Completion
from extproc.exchange.exchange import Exchange
from extproc.routing.state import RoutingState
from extproc.runtime import Runtime
from extproc.server.codec import decode, encode


class Office(msgspec.Struct):
    """What all calls of one worker share; the runtime in it is swapped whole."""

    runtime: Runtime
    new_id: Callable[[], str]
    wall_clock: Callable[[], float]
    """Unix seconds."""
    record: Callable[[Completion], None]
    routing: RoutingState
    """Survives every change of the runtime."""


HEAVY_BYTES = 256 * 1024
"""From here on a body is read in a thread. Up to here reading takes some 5 ms even where
it is all small parts of a translated request; 32 MiB of them take seconds, and a loop that
does not answer Envoy's PINGs for one second loses all its streams."""


Worked = tuple[list[Command], list[bytes]]
"""What an event led to, and the messages that say it."""

_BODIES = (events.RequestBody, events.ResponseBody)


class Call:
    """Drives one `Exchange`; an edge feeds it and sends what it returns.

    What would hold the loop for long is left in `work`: the edge runs it in a thread and
    comes back with `resume`. What happens in the meantime waits its turn.
    """

    __slots__ = ("_exchange", "_office", "_waiting", "finished", "work")

    def __init__(self, office: Office) -> None:
        self._office = office
        self._exchange: Exchange | None = None
        self._waiting: list[events.Event] = []
        self.finished = False
        """Nothing more will be said: end the stream with OK."""
        self.work: Callable[[], Worked] | None = None
        """To be run in a thread, and its result given to `resume`."""

    @property
    def deadline(self) -> float:
        """When `expire` is due, by the edge's clock."""
        return math.inf if self._exchange is None else self._exchange.deadline

    def receive(self, message: bytes, now: float) -> list[bytes]:
        """Return the messages to send for one that came, in order."""
        exchange = self._exchange
        if exchange is None:
            office = self._office
            # Held for the life of the exchange: a reload never changes one under way.
            exchange = self._exchange = Exchange(
                office.runtime,
                id=office.new_id(),
                started=office.wall_clock(),
                now=now,
                routing=office.routing,
            )
        return self._deliver(exchange, decode(message), now)

    def resume(self, worked: Worked, now: float) -> list[bytes]:
        """Take what `work` returned; return the messages to send."""
        self.work = None
        commands, messages = worked
        self._note(commands)
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            messages += self._deliver(self._exchange, event, now)
        return messages

    def expire(self, now: float) -> list[bytes]:
        """Return the messages to send because the deadline has passed."""
        return self._deliver(self._exchange, events.Expired(), now)

    def close(self, now: float, *, clean: bool) -> None:  # noqa: ARG002
        """Say that the stream is over; `clean` is whether Envoy ended it properly.

        Envoy half-closes as soon as it has nothing more to send, also when the client has
        left: only the exchange knows whether it had come to its end.
        """
        self._deliver(self._exchange, events.Closed(), now)

    def _deliver(
        self, exchange: Exchange | None, event: events.Event, now: float
    ) -> list[bytes]:
        if exchange is None:
            return []
        if self.work is not None:
            self._waiting.append(event)
            return []
        if isinstance(event, _BODIES) and exchange.weight(event) > HEAVY_BYTES:
            self.work = functools.partial(_work, exchange, event, now)
            return []
        return self._carry_out(exchange.receive(event, now))

    def _carry_out(self, commands: list[Command]) -> list[bytes]:
        if not commands:
            return []
        self._note(commands)
        return encode(commands)

    def _note(self, commands: list[Command]) -> None:
        for command in commands:
            if type(command) is Leave:
                self.finished = True
            elif type(command) is Complete:
                self._office.record(command.completion)


def _work(exchange: Exchange, event: events.Event, now: float) -> Worked:
    """Do in a thread what takes long: reading a large body, and copying it out."""
    commands = exchange.receive(event, now)
    return commands, encode(commands)
