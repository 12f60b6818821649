"""A realtime session: the provider's frames pass as they come, and are read along for usage.

What the client says does not come here. A session is over when either side leaves, when its
time is up, or when its key or its money no longer holds; then the client is told in an
event, as the API's own errors are, and in the closing frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

from extproc.errors import (
    BadUpstreamAnswer,
    BudgetReached,
    ClientError,
    Forbidden,
    GatewayError,
)
from extproc.exchange import events
from extproc.exchange.commands import AnswerBody, AnswerHeaders, Command
from extproc.exchange.forward import only_writes
from extproc.exchange.request import Step
from extproc.exchange.response import DONE, HEADERS, STREAMING, ResponseHalf, State
from extproc.formats.openai_realtime import (
    WRITTEN,
    ServerEvent,
    read_event,
    write_error,
)
from extproc.framing.websocket import MessageReader, close_frame, text_frame
from extproc.usage import Usage, believed

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

    def __init__(self, model: str, *, writes: bool = False) -> None:
        """Begin a session of `model`; one that `writes` is of transcriptions alone."""
        self._frames = MessageReader()
        self._model = model
        self._writer = model if writes else ""
        self._writes = writes
        self.usage: Usage | None = None
        """Of all that `model` has done so far."""
        self.beside: list[tuple[str, Usage]] = []
        """What other models have transcribed since somebody took it away."""
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
            if event is not None:
                self._note(event)
        return data

    def _note(self, event: ServerEvent) -> None:
        if event.type == "response.created":
            self.answering += 1
        elif event.type == "response.done":
            self.answering = max(self.answering - 1, 0)
            self._add(self._model, event.usage)
        elif event.type == WRITTEN:
            self._add(self._writer, event.transcribed)
        elif event.writer is not None:
            self._take(event)

    def _add(self, model: str, usage: Usage | None) -> None:
        usage = believed(usage)
        if usage is None:
            return
        if model == self._model:
            self.usage = usage if self.usage is None else self.usage + usage
        else:
            self.beside.append((model, usage))

    def _take(self, event: ServerEvent) -> None:
        writer = event.writer or ""
        if not self._writes:
            self._writer = writer
        elif writer != self._model and event.type.endswith("updated"):
            raise Forbidden(
                f"This session was opened for {self._model!r}: another model has to be "
                "asked for by another session.",
                code="model_not_found",
                param="session.audio.input.transcription.model",
            )

    def close(self) -> bytes:
        """Return nothing: a session may end at any time."""
        return b""

    def fail(self, error: GatewayError) -> bytes:
        """Return the frames that end the session, where some can stand."""
        if self._frames.closed or not self._frames.between_frames:
            return b""
        code = POLICY if isinstance(error, ClientError) else TRY_LATER
        closing = close_frame(code, error.message)
        if not self._frames.between_messages:
            return closing
        return text_frame(write_error(error)) + closing


class SessionHalf(ResponseHalf):
    """Reads what the provider says in a session, once there is one."""

    @property
    def talking(self) -> bool:
        """Whether the session has begun."""
        return self.state is STREAMING

    def _on_headers(self, event: events.ResponseHeaders) -> list[Command]:
        if event.status != 101:
            return super()._on_headers(event)
        self._note_headers(event)
        path = self.leg.attempt.heading.path
        self._stream = Conversation(self.leg.model, writes=only_writes(path))
        self.state = STREAMING
        # None was offered: a client that is told of one would wait for what it means.
        return [
            AnswerHeaders(
                set_headers=self._report(), delete_headers=("sec-websocket-extensions",)
            )
        ]

    def _begin_stream(self, *, end: bool) -> list[Command]:  # noqa: ARG002
        raise BadUpstreamAnswer("The provider answers with a stream of another kind.")

    def _on_frames(self, event: events.ResponseBody) -> list[Command]:
        self._tally.answer_bytes += len(event.data)
        talk, account = cast("Conversation", self._stream), self._account
        before = talk.usage
        said = AnswerBody(talk.feed(event.data), end=event.end)
        beside, talk.beside = talk.beside, []
        for model, used in beside:
            account.note_beside(self.leg, model, used)
        if event.end:
            self.abandon()
            self.state = DONE
        elif account.cut:
            raise spent()
        elif beside or talk.usage is not before:
            more = account.charge(self.leg, talk.usage)
            return [said] if more is None else [said, more]
        return [said]

    def abandon(self) -> None:
        """Note what was said until somebody left."""
        super().abandon()
        if self.talking:
            talk = cast("Conversation", self._stream)
            self._tally.estimated = talk.answering > 0

    STEPS: ClassVar[Mapping[tuple[State, type], Step]] = {
        **ResponseHalf.STEPS,
        (HEADERS, events.ResponseHeaders): _on_headers,
        (STREAMING, events.ResponseBody): _on_frames,
    }


def spent() -> BudgetReached:
    """Return what a session ends with that has no money left."""
    return BudgetReached("A budget of this API key has run out: the session is over.")
