"""Amazon Titan's text embeddings, by Bedrock's InvokeModel.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html.
One text a request. Dropped: ``user``.
"""

from __future__ import annotations

import msgspec

from extproc.embeddings import EmbeddingAnswer, EmbeddingRequest
from extproc.errors import ProtocolViolation
from extproc.formats.base import Overview, ProviderFormat, Rendered
from extproc.formats.converse.errors import read_error
from extproc.formats.embeddings.openai import OPERATION
from extproc.formats.embeddings.writing import Words, dropped, only_text
from extproc.usage import Usage


class _Answer(msgspec.Struct, rename="camel"):
    embedding: msgspec.Raw
    input_text_token_count: int | None = None


class _Seen(msgspec.Struct, rename="camel"):
    input_text_token_count: int | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_SEEN = msgspec.json.Decoder(_Seen)
_encode = msgspec.json.Encoder().encode


def write_request(request: EmbeddingRequest, model: str, _: int) -> Rendered:  # noqa: ARG001  the path says it
    """Write a request; see `ProviderFormat.write_request`."""
    said: dict[str, object] = {"inputText": only_text(request, "Titan")}
    if request.dimensions is not None:
        said["dimensions"] = request.dimensions
    words = Words(request, "Titan")
    normalize = words.take("normalize", bool)
    if normalize is not None:
        said["normalize"] = normalize
    words.finish()
    return Rendered(_encode(said), dropped(request))


def read_answer(body: bytes) -> EmbeddingAnswer:
    """Read a whole answer; see `ProviderFormat.read_answer`."""
    try:
        said = _ANSWER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(f"cannot read the embedding: {exc}") from None
    return EmbeddingAnswer(
        vectors=(said.embedding,), usage=_usage(said.input_text_token_count)
    )


def overview(body: bytes) -> Overview:
    """Read what an answer says about itself; see `ProviderFormat.overview`."""
    try:
        return Overview(usage=_usage(_SEEN.decode(body).input_text_token_count))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Overview()


def _usage(count: int | None) -> Usage | None:
    return None if count is None else Usage(input_tokens=count)


PROVIDER: ProviderFormat[EmbeddingRequest, EmbeddingAnswer] = ProviderFormat(
    name="titan_embed",
    operation=OPERATION,
    write_request=write_request,
    read_answer=read_answer,
    read_error=read_error,
    overview=overview,
)
