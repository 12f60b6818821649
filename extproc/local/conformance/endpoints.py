"""What is served beside chats: vectors, rankings and counts, each in its clients' API.

Who has nothing of the kind says so; whose API it is not, is asked in its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from extproc.local.conformance.checks import Wrong
from extproc.local.conformance.gateway import Gateway, Refused, Unserved
from extproc.local.conformance.prompts import Json


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One URL, and what is asked there."""

    feature: str
    path: str
    said: Json
    """The request, but for its model."""
    check: Callable[[Json], None]
    models: Mapping[str, str]
    """Who is asked for what; others are asked for their chat model, and refuse."""
    unmocked: frozenset[str] = frozenset()
    """Who would serve it, but has no mock of it."""


def _vectors(count: int) -> Callable[[Json], None]:
    def check(answer: Json) -> None:
        made = answer["data"]
        if [one["index"] for one in made] != list(range(count)):
            raise Wrong(f"it has {len(made)} vectors, not {count}")
        if not all(isinstance(one["embedding"], list) for one in made):
            raise Wrong("its vectors are no numbers")
        if not isinstance(answer["usage"]["prompt_tokens"], int):
            raise Wrong("it counts nothing")

    return check


def _ranked(answer: Json) -> None:
    best: Json = answer["results"][0]
    if (len(answer["results"]), best["index"]) != (1, 1):
        raise Wrong(f"the best of all is {best!r}")


def _counted(answer: Json) -> None:
    if answer["input_tokens"] < 3:
        raise Wrong(f"it counts {answer!r}")


_TEXTS: Final = {"input": ["the sun", "the moon"]}
_EMBEDDERS: Final = {
    "openai": "text-embedding-3-small",
    "azure": "text-embedding-3-small",
    "gemini": "gemini-embedding-001",
    "vertex": "gemini-embedding-001",
    "bedrock": "cohere.embed-v4:0",
    "cohere": "embed-v4.0",
    "mistral": "mistral-embed",
    "voyage": "voyage-3.5",
}
_RANKERS: Final = {
    "bedrock": "cohere.rerank-v3-5:0",
    "cohere": "rerank-v3.5",
    "jina": "jina-reranker-v2-base-multilingual",
    "voyage": "rerank-2.5",
    "tei": "bge-reranker-base",
}
_RANKING: Final = {"query": "sun", "documents": ["moon", "sun"], "top_n": 1}
_HELLO: Final = {"messages": [{"role": "user", "content": "Hello there, you"}]}
ENDPOINTS: Final = (
    Endpoint(
        "vectors", "/v1/embeddings", _TEXTS, _vectors(2), _EMBEDDERS, frozenset({"tei"}),
    ),
    Endpoint(
        "vectors in base64", "/v1/embeddings",
        {"input": "the sun", "encoding_format": "base64"},
        lambda answer: _base64(answer["data"][0]["embedding"]), _EMBEDDERS,
        frozenset({"tei"}),
    ),
    Endpoint("ranking (Jina's API)", "/v1/rerank", _RANKING, _ranked, _RANKERS),
    Endpoint("ranking (Cohere's API)", "/v2/rerank", _RANKING, _ranked, _RANKERS),
    Endpoint(
        "tokens counted (Anthropic's API)", "/v1/messages/count_tokens", _HELLO, _counted,
        {},
    ),
    Endpoint(
        "tokens counted (OpenAI's API)", "/v1/responses/input_tokens",
        {"input": "Hello there, you"}, _counted, {},
    ),
)  # fmt: skip


def _base64(vector: Any) -> None:  # noqa: ANN401  JSON is anything
    if not isinstance(vector, str):
        raise Wrong("its vector is no text in base64")


def play_endpoint(
    gateway: Gateway, endpoint: Endpoint, provider: str, model: str
) -> tuple[Literal["pass", "fail", "unsupported"], str]:
    """Return the outcome and the reason."""
    try:
        answer = gateway.post(
            provider, endpoint.path, {"model": model, **endpoint.said}
        )
        endpoint.check(answer)
    except Refused as refused:
        if refused.status == 400 and refused.field:
            return "unsupported", f"{refused.field}: {refused}"
        return "fail", f"refused with {refused.status}: {refused}"
    except Unserved as unserved:
        return "unsupported", f"the provider itself: {unserved}"
    except Wrong as wrong:
        return "fail", str(wrong)
    except (LookupError, TypeError, msgspec.DecodeError) as error:
        return "fail", f"the answer cannot be read: {error!r}"
    return "pass", ""
