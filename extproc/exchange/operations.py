"""The URLs that are served: what each does, and in which dialect it answers."""

from __future__ import annotations

import enum
import urllib.parse
from collections.abc import Mapping

import msgspec

from extproc.canonical import ListedModel
from extproc.errors import GatewayError, NotFound
from extproc.formats import (
    anthropic,
    openai_chat,
    openai_completions,
    openai_responses,
)
from extproc.formats.anthropic import count_tokens
from extproc.formats.base import AnyClientFormat
from extproc.formats.embeddings import openai as openai_embeddings
from extproc.formats.openai_responses import input_tokens
from extproc.formats.rerank import clients as rerank
from extproc.routing.pick import visible_models
from extproc.runtime import Grant, Runtime


class Kind(enum.Enum):
    """How an operation is served."""

    RENDERED = "rendered"
    """The model in its body decides who serves it, and each attempt is rendered."""
    MODELS = "models"
    MODEL = "model"
    READY = "ready"
    UNKNOWN = "unknown"


class Operation(msgspec.Struct, frozen=True):
    """What a request wants."""

    kind: Kind
    format: AnyClientFormat
    argument: str = ""
    """What the path names, such as a model."""

    @property
    def name(self) -> str:
        """What the completion's record calls it."""
        if self.kind is Kind.RENDERED:
            return self.format.operation
        return str(self.kind.value)


_RENDERED: dict[str, AnyClientFormat] = {
    "/v1/chat/completions": openai_chat.CLIENT,
    "/v1/completions": openai_completions.CLIENT,
    "/v1/responses": openai_responses.CLIENT,
    "/v1/responses/input_tokens": input_tokens.CLIENT,
    "/v1/embeddings": openai_embeddings.CLIENT,
    "/v1/rerank": rerank.JINA_CLIENT,
    "/v2/rerank": rerank.COHERE_CLIENT,
    "/v1/messages": anthropic.CLIENT,
    "/v1/messages/count_tokens": count_tokens.CLIENT,
}
_FIXED = {
    **{
        ("POST", path): Operation(Kind.RENDERED, form)
        for path, form in _RENDERED.items()
    },
    ("GET", "/health/ready"): Operation(Kind.READY, openai_chat.CLIENT),
}
UNKNOWN = Operation(Kind.UNKNOWN, openai_chat.CLIENT)
_MODELS = "/v1/models"
_MESSAGES = "/v1/messages"


def find_operation(method: str, path: str, headers: Mapping[str, str]) -> Operation:
    """Return what the request line asks for; `Kind.UNKNOWN` when nothing is there."""
    path = path.partition("?")[0]
    found = _FIXED.get((method, path))
    if found is not None:
        return found
    # Two APIs have the same URL for their models; only one of them states its version.
    form = anthropic.CLIENT if "anthropic-version" in headers else openai_chat.CLIENT
    if method == "GET" and path.startswith(_MODELS):
        if path == _MODELS:
            return Operation(Kind.MODELS, form)
        name = urllib.parse.unquote(path.removeprefix(_MODELS + "/"))
        return Operation(Kind.MODEL, form, name)
    if path.startswith(_MESSAGES):
        return Operation(Kind.UNKNOWN, anthropic.CLIENT)
    return UNKNOWN


def list_models(runtime: Runtime, grant: Grant) -> list[ListedModel]:
    """Return the models that this key may use."""
    return [_listed(runtime, name) for name in visible_models(runtime, grant)]


def show_model(runtime: Runtime, grant: Grant, name: str) -> ListedModel:
    """Return one of the models that this key may use.

    Raises:
        NotFound: it is not listed for this key.
    """
    if name not in visible_models(runtime, grant):
        raise NotFound(
            f"The model {name[:200]!r} does not exist or you do not have access to it.",
            code="model_not_found",
            param="model",
        )
    return _listed(runtime, name)


def unknown_url(method: str, path: str) -> GatewayError:
    """Return the error for a URL that is not served."""
    return NotFound(
        f"Unknown request URL: {method} {path.partition('?')[0][:200]}.",
        code="unknown_url",
    )


def _listed(runtime: Runtime, name: str) -> ListedModel:
    model = runtime.model(name)
    return ListedModel(name, runtime.created, model.owned_by if model else "extproc")
