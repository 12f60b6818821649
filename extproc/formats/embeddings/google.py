"""Google's embeddings: Gemini's ``batchEmbedContents``, and two of Vertex AI's.

https://ai.google.dev/api/embeddings#method:-models.batchembedcontents,
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
(``:predict``) and ``:embedContent``, which the models from ``gemini-embedding-2`` on have
there in its place, for one text a request.

Beside OpenAI's words a client may say Gemini's own: ``task_type``, ``title`` and
``auto_truncate``. Dropped: ``user``.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from extproc.embeddings import EmbeddingAnswer, EmbeddingRequest
from extproc.errors import BadRequest, ProtocolViolation
from extproc.formats.base import Overview, ProviderFormat, Rendered, Unsupported
from extproc.formats.embeddings.openai import OPERATION
from extproc.formats.embeddings.writing import Words, dropped, only_text, texts_of
from extproc.formats.gemini.errors import read_error
from extproc.usage import Usage

T = TypeVar("T")

TASK_TYPES = (
    "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION",
    "CLUSTERING", "QUESTION_ANSWERING", "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY",
)  # fmt: skip


class _Values(msgspec.Struct):
    values: msgspec.Raw


class _Metadata(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None


class _Batch(msgspec.Struct, rename="camel"):
    embeddings: list[_Values]
    usage_metadata: _Metadata | None = None


class _One(msgspec.Struct, rename="camel"):
    embedding: _Values
    usage_metadata: _Metadata | None = None


class _Statistics(msgspec.Struct):
    token_count: float | None = None


class _Predicted(msgspec.Struct):
    values: msgspec.Raw
    statistics: _Statistics | None = None


class _Prediction(msgspec.Struct):
    embeddings: _Predicted


class _Predictions(msgspec.Struct):
    predictions: list[_Prediction]


_BATCH = msgspec.json.Decoder(_Batch)
_ONE = msgspec.json.Decoder(_One)
_PREDICTIONS = msgspec.json.Decoder(_Predictions)
_encode = msgspec.json.Encoder().encode


def _write_batch(request: EmbeddingRequest, model: str, _: int) -> Rendered:
    words = Words(request, "Gemini")
    every = {
        "model": f"models/{model}",
        **_task(words),
        **_dimensions(request, "outputDimensionality"),
    }
    words.finish()
    parts = [_content(text) for text in texts_of(request, "Gemini")]
    return Rendered(
        _encode({"requests": [{**every, "content": content} for content in parts]}),
        dropped(request),
    )


def _write_one(request: EmbeddingRequest, model: str, _: int) -> Rendered:  # noqa: ARG001  the path says it
    words = Words(request, "This model on Vertex AI")
    truncate = words.take("auto_truncate", bool)
    options = {
        **_task(words),
        **_dimensions(request, "outputDimensionality"),
        **({} if truncate is None else {"autoTruncate": truncate}),
    }
    words.finish()
    text = only_text(request, "This model on Vertex AI")
    said: dict[str, object] = {"content": _content(text)}
    if options:
        said["embedContentConfig"] = options
    return Rendered(_encode(said), dropped(request))


def _write_predict(request: EmbeddingRequest, model: str, _: int) -> Rendered:  # noqa: ARG001  the path says it
    words = Words(request, "Vertex AI")
    truncate = words.take("auto_truncate", bool)
    task = _task(words)
    every = {
        key: task[word]
        for key, word in (("task_type", "taskType"), ("title", "title"))
        if word in task
    }
    words.finish()
    parameters = {
        **_dimensions(request, "outputDimensionality"),
        **({} if truncate is None else {"autoTruncate": truncate}),
    }
    said: dict[str, object] = {
        "instances": [
            {**every, "content": text} for text in texts_of(request, "Vertex AI")
        ]
    }
    if parameters:
        said["parameters"] = parameters
    return Rendered(_encode(said), dropped(request))


def _content(text: str) -> dict[str, object]:
    return {"role": "user", "parts": [{"text": text}]}


def _task(words: Words) -> dict[str, object]:
    """Return what the texts are for, in Gemini's words."""
    said: dict[str, object] = {}
    kind = words.take("task_type", str)
    title = words.take("title", str)
    if kind is not None:
        if kind not in TASK_TYPES:
            raise BadRequest(
                f"Invalid value: {kind[:100]!r}. Supported values are: "
                f"{', '.join(map(repr, TASK_TYPES))}.",
                param="task_type",
                code="invalid_value",
            )
        said["taskType"] = kind
    if title is not None:
        if kind != "RETRIEVAL_DOCUMENT":
            raise Unsupported(
                "Gemini takes a title of documents only: 'task_type' must be "
                "'RETRIEVAL_DOCUMENT'.",
                param="title",
            )
        said["title"] = title
    return said


def _dimensions(request: EmbeddingRequest, word: str) -> dict[str, object]:
    return {} if request.dimensions is None else {word: request.dimensions}


def _read_batch(body: bytes) -> EmbeddingAnswer:
    said = _decode(_BATCH, body)
    return EmbeddingAnswer(
        vectors=tuple(one.values for one in said.embeddings),
        usage=_usage(said.usage_metadata),
    )


def _read_one(body: bytes) -> EmbeddingAnswer:
    said = _decode(_ONE, body)
    return EmbeddingAnswer(
        vectors=(said.embedding.values,), usage=_usage(said.usage_metadata)
    )


def _read_predictions(body: bytes) -> EmbeddingAnswer:
    said = _decode(_PREDICTIONS, body)
    found = [one.embeddings for one in said.predictions]
    counts = [
        one.statistics.token_count
        for one in found
        if one.statistics is not None and one.statistics.token_count is not None
    ]
    return EmbeddingAnswer(
        vectors=tuple(one.values for one in found),
        # All of them or none: a part of the sum would be taken for the sum.
        usage=Usage(input_tokens=int(sum(counts)))
        if counts and len(counts) == len(found)
        else None,
    )


def _usage(said: _Metadata | None) -> Usage | None:
    if said is None or said.prompt_token_count is None:
        return None
    return Usage(input_tokens=said.prompt_token_count)


def _overview(body: bytes) -> Overview:  # noqa: ARG001  no client speaks this
    return Overview()


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(f"cannot read the embeddings: {exc}") from None


GEMINI: ProviderFormat[EmbeddingRequest, EmbeddingAnswer] = ProviderFormat(
    name="gemini_batch_embed",
    operation=OPERATION,
    write_request=_write_batch,
    read_answer=_read_batch,
    read_error=read_error,
    overview=_overview,
)
VERTEX: ProviderFormat[EmbeddingRequest, EmbeddingAnswer] = ProviderFormat(
    name="vertex_predict_embed",
    operation=OPERATION,
    write_request=_write_predict,
    read_answer=_read_predictions,
    read_error=read_error,
    overview=_overview,
)
VERTEX_ONE: ProviderFormat[EmbeddingRequest, EmbeddingAnswer] = ProviderFormat(
    name="vertex_embed_content",
    operation=OPERATION,
    write_request=_write_one,
    read_answer=_read_one,
    read_error=read_error,
    overview=_overview,
)
