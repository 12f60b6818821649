"""The URLs that are served: what each does, and in which dialect it answers."""

from __future__ import annotations

import enum
import re
import urllib.parse
from collections.abc import Mapping
from typing import Final

import msgspec

from extproc.canonical import ListedModel
from extproc.errors import GatewayError, NotFound
from extproc.formats import (
    anthropic,
    openai_chat,
    openai_completions,
    openai_endpoints,
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
    FORM = "form"
    """The model in a form decides, and the form passes as it comes."""
    FORWARDED = "forwarded"
    """Its path and headers decide, and its body passes unseen."""
    REALTIME = "realtime"
    """A WebSocket: its query decides, and what is said on it passes unseen."""
    MODELS = "models"
    MODEL = "model"
    READY = "ready"
    UNKNOWN = "unknown"


# To ask an enum for a member by its name is ten times as slow as this.
RENDERED: Final = Kind.RENDERED
FORM: Final = Kind.FORM
READY: Final = Kind.READY
REALTIME: Final = Kind.REALTIME


class Operation(msgspec.Struct, frozen=True):
    """What a request wants."""

    kind: Kind
    format: AnyClientFormat
    argument: str = ""
    """What the path names, such as a model."""
    name: str = ""
    """What the completion's record calls it; follows from the others."""

    def __post_init__(self) -> None:
        """Name it."""
        match self.kind:
            case Kind.RENDERED | Kind.FORM | Kind.REALTIME:
                name = self.format.recorded or self.format.operation
            case Kind.FORWARDED:
                name = self.argument
            case _:
                name = str(self.kind.value)
        msgspec.structs.force_setattr(self, "name", name)


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
    **{
        f"/v1{endpoint.path}": endpoint.client
        for endpoint in openai_endpoints.SENT_AS_JSON
    },
}
_FORMS: dict[str, AnyClientFormat] = {
    f"/v1{endpoint.path}": endpoint.client for endpoint in openai_endpoints.FORMS
}
REALTIME_PATH = "/v1/realtime"
KEPT = (
    "files", "uploads", "batches", "fine_tuning", "vector_stores", "assistants",
    "threads", "conversations", "containers", "evals", "videos", "skills",
)  # fmt: skip
"""What OpenAI keeps by an id: https://platform.openai.com/docs/api-reference. The name is
also that of the operation in records."""
BATCHES = "messages/batches"
"""Anthropic's."""
ANSWERS = ("responses", "chat/completions")
"""Stored too, each under its id: what is at the path itself is asked for."""
LISTED = "/v1/chat/completions"
"""What a GET lists of the stored ones: https://platform.openai.com/docs/api-reference/chat/list."""
_KEPT = re.compile(
    rf"/v1/(?:({'|'.join(KEPT)})(?:/.*)?|messages/(batches)(?:/.*)?"
    rf"|({'|'.join(ANSWERS)})/.+)"
)
_FIXED = {
    **{
        ("POST", path): Operation(Kind.RENDERED, form)
        for path, form in _RENDERED.items()
    },
    ("GET", REALTIME_PATH): Operation(Kind.REALTIME, openai_endpoints.REALTIME.client),
    ("GET", "/health/ready"): Operation(Kind.READY, openai_chat.CLIENT),
}
_PLAIN = {line: found for line, found in _FIXED.items() if line[1] not in _FORMS}
"""Those that the request line alone decides."""
UNKNOWN = Operation(Kind.UNKNOWN, openai_chat.CLIENT)
_MODELS = "/v1/models"
_MESSAGES = "/v1/messages"


def find_operation(method: str, path: str, headers: Mapping[str, str]) -> Operation:
    """Return what the request line asks for; `Kind.UNKNOWN` when nothing is there."""
    found = _PLAIN.get((method, path))
    if found is not None:
        return found
    path = path.partition("?")[0]
    found = _find_form(method, path, headers) or _FIXED.get((method, path))
    if found is not None:
        return found
    # Two APIs have the same URL for their models; only one of them states its version.
    speaks_anthropic = "anthropic-version" in headers or path.startswith(_MESSAGES)
    form = anthropic.CLIENT if speaks_anthropic else openai_chat.CLIENT
    if method == "GET" and path.startswith(_MODELS):
        if path == _MODELS:
            return Operation(Kind.MODELS, form)
        name = urllib.parse.unquote(path.removeprefix(_MODELS + "/"))
        return Operation(Kind.MODEL, form, name)
    name = _kept(method, path)
    if name:
        return Operation(Kind.FORWARDED, form, name)
    return Operation(Kind.UNKNOWN, form) if path.startswith(_MESSAGES) else UNKNOWN


def _kept(method: str, path: str) -> str:
    """Return what is kept by its id there; empty: nothing."""
    if (method, path) == ("GET", LISTED):
        return "chat_completions"
    if method == "DELETE" and path.startswith(_MODELS + "/"):
        # Fine-tuned ones can be: https://platform.openai.com/docs/api-reference/models.
        return "models"
    kept = _KEPT.fullmatch(path)
    return "" if kept is None else kept[kept.lastindex or 0].replace("/", "_")


def _find_form(method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
    """Return the operation of a form, if this is one; some may be sent as JSON too."""
    form = _FORMS.get(path) if method == "POST" else None
    if form is None or headers.get("content-type", "").startswith("application/json"):
        return None
    return Operation(Kind.FORM, form)


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
