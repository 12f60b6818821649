"""What a realtime session's server says that has to be read: usage, and how to say an error.

https://platform.openai.com/docs/api-reference/realtime-server-events. Each answer ends in a
``response.done`` with the usage of that answer alone; what a transcription has used stands at
its own end, and is billed at the price of the model that the session has for it.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from extproc import usage as ours
from extproc.errors import GatewayError
from extproc.formats.base import UNREADABLE

WRITTEN: Final = "conversation.item.input_audio_transcription.completed"
READ: Final = {
    "response.created",
    "response.done",
    "session.created",
    "session.updated",
    "transcription_session.created",
    "transcription_session.updated",
    WRITTEN,
}
_MARKS: Final = (
    b'"response.created"', b'"response.done"', b'session.created"', b'session.updated"',
    b'input_audio_transcription.completed"',
)  # fmt: skip
"""In every event of these types, whatever it looks like else; most have none."""


class _Details(msgspec.Struct, frozen=True):
    audio_tokens: int | None = None
    cached_tokens: int | None = None
    cached_tokens_details: _Details | None = None


class _Usage(msgspec.Struct, frozen=True):
    seconds: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _Details | None = None
    output_token_details: _Details | None = None


class _Response(msgspec.Struct, frozen=True):
    usage: _Usage | None = None


class _Transcription(msgspec.Struct, frozen=True):
    model: str | None = None


class _Input(msgspec.Struct, frozen=True):
    transcription: _Transcription | None = None


class _Audio(msgspec.Struct, frozen=True):
    input: _Input | None = None


class _Session(msgspec.Struct, frozen=True):
    audio: _Audio | None = None
    input_audio_transcription: _Transcription | None = None
    """As the beta of the API has it."""


class ServerEvent(msgspec.Struct, frozen=True):
    """The few members that count."""

    type: str = ""
    response: _Response | None = None
    session: _Session | None = None
    used: _Usage | None = msgspec.field(default=None, name="usage")

    @property
    def writer(self) -> str | None:
        """The model that the session has for transcriptions; None: it says none."""
        session = self.session or _Session()
        heard = (session.audio or _Audio()).input or _Input()
        found = heard.transcription or session.input_audio_transcription
        return found.model if found is not None else None

    @property
    def transcribed(self) -> ours.Usage | None:
        """What the transcription that it ends has used; None: it says nothing of that."""
        said = self.used
        if said is None:
            return None
        if said.seconds is not None:
            return ours.Usage(audio_seconds=math.ceil(max(said.seconds, 0)))
        return _counted(said)

    @property
    def usage(self) -> ours.Usage | None:
        """The tokens of the answer that it ends; None: it says nothing of them."""
        said = self.response.usage if self.response is not None else None
        return None if said is None else _counted(said)


def _counted(said: _Usage) -> ours.Usage | None:
    if said.input_tokens is None and said.output_tokens is None:
        return None
    heard = said.input_token_details or _Details()
    spoken = said.output_token_details or _Details()
    cached = heard.cached_tokens_details or _Details()
    return ours.Usage(
        input_tokens=said.input_tokens or 0,
        output_tokens=said.output_tokens or 0,
        cache_read_input_tokens=heard.cached_tokens or 0,
        # Of what was heard, the cached part has the price of the cache.
        audio_input_tokens=max(
            (heard.audio_tokens or 0) - (cached.audio_tokens or 0), 0
        ),
        audio_output_tokens=spoken.audio_tokens or 0,
    )


_EVENTS = msgspec.json.Decoder(ServerEvent)


def read_event(message: bytes) -> ServerEvent | None:
    """Read an event of the types in `READ`; None: it is another one."""
    if not any(mark in message for mark in _MARKS):
        return None
    try:
        event = _EVENTS.decode(message)
    except UNREADABLE:
        return None
    return event if event.type in READ else None


def write_error(error: GatewayError) -> bytes:
    """Write an event that tells `error`.

    https://platform.openai.com/docs/api-reference/realtime-server-events/error
    """
    said = {
        "type": error.type,
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "event_id": None,
    }
    event = {"type": "error", "event_id": "event_gateway", "error": said}
    return msgspec.json.encode(event)
