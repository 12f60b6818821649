"""OpenAI's embeddings: https://platform.openai.com/docs/api-reference/embeddings/create.

The client's side of every embeddings request, and the provider's side of all that speak
the same. Fields that are not OpenAI's own travel as the client spelled them (``input_type``
of Cohere, ``task_type`` of Gemini): the provider that knows one takes it, others refuse.
"""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.embeddings import EmbeddingAnswer, EmbeddingRequest, Encoding
from extproc.errors import BadRequest, ProtocolViolation
from extproc.formats import openai_errors, openai_models
from extproc.formats.base import (
    ClientFormat,
    Members,
    Overview,
    ProviderFormat,
    Rendered,
    WriterContext,
)
from extproc.formats.embeddings import vectors
from extproc.formats.openai_validation import Wording, missing, wrong_type
from extproc.usage import Usage

NAME: Final = "openai_embeddings"
OPERATION: Final = "embeddings"

_OWN = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
_INPUT = frozenset({"a string", "an array of strings", "an array of token arrays"})


class _Body(msgspec.Struct):
    model: str
    dimensions: int | None = None
    encoding_format: Encoding | None = None
    user: str | None = None


class _Embedding(msgspec.Struct):
    embedding: msgspec.Raw
    index: int
    object: str = "embedding"


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    total_tokens: int = 0


class _Answer(msgspec.Struct):
    data: list[_Embedding]
    model: str = ""
    usage: _Usage | None = None
    object: str = "list"


class _Seen(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None


_WORDING = Wording({"encoding_format": "'float', 'base64'"})
_BODY = msgspec.json.Decoder(_Body)
_ANSWER = msgspec.json.Decoder(_Answer)
_SEEN = msgspec.json.Decoder(_Seen)
_encode = msgspec.json.Encoder().encode


def read_request(body: bytes, members: Members) -> EmbeddingRequest:
    """Read a request; see `ClientFormat.read_request`."""
    said = _WORDING.decode(_BODY, body)
    if said.dimensions is not None and said.dimensions < 1:
        raise BadRequest(
            "Invalid 'dimensions': expected an integer of at least 1.",
            param="dimensions",
            code="integer_below_min_value",
        )
    if "input" not in members:
        raise missing("input")
    texts, tokens = _inputs(members["input"])
    if not texts and not all(tokens or ((),)):
        raise BadRequest(
            "Invalid 'input': it is empty.", param="input", code="invalid_value"
        )
    return EmbeddingRequest(
        texts=texts,
        tokens=tokens,
        dimensions=said.dimensions,
        encoding=said.encoding_format or "float",
        user=said.user,
        extras={key: raw for key, raw in members.items() if key not in _OWN},
    )


def _inputs(raw: msgspec.Raw) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Read the four shapes of ``input``: texts, or tokens."""
    try:
        said = msgspec.json.decode(raw, type=str | list[str | int | list[int]])
    except msgspec.ValidationError:
        raise wrong_type("input", sorted(_INPUT), None) from None
    if isinstance(said, str):
        return (said,), ()
    kinds = {type(one) for one in said}
    if len(kinds) > 1:
        raise wrong_type("input", sorted(_INPUT), None)
    texts = tuple(one for one in said if isinstance(one, str))
    ids = tuple(one for one in said if isinstance(one, int))
    lists = tuple(tuple(one) for one in said if isinstance(one, list))
    return texts, (ids,) if ids else lists


def keep(request: EmbeddingRequest) -> Encoding:
    """Keep how the vectors are to be spelled."""
    return request.encoding


def write_answer(answer: EmbeddingAnswer, context: WriterContext) -> bytes:
    """Write a whole answer; see `ClientFormat.write_answer`."""
    encoding: Encoding = "base64" if context.kept == "base64" else "float"
    usage = answer.usage or Usage()
    return _encode(
        _Answer(
            data=[
                _Embedding(vectors.spell(vector, encoding), index)
                for index, vector in enumerate(answer.vectors)
            ],
            model=answer.model or context.model,
            usage=_Usage(usage.input_tokens, usage.total_tokens),
        )
    )


def read_answer(body: bytes) -> EmbeddingAnswer:
    """Read a whole answer of this shape; see `ProviderFormat.read_answer`."""
    try:
        said = _ANSWER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(f"cannot read the embeddings: {exc}") from None
    ordered = sorted(said.data, key=lambda one: one.index)
    return EmbeddingAnswer(
        vectors=tuple(vectors.read(one.embedding) for one in ordered),
        model=said.model,
        usage=_usage(said.usage),
    )


def overview(body: bytes) -> Overview:
    """Read what an answer says about itself; see `ProviderFormat.overview`."""
    try:
        said = _SEEN.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Overview()
    return Overview(model=said.model, usage=_usage(said.usage))


def _usage(said: _Usage | None) -> Usage | None:
    return Usage(input_tokens=said.prompt_tokens) if said is not None else None


def write_request(request: EmbeddingRequest, model: str, _: int) -> Rendered:
    """Write a request; see `ProviderFormat.write_request`."""
    said: dict[str, object] = {
        "model": model,
        "input": request.tokens or request.texts,
        "dimensions": request.dimensions,
        "encoding_format": request.encoding,
        "user": request.user,
    }
    told = {key: value for key, value in said.items() if value is not None}
    return Rendered(_encode(told | dict(request.extras)))


CLIENT = ClientFormat(
    name=NAME,
    operation=OPERATION,
    read_request=read_request,
    keep=keep,
    write_answer=write_answer,
    write_error=openai_errors.write_error,
    write_error_event=openai_errors.write_error,
    write_model=openai_models.write_model,
    write_models=openai_models.write_models,
)
PROVIDER = ProviderFormat(
    name=NAME,
    operation=OPERATION,
    write_request=write_request,
    read_answer=read_answer,
    read_error=openai_errors.read_error,
    overview=overview,
)
