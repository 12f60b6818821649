"""What every provider has to stand that serves vectors, rankings or counts of tokens.

A provider that is added to `PROVIDERS`, or is given another API, is asked here without
further ado: by a client's request through the exchange, with the mock of its own to judge
what it is sent.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from extproc.exchange import events
from extproc.exchange.commands import AnswerBody, Attempt, Complete, Route
from extproc.exchange.completion import Completion
from extproc.exchange.exchange import Exchange
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.azure.api import Azure
from extproc.local.mock.bedrock.invoke import Invoke
from extproc.local.mock.gemini.embeddings import Counts
from extproc.local.mock.openai.embeddings import Embeddings
from extproc.local.mock.reply import Provider as Mock, Reply, Request
from extproc.local.mock.services import Services
from extproc.local.mock.state import Memory
from extproc.local.mock.vertex.api import AUDIENCE, Vertex
from extproc.providers import PROVIDERS
from extproc.providers.base import Dialect, Provider
from extproc.providers.presets import PRESETS
from extproc.runtime import Grant, ModelSpec, Runtime, Snapshot, TargetSpec

Json = dict[str, Any]
KEY = "sk-calls"
GRANT = Grant("calls", hashlib.sha256(KEY.encode()).hexdigest())
MEMORY = Memory(lambda: 0.0)
TOKEN = MEMORY.issue(AUDIENCE, 3600)
MOCKS: list[Mock] = [
    kind(MEMORY, ["sk-mock*"])
    for kind in (Embeddings, Counts, Invoke, Services, Azure, Vertex, Anthropic)
]
SAY = [{"role": "user", "content": "How is the weather in Rome?"}]
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def embeds(said: Json) -> bool:
    return len(said["data"][0]["embedding"]) > 7


def ranks(said: Json) -> bool:
    return {one["index"] for one in said["results"]} == {0, 1}


def counts(said: Json) -> bool:
    return int(said["input_tokens"]) > 5


OPERATIONS: dict[str, tuple[dict[str, Json], Callable[[Json], bool]]] = {
    "embeddings": ({"/v1/embeddings": {"input": "the sun"}}, embeds),
    "rerank": (
        {
            path: {"query": "sun", "documents": ["the sun", "the moon"]}
            for path in ("/v1/rerank", "/v2/rerank")
        },
        ranks,
    ),
    "count_tokens": (
        {
            "/v1/messages/count_tokens": {"messages": SAY},
            "/v1/responses/input_tokens": {"input": "How is the weather in Rome?"},
        },
        counts,
    ),
}
"""What clients ask, by the path; and what they must hear."""

MODELS = {
    "openai_embeddings": "text-embedding-3-small",
    "openai_input_tokens": "gpt-4o",
    "anthropic_count_tokens": "claude-sonnet-4-5",
    "gemini_batch_embed": "gemini-embedding-001",
    "gemini_count_tokens": "gemini-2.5-flash",
    "vertex_count_tokens": "gemini-2.5-flash",
    "vertex_embed_content": "gemini-embedding-2",
    "vertex_predict_embed": "text-embedding-005",
    "converse_count_tokens": CLAUDE,
    "titan_embed": "amazon.titan-embed-text-v2:0",
    "bedrock_cohere_embed": "cohere.embed-english-v3",
    "bedrock_cohere_rerank": "cohere.rerank-v3-5:0",
    "bedrock_amazon_rerank": "amazon.rerank-v1:0",
    "cohere_embed": "embed-v4.0",
    "cohere_rerank": "rerank-v3.5",
    "jina_rerank": "jina-reranker-v2",
    "mistral_embeddings": "mistral-embed",
    "voyage_embeddings": "voyage-3.5",
    "voyage_rerank": "rerank-2.5",
    "tei_rerank": "bge",
}
"""A model of each format; those of a cloud's house have other names."""

HOUSES = {
    "bedrock-anthropic": CLAUDE,
    "vertex-anthropic": "claude-sonnet-4-5@20250929",
}

PLACE = {"project": "p-1", "location": "us-east5"}
BASES = {
    "azure": "/azure", "vertex": "/vertex/v1", "vertex-anthropic": "/vertex/v1",
    "cohere": "/cohere/v2", "jina": "/jina/v1", "voyage": "/voyage/v1",
    "mistral": "/mistral/v1",
}  # fmt: skip
"""Where the mocks are that all are at one host."""

VARIANTS: dict[str, list[dict[str, str]]] = {
    "azure": [{}, {"api_version": "2024-10-21"}],
    "vertex": [{}, PLACE],
    "vertex-anthropic": [PLACE],
}
"""The settings that make addresses of their own."""


ONE_OF_MANY = next(iter(PRESETS))


@dataclasses.dataclass(frozen=True)
class Served:
    """One API of a provider, at one of its addresses."""

    type: str
    settings: dict[str, str]
    provider: Provider
    dialect: Dialect

    def __str__(self) -> str:
        place = "-".join([self.type, *self.settings])
        return f"{place}: {self.dialect.format.name}"

    @property
    def model(self) -> str:
        return HOUSES.get(self.type, MODELS[self.dialect.format.name])

    @property
    def base(self) -> str:
        """Return the path of the base URL, as the mock has it."""
        own = urllib.parse.urlsplit(self.provider.base_url).path
        form = self.dialect.format.name
        if self.type == "tei":
            return "/tei" if form == "tei_rerank" else ""
        if self.type in PRESETS or self.type == "openai":
            # The APIs of many; its own address is looked at elsewhere.
            return "/vllm/v1" if form == "jina_rerank" else "/v1"
        return BASES.get(self.type, own)


def served() -> Iterator[Served]:
    """Yield what has no chat, of every provider at each kind of address.

    Presets have the same: of them the first is asked.
    """
    for type_, kind in PROVIDERS.items():
        if type_ in PRESETS and type_ != ONE_OF_MANY:
            continue
        for settings in VARIANTS.get(type_, [{}]):
            provider = kind.located(settings)
            main = Dialect(provider.format, provider.chat_path)
            for dialect in (main, *provider.others):
                if dialect.format.operation in OPERATIONS:
                    yield Served(type_, settings, provider, dialect)


def runtime(one: Served) -> Runtime:
    target = TargetSpec(
        provider=one.type, type=one.type, cluster=one.type, authority="mock.test",
        base_path=one.base, settings=tuple(one.settings.items()),
    )  # fmt: skip
    return Runtime.of(
        Snapshot(generation=1, grants=(GRANT,), models=(ModelSpec("*", (target,)),))
    )


def answered(one: Served, attempt: Attempt) -> Reply:
    """Return what the provider's mock says to an attempt."""
    kind = one.provider
    name, value = kind.credential_header, f"{kind.credential_prefix}sk-mock-1"
    if "project" in one.settings:
        name, value = "authorization", f"Bearer {TOKEN}"
    headers = {**dict(attempt.heading.set_headers), name: value}
    sent = Request("POST", attempt.heading.path, tuple(headers.items()), attempt.body)
    (mock,) = [one for one in MOCKS if one.owns(sent)]
    reply = mock.respond(sent)
    assert isinstance(reply, Reply)
    return reply


def ask(one: Served, path: str, body: Json) -> tuple[Json, Completion]:
    """Return what a client hears, and the exchange's record."""
    exchange = Exchange(runtime(one), id="gw-1", started=1.0, now=1.0)
    head = {
        ":method": "POST", ":path": path, "content-type": "application/json",
        "authorization": f"Bearer {KEY}",
    }  # fmt: skip
    said = json.dumps({"model": one.model, **body}).encode()
    commands = exchange.receive(events.RequestHeaders(head, end=False), 1.0)
    commands += exchange.receive(events.RequestBody(said, end=True), 1.0)
    assert isinstance(commands[0], Route), commands
    reply = answered(one, commands[0].chain[0])
    assert reply.status == 200, reply.body
    headers = {"content-type": reply.content_type, **dict(reply.headers)}
    told = exchange.receive(
        events.ResponseHeaders(
            status=200, headers=headers, end=False, details="via_upstream", attempts=1
        ),
        2.0,
    )
    told += exchange.receive(events.ResponseBody(reply.body, end=True), 2.0)
    (record,) = [one.completion for one in told if isinstance(one, Complete)]
    heard = b"".join(one.data for one in told if isinstance(one, AnswerBody))
    return json.loads(heard), record


@pytest.mark.parametrize("type_", PRESETS)
def test_a_preset_serves_what_the_one_serves_that_is_asked(type_: str):
    others, asked = PROVIDERS[type_].others, PROVIDERS[ONE_OF_MANY].others
    calls = [one for one in others if one.format.operation in OPERATIONS]
    assert calls == [one for one in asked if one.format.operation in OPERATIONS]


def test_every_format_has_a_model_to_be_asked_for():
    assert {one.dialect.format.name for one in served()} == MODELS.keys()


@pytest.mark.parametrize("one", list(served()), ids=str)
def test_every_provider_answers_what_it_serves(one: Served):
    requests, is_answer = OPERATIONS[one.dialect.format.operation]
    for path, body in requests.items():
        said, record = ask(one, path, body)
        assert is_answer(said), said
        assert record.usage is not None or one.dialect.format.name == "tei_rerank"
        assert record.request_model == one.model
