"""OpenAI's shape with the word ``output_dimension``: Mistral and Voyage.

https://docs.mistral.ai/api/#tag/embeddings and
https://docs.voyageai.com/reference/embeddings-api. Vectors are asked for as numbers: the
client's spelling is made here, the same whoever serves.

Dropped: ``user``.
"""

from __future__ import annotations

import msgspec

from extproc.embeddings import EmbeddingAnswer, EmbeddingRequest
from extproc.formats import openai_errors
from extproc.formats.base import ProviderFormat, Rendered
from extproc.formats.embeddings.openai import OPERATION, overview, read_answer
from extproc.formats.embeddings.writing import Words, dropped, texts_of

_encode = msgspec.json.Encoder().encode


def _mistral(request: EmbeddingRequest, model: str, _: int) -> Rendered:
    said = _said(request, model, "Mistral")
    Words(request, "Mistral").finish()
    return Rendered(_encode(said), dropped(request))


def _voyage(request: EmbeddingRequest, model: str, _: int) -> Rendered:
    said = _said(request, model, "Voyage")
    words = Words(request, "Voyage")
    input_type = words.take("input_type", str)
    if input_type is not None:
        # Cohere's words for the same two things are understood too.
        said["input_type"] = input_type.removeprefix("search_")
    truncation = words.take("truncation", bool)
    if truncation is not None:
        said["truncation"] = truncation
    words.finish()
    return Rendered(_encode(said), dropped(request))


def _said(request: EmbeddingRequest, model: str, provider: str) -> dict[str, object]:
    said: dict[str, object] = {"model": model, "input": texts_of(request, provider)}
    if request.dimensions is not None:
        said["output_dimension"] = request.dimensions
    return said


MISTRAL: ProviderFormat[EmbeddingRequest, EmbeddingAnswer] = ProviderFormat(
    name="mistral_embeddings",
    operation=OPERATION,
    write_request=_mistral,
    read_answer=read_answer,
    read_error=openai_errors.read_error,
    overview=overview,
)
VOYAGE: ProviderFormat[EmbeddingRequest, EmbeddingAnswer] = ProviderFormat(
    name="voyage_embeddings",
    operation=OPERATION,
    write_request=_voyage,
    read_answer=read_answer,
    read_error=openai_errors.read_error,
    overview=overview,
)
