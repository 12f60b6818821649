"""Cohere's embed, version 2: https://docs.cohere.com/reference/embed, and on Bedrock.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed-v3.html: there
the model stands in the path, the usage in a header, and the vectors have one level less
unless types are asked for.

Cohere wants to know what a text is for. OpenAI's API has no word for it, so that
``input_type`` may stand beside its own; ``search_document`` where it does not.

Dropped: ``user``.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.embeddings import EmbeddingAnswer, EmbeddingRequest
from extproc.errors import ProtocolViolation
from extproc.formats import openai_errors
from extproc.formats.base import Overview, ProviderFormat, Rendered
from extproc.formats.converse.errors import read_error as read_bedrock_error
from extproc.formats.embeddings.openai import OPERATION
from extproc.formats.embeddings.writing import Words, dropped, texts_of
from extproc.usage import Usage, counted

DEFAULT_INPUT_TYPE = "search_document"
"""What LangChain and LlamaIndex send for texts that are stored."""

BEDROCK_TOKENS = "x-amzn-bedrock-input-token-count"
"""https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html"""


class _ByType(msgspec.Struct):
    float: list[msgspec.Raw] = []


class _BilledUnits(msgspec.Struct):
    input_tokens: float | None = None


class _Meta(msgspec.Struct):
    billed_units: _BilledUnits | None = None


class _Answer(msgspec.Struct):
    embeddings: _ByType | list[msgspec.Raw]
    meta: _Meta | None = None


class _Seen(msgspec.Struct):
    meta: _Meta | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_SEEN = msgspec.json.Decoder(_Seen)
_encode = msgspec.json.Encoder().encode


def write_request(request: EmbeddingRequest, model: str, _: int) -> Rendered:
    """Write a request; see `ProviderFormat.write_request`."""
    return Rendered(
        _encode({"model": model, **_said(request, "Cohere")}), dropped(request)
    )


def _write_for_bedrock(request: EmbeddingRequest, model: str, _: int) -> Rendered:  # noqa: ARG001  the path says it
    return Rendered(_encode(_said(request, "Cohere on Bedrock")), dropped(request))


def _said(request: EmbeddingRequest, provider: str) -> dict[str, object]:
    words = Words(request, provider)
    said: dict[str, object] = {
        "texts": texts_of(request, provider),
        "input_type": words.take("input_type", str) or DEFAULT_INPUT_TYPE,
        "embedding_types": ["float"],
    }
    if request.dimensions is not None:
        said["output_dimension"] = request.dimensions
    truncate = words.take("truncate", str)
    if truncate is not None:
        said["truncate"] = truncate
    words.finish()
    return said


def read_answer(body: bytes) -> EmbeddingAnswer:
    """Read a whole answer; see `ProviderFormat.read_answer`."""
    try:
        said = _ANSWER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(f"cannot read the embeddings: {exc}") from None
    found = said.embeddings
    return EmbeddingAnswer(
        vectors=tuple(found.float if isinstance(found, _ByType) else found),
        usage=_usage(said.meta),
    )


def overview(body: bytes) -> Overview:
    """Read what an answer says about itself; see `ProviderFormat.overview`."""
    try:
        return Overview(usage=_usage(_SEEN.decode(body).meta))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Overview()


def header_usage(headers: Mapping[str, str]) -> Usage | None:
    """Read what Bedrock counted; see `ProviderFormat.header_usage`."""
    count = headers.get(BEDROCK_TOKENS, "")
    return counted(count)


def _usage(meta: _Meta | None) -> Usage | None:
    units = meta.billed_units if meta is not None else None
    if units is None or units.input_tokens is None:
        return None
    return Usage(input_tokens=int(units.input_tokens))


PROVIDER: ProviderFormat[EmbeddingRequest, EmbeddingAnswer] = ProviderFormat(
    name="cohere_embed",
    operation=OPERATION,
    write_request=write_request,
    read_answer=read_answer,
    read_error=openai_errors.read_error,
    overview=overview,
)
BEDROCK: ProviderFormat[EmbeddingRequest, EmbeddingAnswer] = ProviderFormat(
    name="bedrock_cohere_embed",
    operation=OPERATION,
    write_request=_write_for_bedrock,
    read_answer=read_answer,
    read_error=read_bedrock_error,
    overview=overview,
    header_usage=header_usage,
)
