"""Rerank as clients speak it: ``/v1/rerank`` (Jina, Cohere 1, vLLM) and ``/v2/rerank``.

https://api.jina.ai/redoc#tag/rerank, https://docs.cohere.com/v1/reference/rerank,
https://docs.cohere.com/reference/rerank. The requests are one shape with a few words more
or less. Jina's answer has a ``usage`` and Cohere's a ``meta``; ``/v1/rerank``, where both
live, gets both.

What the provider does not do is done here: the documents are repeated, and no more than
``top_n`` results are given, whoever serves.
"""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.errors import BadRequest, GatewayError
from extproc.formats import openai_errors, openai_models
from extproc.formats.base import ClientFormat, Members, Unsupported, WriterContext
from extproc.formats.openai_validation import Wording
from extproc.reranking import Ranked, RerankAnswer, RerankRequest

JINA: Final = "jina_rerank"
COHERE: Final = "cohere_rerank"
OPERATION: Final = "rerank"

_WORDS = frozenset(
    {
        "model", "query", "documents", "top_n", "return_documents", "max_tokens_per_doc",
    }
)  # fmt: skip


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class _Body(msgspec.Struct):
    model: str
    query: str
    documents: list[str | _Document]
    top_n: int | None = None
    return_documents: bool | None = None
    max_tokens_per_doc: int | None = None


class Kept(msgspec.Struct, frozen=True):
    """What an answer has to know of its request."""

    top_n: int | None
    documents: tuple[str, ...] | None
    """None: they are not wanted."""


class _Result(msgspec.Struct, omit_defaults=True):
    index: int
    relevance_score: msgspec.Raw
    document: _Document | None = None


_WORDING = Wording({})
_BODY = msgspec.json.Decoder(_Body)
_encode = msgspec.json.Encoder().encode


def read_request(body: bytes, members: Members) -> RerankRequest:
    """Read a request; see `ClientFormat.read_request`."""
    try:
        said = _BODY.decode(body)
    except msgspec.ValidationError as exc:
        if "unknown field" in str(exc):
            raise Unsupported(
                "Documents of several fields are not translated: send each as a string "
                "or as {'text': …}.",
                param="documents",
            ) from None
        raise _WORDING.invalid(str(exc)) from None
    if not said.documents:
        raise BadRequest(
            "Invalid 'documents': it is empty.", param="documents", code="invalid_value"
        )
    if said.top_n is not None and said.top_n < 1:
        raise BadRequest(
            "Invalid 'top_n': expected an integer of at least 1.",
            param="top_n",
            code="integer_below_min_value",
        )
    return RerankRequest(
        query=said.query,
        documents=tuple(
            one if isinstance(one, str) else one.text for one in said.documents
        ),
        top_n=said.top_n,
        return_documents=bool(said.return_documents),
        max_tokens_per_document=said.max_tokens_per_doc,
        extras={key: raw for key, raw in members.items() if key not in _WORDS},
    )


def keep(request: RerankRequest) -> Kept:
    """Keep what the provider may leave to us."""
    return Kept(request.top_n, request.documents if request.return_documents else None)


def _write_jina(answer: RerankAnswer, context: WriterContext) -> bytes:
    said: dict[str, object] = {
        "object": "list",
        "id": answer.id or context.id,
        "model": answer.model or context.model,
        "results": _results(answer, context),
        "meta": _meta(answer, "1"),
    }
    if answer.usage is not None:
        total = answer.usage.total_tokens
        said["usage"] = {"total_tokens": total, "prompt_tokens": total}
    return _encode(said)


def _write_cohere(answer: RerankAnswer, context: WriterContext) -> bytes:
    return _encode(
        {
            "id": answer.id or context.id,
            "results": _results(answer, context),
            "meta": _meta(answer, "2"),
        }
    )


def _results(answer: RerankAnswer, context: WriterContext) -> list[_Result]:
    kept = context.kept if isinstance(context.kept, Kept) else Kept(None, None)
    return [_result(one, kept.documents) for one in answer.results[: kept.top_n]]


def _result(one: Ranked, documents: tuple[str, ...] | None) -> _Result:
    if documents is None or not 0 <= one.index < len(documents):
        return _Result(one.index, one.score)
    return _Result(one.index, one.score, _Document(documents[one.index]))


def _meta(answer: RerankAnswer, version: str) -> dict[str, object]:
    said: dict[str, object] = {"api_version": {"version": version}}
    usage = answer.usage
    if usage is not None and usage.search_units:
        said["billed_units"] = {"search_units": usage.search_units}
    if usage is not None and usage.total_tokens:
        said["tokens"] = {"input_tokens": usage.input_tokens}
    return said


JINA_CLIENT = ClientFormat(
    name=JINA,
    operation=OPERATION,
    read_request=read_request,
    keep=keep,
    write_answer=_write_jina,
    write_error=openai_errors.write_error,
    write_error_event=openai_errors.write_error,
    write_model=openai_models.write_model,
    write_models=openai_models.write_models,
)


def _write_cohere_error(error: GatewayError) -> bytes:
    """Write an error as Cohere does: words only, and OpenAI's beside them.

    https://docs.cohere.com/reference/errors. Its SDKs read the status.
    """
    return _encode(
        {
            "id": "",
            "message": error.message,
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.code,
            },
        }
    )


COHERE_CLIENT = ClientFormat(
    name=COHERE,
    operation=OPERATION,
    read_request=read_request,
    keep=keep,
    write_answer=_write_cohere,
    write_error=_write_cohere_error,
    write_error_event=_write_cohere_error,
    write_model=openai_models.write_model,
    write_models=openai_models.write_models,
)
