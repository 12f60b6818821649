"""OpenAI's further endpoints: they pass to who speaks the same, and are metered.

https://platform.openai.com/docs/api-reference: images, audio, moderations, compaction of
responses, and what is kept by its id (files, batches …). Nothing here is translated: a
client's format and the provider's have one name, and no other provider has it.

What is counted is found without understanding the answer: its ``usage``, of which the
endpoints have three spellings, or the last ``usage`` in a stream.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, Never

import msgspec

from extproc.errors import GatewayError
from extproc.formats import openai_errors, openai_models
from extproc.formats.base import (
    ClientFormat,
    Overview,
    ProviderFormat,
    Rendered,
    Unsupported,
)
from extproc.usage import Usage

TAIL_BYTES = 8 * 1024
"""Of a stream, the end of which tells the usage: 300 bytes behind a picture of a MB."""

_USAGE = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})')


class _Details(msgspec.Struct):
    audio_tokens: int = 0


class _Counts(msgspec.Struct):
    input_token_details: _Details | None = None
    """Of a transcription."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    seconds: float | None = None
    """Of speech that was heard: no tokens at all."""


class _Seen(msgspec.Struct):
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")


_COUNTS = msgspec.json.Decoder(_Counts)
_SEEN = msgspec.json.Decoder(_Seen)


def overview(body: bytes) -> Overview:
    """Read what an answer says about itself; see `ProviderFormat.overview`."""
    try:
        said = _SEEN.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Overview()
    return Overview(model=said.model, usage=_usage(said.usage))


def free_overview(body: bytes) -> Overview:
    """Read an answer that costs nothing."""
    return Overview(model=overview(body).model, usage=Usage())


def _usage(raw: bytes | msgspec.Raw) -> Usage | None:
    try:
        said = _COUNTS.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    given = said.input_tokens if said.input_tokens is not None else said.prompt_tokens
    made = (
        said.output_tokens if said.output_tokens is not None else said.completion_tokens
    )
    if given is None and made is None:
        # Billed by the second: that no token was counted is exact.
        seconds = said.seconds
        return None if seconds is None else Usage(audio_seconds=math.ceil(seconds))
    heard = said.input_token_details
    return Usage(
        input_tokens=given or 0,
        output_tokens=made or 0,
        audio_input_tokens=heard.audio_tokens if heard is not None else 0,
    )


class TailPassage:
    """A stream that passes as it comes; its end is looked at when it is over."""

    __slots__ = ("_tail", "error", "model")

    def __init__(self, show_usage: bool = True) -> None:  # noqa: ARG002  always shown
        self.model: str | None = None
        self.error: GatewayError | None = None
        self._tail = b""

    @property
    def usage(self) -> Usage | None:
        """What the end of the stream says was used."""
        found = _USAGE.findall(self._tail)
        return _usage(found[-1]) if found else None

    def feed(self, data: bytes) -> bytes:
        """Return `data`."""
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        return data

    def close(self) -> bytes:
        """Return nothing: all has passed."""
        return b""


def write_error_event(error: GatewayError) -> bytes:
    """Write the event that ends a stream; see `ClientFormat.write_error_event`."""
    return b"data: " + openai_errors.write_error(error) + b"\n\n"


def _never(*_: object) -> Never:
    raise Unsupported(
        "This request is not translated.", param="model", code="unsupported_operation"
    )


def _unrendered(*_: object) -> Rendered:
    _never()


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint, for clients and for providers."""

    path: str
    """Behind the version."""
    client: ClientFormat[Any, Any]
    provider: ProviderFormat[Any, Any]


def _endpoint(
    path: str, operation: str, *, default_model: str = "", free: bool = False
) -> Endpoint:
    name = f"openai_{operation}"
    return Endpoint(
        path,
        ClientFormat(
            name=name,
            operation=operation,
            default_model=default_model,
            read_request=_never,
            write_answer=_never,
            write_error=openai_errors.write_error,
            write_error_event=write_error_event,
            write_model=openai_models.write_model,
            write_models=openai_models.write_models,
        ),
        ProviderFormat(
            name=name,
            operation=operation,
            write_request=_unrendered,
            read_answer=_never,
            read_error=openai_errors.read_error,
            overview=free_overview if free else overview,
            passage=TailPassage,
            opaque=True,
        ),
    )


IMAGES = _endpoint("/images/generations", "images", default_model="dall-e-2")
IMAGE_EDITS = _endpoint("/images/edits", "image_edits", default_model="dall-e-2")
IMAGE_VARIATIONS = _endpoint(
    "/images/variations", "image_variations", default_model="dall-e-2"
)
SPEECH = _endpoint("/audio/speech", "speech")
TRANSCRIPTIONS = _endpoint("/audio/transcriptions", "transcriptions")
TRANSLATIONS = _endpoint("/audio/translations", "translations")
MODERATIONS = _endpoint(
    "/moderations", "moderations", default_model="omni-moderation-latest", free=True
)
COMPACT = _endpoint("/responses/compact", "compact")
REALTIME = _endpoint("/realtime", "realtime")
STORED = _endpoint("", "stored")
"""What is kept by its id; which of them, the path says."""

FORMS = (IMAGE_EDITS, IMAGE_VARIATIONS, TRANSCRIPTIONS, TRANSLATIONS)
"""Their requests are forms with files in them."""
SENT_AS_JSON = (IMAGES, IMAGE_EDITS, SPEECH, MODERATIONS, COMPACT)
WITH_A_MODEL = (*dict.fromkeys((*SENT_AS_JSON, *FORMS)), REALTIME)
"""A request names the model that is to serve it."""
