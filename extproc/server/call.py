"""One ext_proc stream: messages in, messages out, whichever edge carries them."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from extproc.exchange import events
from extproc.exchange.commands import Command, Complete, Leave
from extproc.exchange.completion import Completion
from extproc.exchange.exchange import Exchange
from extproc.runtime import Runtime
from extproc.server.codec import decode, encode


class Office(msgspec.Struct):
    """What all calls of one worker share; the runtime in it is swapped whole."""

    runtime: Runtime
    new_id: Callable[[], str]
    wall_clock: Callable[[], float]
    """Unix seconds."""
    record: Callable[[Completion], None]


class Call:
    """Drives one `Exchange`; an edge feeds it and sends what it returns."""

    __slots__ = ("_exchange", "_office", "finished")

    def __init__(self, office: Office) -> None:
        self._office = office
        self._exchange: Exchange | None = None
        self.finished = False
        """Nothing more will be said: end the stream with OK."""

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
            )
        return self._carry_out(exchange.receive(decode(message), now))

    def expire(self, now: float) -> list[bytes]:
        """Return the messages to send because the deadline has passed."""
        if self._exchange is None:
            return []
        return self._carry_out(self._exchange.receive(events.Expired(), now))

    def close(self, now: float, *, clean: bool) -> None:  # noqa: ARG002
        """Say that the stream is over; `clean` is whether Envoy ended it properly.

        Envoy half-closes as soon as it has nothing more to send, also when the client has
        left: only the exchange knows whether it had come to its end.
        """
        if self._exchange is not None:
            self._carry_out(self._exchange.receive(events.Closed(), now))

    def _carry_out(self, commands: list[Command]) -> list[bytes]:
        for command in commands:
            if type(command) is Leave:
                self.finished = True
            elif type(command) is Complete:
                self._office.record(command.completion)
        return encode(commands)
