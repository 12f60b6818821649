"""What a realtime session's server says that has to be read: usage, and how to say an error.

https://platform.openai.com/docs/api-reference/realtime-server-events. Each answer ends in a
``response.done`` with the usage of that answer alone.
"""

from __future__ import annotations

from typing import Final

import msgspec

from extproc import usage as ours
from extproc.errors import GatewayError

BEGUN: Final = b'"response.created"'
DONE: Final = b'"response.done"'
"""In every event of these types, whatever it looks like else; most have neither."""


class _Details(msgspec.Struct, frozen=True):
    audio_tokens: int | None = None
    cached_tokens: int | None = None
    cached_tokens_details: _Details | None = None


class _Usage(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _Details | None = None
    output_token_details: _Details | None = None


class _Response(msgspec.Struct, frozen=True):
    usage: _Usage | None = None


class ServerEvent(msgspec.Struct, frozen=True):
    """The few members that count."""

    type: str = ""
    response: _Response | None = None

    @property
    def usage(self) -> ours.Usage | None:
        """The tokens of the answer that it ends; None: it says nothing of them."""
        said = self.response.usage if self.response is not None else None
        if said is None or (said.input_tokens is None and said.output_tokens is None):
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
    """Read an event that begins or ends an answer; None: it is another one."""
    if DONE not in message and BEGUN not in message:
        return None
    try:
        event = _EVENTS.decode(message)
    except msgspec.MsgspecError:
        return None
    return event if event.type in {"response.done", "response.created"} else None


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
