"""A realtime session: the provider's frames pass as they come, and are read along for usage.

What the client says does not come here. A session is over when either side leaves, when its
time is up, or when its key or its money no longer holds; then the client is told in an
event, as the API's own errors are, and in the closing frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from extproc.errors import BudgetReached, ClientError, GatewayError
from extproc.exchange import events
from extproc.exchange.commands import AnswerBody, AnswerHeaders, Command
from extproc.exchange.request import Step
from extproc.exchange.response import ResponseHalf, State
from extproc.formats.openai_realtime import read_event, write_error
from extproc.framing.websocket import MessageReader, close_frame, text_frame
from extproc.usage import Usage

POLICY, TRY_LATER = 1008, 1013
"""Closing codes: the client is at fault, or nobody is
(https://www.iana.org/assignments/websocket/websocket.xhtml)."""

CHECK_SECONDS = 1.0
"""How often it is asked whether a session may go on."""


class Conversation:
    """What the provider says; has the face of a `Stream`."""

    error: GatewayError | None = None
    failure: GatewayError | None = None
    over = False
    model: str | None = None
    unsaid: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._frames = MessageReader()
        self.usage: Usage | None = None
        """Of all answers so far."""
        self.answering = 0
        """Answers that have begun and not ended."""

    @property
    def produced(self) -> int:
        """Output tokens so far."""
        return 0 if self.usage is None else self.usage.output_tokens

    def feed(self, data: bytes) -> bytes:
        """Return `data`."""
        for message in self._frames.feed(data):
            event = read_event(message)
            if event is None:
                continue
            if event.type == "response.created":
                self.answering += 1
                continue
            self.answering = max(self.answering - 1, 0)
            if event.usage is not None:
                self.usage = _sum(self.usage, event.usage)
        return data

    def close(self) -> bytes:
        """Return nothing: a session may end at any time."""
        return b""

    def fail(self, error: GatewayError) -> bytes:
        """Return the frames that end the session, where some can stand."""
        if self._frames.closed or not self._frames.between_frames:
            return b""
        code = POLICY if isinstance(error, ClientError) else TRY_LATER
        return text_frame(write_error(error)) + close_frame(code, error.message)


class SessionHalf(ResponseHalf):
    """Reads what the provider says in a session, once there is one."""

    _stream: Conversation

    @property
    def talking(self) -> bool:
        """Whether the session has begun."""
        return self.state is State.STREAMING

    def _on_headers(self, event: events.ResponseHeaders) -> list[Command]:
        if event.status != 101:
            return super()._on_headers(event)
        self._note_headers(event)
        self._stream = Conversation()
        self.state = State.STREAMING
        return [AnswerHeaders(set_headers=self._report())]

    def _on_frames(self, event: events.ResponseBody) -> list[Command]:
        self._tally.answer_bytes += len(event.data)
        talk, account = self._stream, self._account
        before = talk.usage
        said = AnswerBody(talk.feed(event.data), end=event.end)
        if event.end:
            self.abandon()
            self.state = State.DONE
        elif account.cut:
            raise spent()
        elif talk.usage is not before:
            more = account.charge(self.leg, talk.usage)
            return [said] if more is None else [said, more]
        return [said]

    def abandon(self) -> None:
        """Note what was said until somebody left."""
        super().abandon()
        if self.talking:
            self._tally.estimated = self._stream.answering > 0

    STEPS: ClassVar[Mapping[tuple[State, type], Step]] = {
        **ResponseHalf.STEPS,
        (State.HEADERS, events.ResponseHeaders): _on_headers,
        (State.STREAMING, events.ResponseBody): _on_frames,
    }


def spent() -> BudgetReached:
    """Return what a session ends with that has no money left."""
    return BudgetReached("A budget of this API key has run out: the session is over.")


def _sum(one: Usage | None, other: Usage) -> Usage:
    if one is None:
        return other
    names = Usage.__struct_fields__
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in names})
