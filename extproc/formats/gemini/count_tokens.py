"""Gemini's ``countTokens``: https://ai.google.dev/api/tokens, and Vertex AI's.

Gemini counts a whole request in an envelope; Vertex AI takes its parts bare
(https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.publishers.models/countTokens).
"""

from __future__ import annotations

import msgspec

from extproc import canonical
from extproc.counting import OPERATION, TokenCount
from extproc.errors import ProtocolViolation
from extproc.formats.base import Overview, ProviderFormat, Rendered
from extproc.formats.gemini import request
from extproc.formats.gemini.errors import read_error
from extproc.usage import Usage

_BARE = ("contents", "systemInstruction", "tools", "generationConfig")


class _Answer(msgspec.Struct, rename="camel"):
    total_tokens: int


_ANSWER = msgspec.json.Decoder(_Answer)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _write(asked: canonical.Request, model: str, default_max_tokens: int) -> Rendered:
    rendered = request.write_request(asked, model, default_max_tokens)
    said = {
        "model": msgspec.Raw(msgspec.json.encode(f"models/{model}")),
        **_OBJECT.decode(rendered.body),
    }
    body = msgspec.json.encode({"generateContentRequest": said})
    return Rendered(body, rendered.dropped)


def _write_bare(
    asked: canonical.Request, model: str, default_max_tokens: int
) -> Rendered:
    rendered = request.write_request(asked, model, default_max_tokens)
    said = _OBJECT.decode(rendered.body)
    body = msgspec.json.encode({name: said[name] for name in _BARE if name in said})
    return Rendered(body, rendered.dropped)


def _read(body: bytes) -> TokenCount:
    try:
        return TokenCount(_ANSWER.decode(body).total_tokens)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(f"cannot read the count: {exc}") from None


def _overview(body: bytes) -> Overview:  # noqa: ARG001
    return Overview(usage=Usage())


PROVIDER = ProviderFormat(
    name="gemini_count_tokens",
    operation=OPERATION,
    write_request=_write,
    read_answer=_read,
    read_error=read_error,
    overview=_overview,
)
VERTEX = ProviderFormat(
    name="vertex_count_tokens",
    operation=OPERATION,
    write_request=_write_bare,
    read_answer=_read,
    read_error=read_error,
    overview=_overview,
)
