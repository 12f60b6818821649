"""Rerank as providers speak it: Cohere, Jina, Voyage, vLLM, TEI; see also `bedrock`.

| | request | answer |
|---|---|---|
| Cohere 2, Jina, vLLM | ``documents``, ``top_n`` | ``results[].relevance_score`` |
| Bedrock (Cohere, Amazon) | the same, the model in the path | the same |
| Voyage | ``documents``, ``top_k`` | ``data[].relevance_score`` |
| TEI | ``texts`` | a bare list of ``score`` |

https://docs.cohere.com/reference/rerank, https://api.jina.ai/redoc#tag/rerank,
https://docs.voyageai.com/reference/reranker-api,
https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-supported.html,
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#re-rank-api,
https://huggingface.github.io/text-embeddings-inference/#/Text%20Embeddings%20Inference/rerank
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from extproc.errors import ProtocolViolation, UpstreamError
from extproc.formats import openai_errors
from extproc.formats.base import Overview, ProviderFormat, Rendered, Unsupported
from extproc.formats.rerank.clients import (
    COHERE as COHERE_NAME,
    JINA as JINA_NAME,
    OPERATION,
)
from extproc.reranking import Ranked, RerankAnswer, RerankRequest
from extproc.usage import Usage, counted

T = TypeVar("T")


class _Result(msgspec.Struct):
    index: int
    relevance_score: msgspec.Raw


class _Score(msgspec.Struct):
    index: int
    score: msgspec.Raw


class _Usage(msgspec.Struct):
    total_tokens: int | None = None


class _Units(msgspec.Struct):
    search_units: float | None = None


class _Tokens(msgspec.Struct):
    input_tokens: float | None = None


class _Meta(msgspec.Struct):
    billed_units: _Units | None = None
    tokens: _Tokens | None = None


class _Seen(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None
    meta: _Meta | None = None


class _Answer(msgspec.Struct):
    results: list[_Result]
    id: str | None = None
    model: str | None = None
    usage: _Usage | None = None
    meta: _Meta | None = None


class _Listed(msgspec.Struct):
    data: list[_Result]
    model: str | None = None
    usage: _Usage | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_LISTED = msgspec.json.Decoder(_Listed)
_SCORES = msgspec.json.Decoder(list[_Score])
_SEEN = msgspec.json.Decoder(_Seen)
_encode = msgspec.json.Encoder().encode

Writer = Callable[[RerankRequest, str, int], Rendered]


def _write_cohere(request: RerankRequest, model: str, _: int) -> Rendered:
    said: dict[str, object] = {"model": model, **common(request, "top_n")}
    if request.max_tokens_per_document is not None:
        said["max_tokens_per_doc"] = request.max_tokens_per_document
    refuse(request, "Cohere", max_tokens=True)
    return Rendered(_encode(said))


def _write_jina(request: RerankRequest, model: str, _: int) -> Rendered:
    refuse(request, "The provider")
    # Its default is to repeat the documents, which we do where they are wanted.
    said = {"model": model, **common(request, "top_n"), "return_documents": False}
    return Rendered(_encode(said))


def _write_voyage(request: RerankRequest, model: str, _: int) -> Rendered:
    refuse(request, "Voyage")
    return Rendered(_encode({"model": model, **common(request, "top_k")}))


def _write_tei(request: RerankRequest, model: str, _: int) -> Rendered:  # noqa: ARG001  it serves one
    refuse(request, "The provider")
    return Rendered(_encode({"query": request.query, "texts": request.documents}))


def common(request: RerankRequest, top: str) -> dict[str, object]:
    """Return what all say alike; `top` is what the provider calls the number wanted."""
    said: dict[str, object] = {"query": request.query, "documents": request.documents}
    if request.top_n is not None:
        said[top] = request.top_n
    return said


def refuse(request: RerankRequest, provider: str, *, max_tokens: bool = False) -> None:
    """Refuse what the provider has no word for.

    Raises:
        Unsupported: naming the field.
    """
    if request.max_tokens_per_document is not None and not max_tokens:
        raise Unsupported(
            f"{provider} has no parameter for 'max_tokens_per_doc'.",
            param="max_tokens_per_doc",
        )
    for name in request.extras:
        raise Unsupported(
            f"{provider} has no parameter for '{name}' of rerank.", param=name
        )


def _read_results(body: bytes) -> RerankAnswer:
    said = _decode(_ANSWER, body)
    return RerankAnswer(
        results=_ranked(said.results),
        id=said.id or "",
        model=said.model or "",
        usage=_usage(said.usage, said.meta),
    )


def _read_data(body: bytes) -> RerankAnswer:
    said = _decode(_LISTED, body)
    return RerankAnswer(
        results=_ranked(said.data),
        model=said.model or "",
        usage=_usage(said.usage, None),
    )


def _read_scores(body: bytes) -> RerankAnswer:
    return RerankAnswer(
        results=tuple(Ranked(one.index, one.score) for one in _decode(_SCORES, body))
    )


def _overview(body: bytes) -> Overview:
    try:
        said = _SEEN.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Overview()
    return Overview(model=said.model, usage=_usage(said.usage, said.meta))


def _ranked(results: list[_Result]) -> tuple[Ranked, ...]:
    return tuple(Ranked(one.index, one.relevance_score) for one in results)


def _usage(said: _Usage | None, meta: _Meta | None) -> Usage | None:
    if said is not None and said.total_tokens is not None:
        return Usage(input_tokens=said.total_tokens)
    if meta is None:
        return None
    # Who bills by the search may count no token: that there is none is exact then.
    tokens = meta.tokens.input_tokens if meta.tokens is not None else None
    units = meta.billed_units
    if tokens is None and units is None:
        return None
    searches = units.search_units if units is not None else None
    return Usage(input_tokens=int(tokens or 0), search_units=int(searches or 0))


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(f"cannot read the ranking: {exc}") from None


def form(
    name: str,
    write: Writer,
    read: Callable[[bytes], RerankAnswer] = _read_results,
    read_error: Callable[[int, bytes], UpstreamError] = openai_errors.read_error,
) -> ProviderFormat[RerankRequest, RerankAnswer]:
    """Return a format that reads the answers of `results` unless it is given another."""
    return ProviderFormat(
        name=name,
        operation=OPERATION,
        write_request=write,
        read_answer=read,
        read_error=read_error,
        overview=_overview,
        header_usage=_bedrock_usage,
    )


def _bedrock_usage(headers: Mapping[str, str]) -> Usage | None:
    """Read what Bedrock's InvokeModel counted."""
    count = headers.get("x-amzn-bedrock-input-token-count", "")
    return counted(count)


COHERE = form(COHERE_NAME, _write_cohere)
JINA = form(JINA_NAME, _write_jina)
"""vLLM's too."""
VOYAGE = form("voyage_rerank", _write_voyage, _read_data)
TEI = form("tei_rerank", _write_tei, _read_scores)
