"""Anthropic's stream in the event stream of Bedrock's InvokeModel.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ResponseStream.html. Each
``chunk`` is ``{"bytes": …}`` with one of Anthropic's events in it, in base64 (and padding,
``p``). An exception of Bedrock's becomes Anthropic's own ``error`` event, so that whoever
reads the stream, we or a client of Anthropic's API, hears of it. Messages of other types are
not Anthropic's to read: skipped.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping

import msgspec

from extproc.errors import GatewayError, ProtocolViolation
from extproc.formats.anthropic import wire
from extproc.formats.anthropic.passage import MessagePassage
from extproc.framing.base import Framing
from extproc.framing.eventstream import EVENT_STREAM
from extproc.framing.sse import Frame, encode_frame
from extproc.usage import Usage

KINDS: Mapping[str, str] = {
    "throttlingException": "rate_limit_error",
    "serviceUnavailableException": "overloaded_error",
    "modelNotReadyException": "overloaded_error",
    "validationException": "invalid_request_error",
    "modelTimeoutException": "timeout_error",
    "accessDeniedException": "permission_error",
    "resourceNotFoundException": "not_found_error",
}
"""Bedrock's exceptions as Anthropic's error types; any other is an ``api_error``."""

_EXCEPTION = ":exception "


class _Part(msgspec.Struct):
    bytes: str


class _Type(msgspec.Struct):
    type: str = ""


class _Words(msgspec.Struct):
    message: str = ""


_PART = msgspec.json.Decoder(_Part)
_TYPE = msgspec.json.Decoder(_Type)
_WORDS = msgspec.json.Decoder(_Words)


class _Error(msgspec.Struct, tag="error", tag_field="type"):
    error: wire.ErrorDetail


class InvokeDecoder:
    """Cut a byte stream into Anthropic's events, each a frame of its type's name."""

    __slots__ = ("_messages",)

    def __init__(self) -> None:
        self._messages = EVENT_STREAM.decoder()

    def feed(self, data: bytes) -> list[Frame]:
        """See `Decoder.feed`.

        Raises:
            ProtocolViolation: a message is broken, or its payload is no event.
        """
        frames = []
        for message in self._messages.feed(data):
            frame = _event(message)
            if frame is not None:
                frames.append(frame)
        return frames

    def close(self) -> list[Frame]:
        """See `Decoder.close`."""
        return self._messages.close()


def _event(message: Frame) -> Frame | None:
    if message.name == "chunk":
        try:
            event = binascii.a2b_base64(_PART.decode(message.data).bytes)
            return Frame(_TYPE.decode(event).type, event)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as exc:
            raise ProtocolViolation(f"a chunk holds no event: {exc}") from None
    if not message.name.startswith(":"):
        return None
    kind = KINDS.get(message.name.removeprefix(_EXCEPTION), "api_error")
    try:
        said = _WORDS.decode(message.data).message
    except (msgspec.MsgspecError, UnicodeDecodeError):
        said = ""
    error = wire.ErrorDetail(kind, said or "The model's stream was broken off.")
    return Frame("error", msgspec.json.encode(_Error(error)))


INVOKE_STREAM = Framing(EVENT_STREAM.content_type, InvokeDecoder)


class InvokePassage:
    """The stream for clients who speak Anthropic's API: its events, as they frame them."""

    __slots__ = ("_frames", "_inner")

    def __init__(self) -> None:
        self._frames = InvokeDecoder()
        self._inner = MessagePassage()

    @property
    def usage(self) -> Usage | None:
        """See `Passage.usage`."""
        return self._inner.usage

    @property
    def model(self) -> str | None:
        """See `Passage.model`."""
        return self._inner.model

    @property
    def error(self) -> GatewayError | None:
        """See `Passage.error`."""
        return self._inner.error

    def feed(self, data: bytes) -> bytes:
        """See `Passage.feed`.

        Raises:
            ProtocolViolation: as `InvokeDecoder.feed` does.
        """
        events = self._frames.feed(data)
        if not events:
            return b""
        return self._inner.feed(b"".join(_framed(event) for event in events))

    def close(self) -> bytes:
        """See `Passage.close`.

        Raises:
            TruncatedStream: the stream ended inside a message, or before the last event.
        """
        self._frames.close()
        return self._inner.close()


def _framed(event: Frame) -> bytes:
    # A line end in the middle of JSON is a blank; in an event it would be a new line.
    data = event.data
    if data.find(b"\n") >= 0 or data.find(b"\r") >= 0:
        data = data.replace(b"\r", b" ").replace(b"\n", b" ")
    return encode_frame(data, event.name)


def passage(include_usage: bool) -> InvokePassage:  # noqa: ARG001
    """See `ProviderFormat.passage`."""
    return InvokePassage()
