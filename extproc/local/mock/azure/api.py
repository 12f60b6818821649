"""Azure OpenAI's HTTP surface: OpenAI's models behind Azure's paths, keys and filter.

https://learn.microsoft.com/azure/ai-foundry/openai/reference: `api-version` in the query
of a deployment's path, a key in `api-key` or a token of Entra ID, and what the content
filter found in every answer.
"""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Collection, Container, Iterator
from typing import Any, Final

import msgspec

from extproc.local.mock import gate
from extproc.local.mock.azure import rest
from extproc.local.mock.openai import api as openai, embeddings
from extproc.local.mock.openai.models import MODELS
from extproc.local.mock.openai.responses_memory import Shelf
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, SseEvent, Stream
from extproc.local.mock.state import Memory
from extproc.local.mock.strictjson import BadJson, read_object

PREFIX: Final = "/azure"
DEPLOYED: Final = re.compile(
    r"/openai/deployments/(?P<deployment>[^/]+)/(?P<operation>.+)"
)
V1: Final = "/openai/v1/"
VERSION: Final = re.compile(r"20\d\d-\d\d-\d\d(?:-preview)?")
AUDIENCE: Final = "https://cognitiveservices.azure.com"
"""Whom a token of Entra ID must be meant for."""
SMALL: Final = {
    "/openai/v1/embeddings": embeddings.EMBEDDINGS_PATH,
    "/openai/v1/responses/input_tokens": embeddings.COUNT_PATH,
    "/openai/responses/input_tokens": embeddings.COUNT_PATH,
}
LISTED: Final = frozenset(
    {"after", "before", "limit", "order", "purpose", "filter", "include[]"}
)
"""What a query may say beside the version, of what is kept."""
REFUSED: Final = {
    "code": "ResponsibleAIPolicyViolation",
    "content_filter_result": {
        **rest.SAFE,
        "jailbreak": {"filtered": True, "detected": True},
    },
}
"""What stands beneath the refusal of a prompt:
https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter."""


class Azure(openai.OpenAI):
    """The resource; it has a deployment of every model, under the model's own name."""

    name = "azure"

    def __init__(
        self, memory: Memory, keys: Collection[str], shelf: Shelf | None = None
    ) -> None:
        super().__init__(memory, keys, shelf)
        self._rest = rest.Rest(memory, self._shelf)

    def owns(self, request: Request) -> bool:
        """Claim `/azure`: Azure's own paths are under `/openai`, as the mock of OpenAI is."""
        return request.route.startswith(PREFIX + "/")

    def _headers(self) -> Headers:
        return (
            ("apim-request-id", self._memory.next_request_id()),
            ("x-ms-region", "Mock East"),
            ("azureml-model-session", "mock"),
        )

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"api-key", "authorization"}))
        self._check_key(request)
        route = request.route.removeprefix(PREFIX)
        query = urllib.parse.parse_qs(request.path.partition("?")[2])
        newer = route.startswith(V1)
        _check_version(query, optional=newer)
        if route in SMALL:
            _check_json(request)
            return self._compute(request, SMALL[route], headers)
        deployed = DEPLOYED.fullmatch(route)
        if deployed is not None:
            name = urllib.parse.unquote(deployed["deployment"])
            return self._deployed(request, name, deployed["operation"], headers)
        path = route.removeprefix(V1 if newer else "/openai/")
        if path == "responses" and request.method == "POST":
            _check_json(request)
            return self._answer(request, headers)
        if newer and path == "chat/completions":
            _check_json(request)
            return _filtered(self._complete(request, headers))
        if newer and path in rest.MADE:
            return self._rest.make(request, path, headers)
        return self._rest.keep(request, path, headers)

    def _deployed(
        self, request: Request, name: str, operation: str, headers: Headers
    ) -> Reply | Stream:
        """Answer for one deployment, whatever model the body names."""
        if operation in rest.MADE:
            rest.check_deployment(name, operation)
            json = (request.header("content-type") or "").startswith("application/json")
            named = _named(request, name, (name,)) if json else request
            return self._rest.make(named, operation, headers)
        if operation == "embeddings":
            _check_json(request)
            named = _named(request, name, embeddings.MODELS)
            return self._compute(named, embeddings.EMBEDDINGS_PATH, headers)
        if operation == "chat/completions":
            _check_json(request)
            return _filtered(self._complete(_named(request, name), headers))
        raise Refusal(404, "Resource not found", code="404")

    def _filter(self) -> Refusal:
        return Refusal(
            400,
            "The response was filtered due to the prompt triggering Azure OpenAI's"
            " content management policy. Please modify your prompt and retry. To learn"
            " more about our content filtering policies please read our documentation:"
            " https://go.microsoft.com/fwlink/?linkid=2198766",
            type=None,
            param="prompt",
            code="content_filter",
            more={"status": 400, "innererror": REFUSED},
        )

    def _compute(self, request: Request, path: str, headers: Headers) -> Reply | Stream:
        """Let OpenAI answer what needs no filter."""
        inner = (
            ("authorization", f"Bearer {rest.INSIDE}"),
            ("content-type", "application/json"),
        )
        small = embeddings.Embeddings(self._memory, (rest.INSIDE,))
        answer = small.respond(Request("POST", path, inner, request.body))
        return dataclasses.replace(answer, headers=headers)

    def _check_key(self, request: Request) -> None:
        key, bearer = request.header("api-key"), request.header("authorization")
        if key is not None and bearer is not None:
            raise Refusal(400, "two credentials", code="mock_unexpected_credential")
        if bearer is not None:
            token = bearer.removeprefix("Bearer ")
            # OpenAI's own client, as Microsoft documents it, sends the key like this.
            newer = request.route.startswith(f"{PREFIX}/openai/v1/")
            if newer and gate.is_key(token, self._keys, self.name):
                return
            if not self._memory.is_issued(token, AUDIENCE):
                raise Refusal(
                    401,
                    "Unauthorized. Access token is missing, invalid, audience is"
                    " incorrect (https://cognitiveservices.azure.com), or have expired.",
                    code="401",
                )
            return
        if not gate.is_key(key, self._keys, self.name):
            raise Refusal(
                401,
                "Access denied due to invalid subscription key or wrong API endpoint."
                " Make sure to provide a valid key for an active subscription and use a"
                " correct regional API endpoint for your resource.",
                code="401",
            )


def _check_json(request: Request) -> None:
    if request.method != "POST":
        raise Refusal(404, "Resource not found", code="404")
    gate.check_body_headers(request)


def _check_version(query: dict[str, list[str]], *, optional: bool) -> None:
    said = query.pop("api-version", None)
    if query.keys() - LISTED:
        name = min(query.keys() - LISTED)
        raise Refusal(400, f"unexpected in the query: {name}", code="mock_query")
    if said is None:
        if optional:
            return
        raise Refusal(404, "Resource not found", code="404")
    known = len(said) == 1 and (
        VERSION.fullmatch(said[0]) or (optional and said[0] in {"v1", "preview"})
    )
    if not known:
        raise Refusal(400, "API version not supported", code="BadRequest")


def _named(
    request: Request, deployment: str, models: Container[str] = MODELS
) -> Request:
    """Return the request with the deployment for its model: the body's does not count."""
    base = deployment.partition("[[")[0].strip()
    if base not in models:
        raise Refusal(
            404,
            "The API deployment for this resource does not exist. If you created the"
            " deployment within the last 5 minutes, please wait a moment and try again.",
            code="DeploymentNotFound",
        )
    try:
        body = read_object(request.body)
    except BadJson:
        return request  # refused where every body is read
    body["model"] = deployment
    return dataclasses.replace(request, body=msgspec.json.encode(body))


def _filtered(answer: Reply | Stream) -> Reply | Stream:
    """Return the answer with what Azure's content filter says of it."""
    if isinstance(answer, Reply):
        body = msgspec.json.decode(answer.body)
        for choice in body["choices"]:
            choice["content_filter_results"] = rest.SAFE
        body["prompt_filter_results"] = _prompt_results()
        return dataclasses.replace(answer, body=msgspec.json.encode(body))
    return dataclasses.replace(answer, events=_filtered_events(answer))


def _filtered_events(answer: Stream) -> Iterator[SseEvent]:
    first = {
        "choices": [],
        "created": 0,
        "id": "",
        "model": "",
        "object": "",
        "prompt_filter_results": _prompt_results(),
    }
    yield SseEvent(msgspec.json.encode(first))
    for event in answer.events:
        if not event.payload.startswith(b"{"):
            yield event  # the end
            continue
        chunk = msgspec.json.decode(event.payload)
        for choice in chunk.get("choices", ()):
            spoke = choice.get("delta", {}).get("content")
            choice["content_filter_results"] = rest.SAFE if spoke else {}
        yield dataclasses.replace(event, payload=msgspec.json.encode(chunk))


def _prompt_results() -> list[dict[str, Any]]:
    return [{"prompt_index": 0, "content_filter_results": rest.SAFE}]
