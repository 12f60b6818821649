"""What of Azure OpenAI is not chat: pictures, sound, files and what is kept by an id.

https://learn.microsoft.com/azure/ai-foundry/openai/reference and
https://learn.microsoft.com/azure/ai-foundry/openai/latest. OpenAI's mock answers, behind
Azure's own paths: a deployment's for what a model makes, ``/openai`` for what is kept.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import msgspec

from extproc.local.mock.openai.labs import Labs
from extproc.local.mock.openai.library import Library
from extproc.local.mock.openai.media import MODELS, Media
from extproc.local.mock.openai.responses_kept import KeptResponses
from extproc.local.mock.openai.responses_memory import Shelf
from extproc.local.mock.openai.stored import Stored
from extproc.local.mock.reply import Headers, Provider, Refusal, Reply, Request, Stream
from extproc.local.mock.state import Memory

INSIDE: Final = "sk-mock-inside"
"""What OpenAI's mock is shown in place of Azure's key."""

MADE: Final = {
    "images/generations": "images", "images/edits": "images", "audio/speech": "speech",
    "audio/transcriptions": "transcriptions", "audio/translations": "transcriptions",
}  # fmt: skip
"""What a deployment makes, and of which models."""
KEPT: Final = (
    "files", "batches", "uploads", "fine_tuning", "vector_stores", "responses",
    "conversations", "evals", "containers",
)  # fmt: skip


class Rest:
    """OpenAI's mocks, for a resource of Azure's."""

    def __init__(self, memory: Memory, shelf: Shelf) -> None:
        inside = (INSIDE,)
        files = Stored(memory, inside)
        self._media = Media(memory, inside)
        self._kept: tuple[Provider, ...] = (
            files,
            Library(memory, inside, files),
            Labs(memory, inside, files),
            KeptResponses(memory, inside, shelf),
        )

    def make(self, request: Request, path: str, headers: Headers) -> Reply | Stream:
        """Answer what a model makes at `path`, which is behind the version."""
        asked = _inside(request, f"/v1/{path}")
        answer = self._media.respond(asked)
        if isinstance(answer, Reply) and path.startswith("images/"):
            answer = _judged(answer)
        return dataclasses.replace(answer, headers=headers)

    def keep(self, request: Request, path: str, headers: Headers) -> Reply | Stream:
        """Answer what is about things that have an id.

        Raises:
            Refusal: nothing of Azure's is there.
        """
        asked = _inside(request, f"/v1/{path}")
        if path.partition("/")[0] in KEPT:
            for one in self._kept:
                if one.owns(asked):
                    return dataclasses.replace(one.respond(asked), headers=headers)
        raise Refusal(404, "Resource not found", code="404")


def check_deployment(name: str, path: str) -> None:
    """Refuse a deployment of a model that makes something else.

    Raises:
        Refusal: it does.
    """
    if name not in MODELS[MADE[path]]:
        raise Refusal(
            404,
            "The API deployment for this resource does not exist. If you created the"
            " deployment within the last 5 minutes, please wait a moment and try again.",
            code="DeploymentNotFound",
        )


def _inside(request: Request, path: str) -> Request:
    """Return the request as OpenAI would be asked; the query is Azure's."""
    kept = tuple(
        (name, value)
        for name, value in request.headers
        if name not in {"api-key", "authorization"}
    )
    headers = (("authorization", f"Bearer {INSIDE}"), *kept)
    return dataclasses.replace(request, path=path, headers=headers)


def _judged(answer: Reply) -> Reply:
    """Add what the filter says of pictures."""
    said: dict[str, Any] = msgspec.json.decode(answer.body)
    for picture in said.get("data", ()):
        picture["content_filter_results"] = SAFE
        picture["prompt_filter_results"] = {
            **SAFE, "jailbreak": {"filtered": False, "detected": False},
        }  # fmt: skip
    return dataclasses.replace(answer, body=msgspec.json.encode(said))


SAFE: Final = {
    kind: {"filtered": False, "severity": "safe"}
    for kind in ("hate", "self_harm", "sexual", "violence")
}
"""What the filter says of what it lets through."""
