"""The official SDKs in front of the gateway's core and the strict mocks, in one process.

What is between them in life (HTTP, Envoy, ext_proc) is not here; all that reads, writes and
judges is: real SDKs with their accumulators, the exchange with its formats, the mocks.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from unittest import mock

import anthropic
import httpx2
import openai

from extproc.exchange import events
from extproc.exchange.commands import AnswerBody, AnswerHeaders, Attempt, Respond, Route
from extproc.exchange.exchange import Exchange
from extproc.framing.eventstream import EVENT_STREAM
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.bedrock.api import Bedrock
from extproc.local.mock.connection import event_bytes
from extproc.local.mock.gemini.api import Gemini
from extproc.local.mock.openai.api import OpenAI
from extproc.local.mock.reply import Reply, Request, SseEvent, Stream
from extproc.local.mock.state import Memory
from extproc.providers import PROVIDERS
from extproc.runtime import Grant, ModelSpec, Runtime, Snapshot, TargetSpec
from tests.casebook import PROVIDER_FORMATS
from tests.replay.thinker import Thinker

KEY: Final = "sk-replay"
_BEARER: Final = ("authorization", "Bearer sk-mock-1")


@dataclasses.dataclass(frozen=True)
class Place:
    """A provider: its type, where it is, the model that thinks, its judge."""

    type: str
    base_path: str
    model: str
    judge: Callable[..., Any]
    headers: tuple[tuple[str, str], ...] = (_BEARER,)
    replaced: bool = False
    """Of this format only, although its type has others."""


PLACES: Final[Mapping[str, Place]] = {
    "openai": Place("openai", "/v1", "gpt-5", OpenAI),
    "openai_chat": Place("openai_chat", "/v1", "gpt-5", OpenAI, replaced=True),
    "openai_responses": Place(
        "openai_responses", "/v1", "gpt-5", OpenAI, replaced=True
    ),
    "deepseek": Place("deepseek", "/v1", "deepseek-v4-pro", Thinker),
    "anthropic": Place(
        "anthropic", "/v1", "claude-sonnet-4-5", Anthropic,
        (("x-api-key", "sk-mock-1"), ("anthropic-version", "2023-06-01")),
    ),
    "gemini": Place(
        "gemini", "/v1beta", "gemini-3.5-flash", Gemini,
        (("x-goog-api-key", "sk-mock-1"),),
    ),
    "converse": Place(
        "bedrock", "", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", Bedrock
    ),
}  # fmt: skip


class Gateway:
    """One caller's way to every provider; a model is called as its place."""

    def __init__(self) -> None:
        memory = Memory(lambda: 1.7e9)
        kinds = {place.judge for place in PLACES.values()}
        judges = {kind: kind(memory, ("sk-mock-*",)) for kind in kinds}
        self._judges = {name: judges[place.judge] for name, place in PLACES.items()}
        replaced = {
            name: PROVIDER_FORMATS[name] for name, one in PLACES.items() if one.replaced
        }
        models = tuple(
            ModelSpec(
                name,
                (
                    TargetSpec(
                        provider=name, type=place.type, cluster=name,
                        authority="provider.test", base_path=place.base_path,
                        model=place.model,
                    ),
                ),
            )
            for name, place in PLACES.items()
        )  # fmt: skip
        grant = Grant("replay", hashlib.sha256(KEY.encode()).hexdigest())
        with mock.patch.dict(PROVIDERS, replaced):
            self._runtime = Runtime.of(
                Snapshot(generation=1, grants=(grant,), models=models)
            )
        self._asked = 0
        self.forget()
        http = httpx2.Client(transport=httpx2.MockTransport(self._serve))
        self.openai = openai.OpenAI(
            api_key=KEY, base_url="http://gateway.test/v1", max_retries=0,
            http_client=http,
        )  # fmt: skip
        self.anthropic = anthropic.Anthropic(
            api_key=KEY, base_url="http://gateway.test", max_retries=0,
            http_client=http,
        )  # fmt: skip

    def forget(self) -> None:
        """Begin a new conversation."""
        self.sent: list[dict[str, Any]] = []
        """The bodies that reached a provider."""
        self.given: list[Any] = []
        """What it answered: a body, or the events of a stream."""
        self.dropped: list[list[str]] = []
        """What each answer reported."""

    def _serve(self, request: httpx2.Request) -> httpx2.Response:
        self._asked += 1
        exchange = Exchange(
            self._runtime, id=f"gw-{self._asked}", started=1.8e9, now=0.0
        )
        headers = {
            **dict(request.headers), ":method": "POST", ":path": request.url.path,
        }  # fmt: skip
        commands = exchange.receive(events.RequestHeaders(headers, end=False), 0.0)
        body = request.read()
        commands += exchange.receive(events.RequestBody(body, end=True), 0.0)
        match commands[0]:
            case Route(chain=(attempt, *_)):
                return self._answer(exchange, attempt)
            case Respond(status, said):
                return httpx2.Response(status, content=said, headers=_JSON)
            case _:
                raise AssertionError(commands)

    def _answer(self, exchange: Exchange, attempt: Attempt) -> httpx2.Response:
        self.sent.append(json.loads(attempt.body))
        place = PLACES[attempt.cluster]
        asked = Request(
            "POST", attempt.heading.path,
            (("content-type", "application/json"), *place.headers), attempt.body,
        )  # fmt: skip
        reply = self._judges[attempt.cluster].respond(asked)
        assert isinstance(reply, Reply | Stream)
        got = {"content-type": reply.content_type}
        status = reply.status
        head = events.ResponseHeaders(
            status=status, headers=got, end=False, details="via_upstream", attempts=1
        )
        commands = exchange.receive(head, 0.0)
        if isinstance(reply, Stream):
            reply = dataclasses.replace(reply, events=list(reply.events))
        self.given.append(_read(reply))
        for piece in (
            [reply.body]
            if isinstance(reply, Reply)
            else [event_bytes(event, "\n") for event in reply.events]
        ):
            commands += exchange.receive(events.ResponseBody(piece, end=False), 0.0)
        commands += exchange.receive(events.ResponseBody(b"", end=True), 0.0)
        body = b""
        for command in commands:
            if isinstance(command, AnswerHeaders):
                status = command.status or status
                got |= dict(command.set_headers)
            elif isinstance(command, AnswerBody):
                body += command.data
        self.dropped.append(
            [one for one in got.get("x-extproc-dropped", "").split(", ") if one]
        )
        return httpx2.Response(status, content=body, headers=got)


def _read(reply: Reply | Stream) -> Any:
    if isinstance(reply, Reply):
        return json.loads(reply.body)
    told = [_payload(event) for event in reply.events if event.payload != b"[DONE]"]
    deltas = [
        one.get("delta", {}) for event in told for one in event.get("choices", ())
    ]
    thought = "".join(one.get("reasoning_content", "") for one in deltas)
    return {"reasoning_content": thought} if thought else told


def _payload(event: SseEvent) -> Any:
    if not event.framed:
        return json.loads(event.payload)
    (frame,) = EVENT_STREAM.decoder().feed(event.payload)
    return json.loads(frame.data)


_JSON: Final = {"content-type": "application/json"}
