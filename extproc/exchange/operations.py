"""The URLs that are served: what each does, and in which dialect it answers."""

from __future__ import annotations

import enum
import urllib.parse

import msgspec

from extproc.errors import GatewayError, NotFound
from extproc.formats import openai_chat
from extproc.formats.base import ClientFormat
from extproc.routing.pick import visible_models
from extproc.runtime import Grant, Runtime


class Kind(enum.Enum):
    """How an operation is served."""

    CHAT = "chat"
    MODELS = "models"
    MODEL = "model"
    READY = "ready"
    UNKNOWN = "unknown"


class Operation(msgspec.Struct, frozen=True):
    """What a request wants."""

    kind: Kind
    format: ClientFormat
    argument: str = ""
    """What the path names, such as a model."""


_FIXED = {
    ("POST", "/v1/chat/completions"): Operation(Kind.CHAT, openai_chat.CLIENT),
    ("GET", "/v1/models"): Operation(Kind.MODELS, openai_chat.CLIENT),
    ("GET", "/health/ready"): Operation(Kind.READY, openai_chat.CLIENT),
}
UNKNOWN = Operation(Kind.UNKNOWN, openai_chat.CLIENT)
_MODEL = "/v1/models/"


def find_operation(method: str, path: str) -> Operation:
    """Return what the request line asks for; `Kind.UNKNOWN` when nothing is there."""
    path = path.partition("?")[0]
    found = _FIXED.get((method, path))
    if found is not None:
        return found
    if method == "GET" and path.startswith(_MODEL) and path != _MODEL:
        name = urllib.parse.unquote(path.removeprefix(_MODEL))
        return Operation(Kind.MODEL, openai_chat.CLIENT, name)
    return UNKNOWN


class _Model(msgspec.Struct, frozen=True):
    """https://platform.openai.com/docs/api-reference/models/object."""

    id: str
    created: int
    owned_by: str
    object: str = "model"


class _ModelList(msgspec.Struct, frozen=True):
    data: list[_Model]
    object: str = "list"


def list_models(runtime: Runtime, grant: Grant) -> bytes:
    """Return the body of ``GET /v1/models``: what this key may use."""
    names = visible_models(runtime, grant)
    return msgspec.json.encode(_ModelList([_model(runtime, name) for name in names]))


def show_model(runtime: Runtime, grant: Grant, name: str) -> bytes:
    """Return the body of ``GET /v1/models/{name}``.

    Raises:
        NotFound: it is not listed for this key.
    """
    if name not in visible_models(runtime, grant):
        raise NotFound(
            f"The model {name[:200]!r} does not exist or you do not have access to it.",
            code="model_not_found",
            param="model",
        )
    return msgspec.json.encode(_model(runtime, name))


def unknown_url(method: str, path: str) -> GatewayError:
    """Return the error for a URL that is not served."""
    return NotFound(
        f"Unknown request URL: {method} {path.partition('?')[0][:200]}.",
        code="unknown_url",
    )


def _model(runtime: Runtime, name: str) -> _Model:
    model = runtime.model(name)
    return _Model(name, runtime.created, model.owned_by if model else "extproc")
