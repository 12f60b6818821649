"""Whole exchanges: what clients ask, in every API, and what providers answer, at all of them.

An exchange takes in everything that lies between: members, readers, writers, routing,
translation, usage. It may refuse, and give up on a provider; it may not raise, leave a
request without its one record, or say what is no JSON.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence

import msgspec

from extproc.exchange import events
from extproc.exchange.commands import Command, Complete, Reserve, Respond, Route
from extproc.exchange.exchange import Exchange
from extproc.exchange.operations import find_operation
from extproc.formats.base import CHAT
from extproc.framing.base import SSE as FRAMES
from extproc.framing.sse import parse_frames
from extproc.providers import PROVIDERS
from extproc.runtime import Grant, ModelSpec, Runtime, Snapshot, TargetSpec
from extproc.server import codec
from tests import casebook
from tests.casebook import CLIENTS, KEY, PROVIDER_FORMATS, Upstream, cases
from tests.fuzz.decoders import FORM
from tests.fuzz.shapes import BYTES, JSON, MESSAGES, SSE, TEXT
from tests.fuzz.target import Target, pick, pieces

# ---------------------------------------------------------------- chat, asked


def _json(body: bytes) -> None:
    json.loads(body, parse_int=str)  # Python's own ends at 4,300 digits


def _refused(refusal: Respond) -> None:
    assert 400 <= refusal.status < 500, (refusal.status, refusal.body)
    assert json.loads(refusal.body)["error"]


def _asks(client: str) -> Callable[[bytes], None]:
    providers = list(PROVIDER_FORMATS)

    def run(data: bytes) -> None:
        provider = providers[pick(data, len(providers))]
        asked = casebook.ask(client, provider, data, None)
        if asked.refusal is not None:
            _refused(asked.refusal)
        else:
            assert asked.attempt is not None
            _json(asked.attempt.body)

    return run


def _requests(client: str) -> Callable[[], list[bytes]]:
    return lambda: [
        body for case in cases() if (body := case.request(client)) is not None
    ]


# ---------------------------------------------------------------- chat, answered


@functools.cache
def _plain(client: str, *, streamed: bool) -> bytes:
    (case,) = (one for one in cases() if one.name == "plain")
    request = case.request(client) or next(
        body for one in cases() if (body := one.request(client)) is not None
    )
    return casebook.asked_to_stream(request, client) if streamed else request


def _one_answer(
    client: str, provider: str, upstream: Upstream, data: Sequence[bytes]
) -> casebook.Answered | None:
    plain = _plain(client, streamed=upstream.streamed)
    asked = casebook.ask(client, provider, plain, "m")
    if asked.attempt is None:
        return None
    return casebook.answer(asked.exchange, upstream, data)


def _answers(provider: str) -> Callable[[bytes], None]:
    clients = list(CLIENTS)
    statuses = (200, 200, 200, 400, 404, 429, 500, 529)
    kinds = ("application/json", "application/json", "text/html", "")

    def run(data: bytes) -> None:
        number = pick(data, 1 << 16)
        client = clients[number % 4]
        status, kind = statuses[number // 4 % 8], kinds[number // 32 % 4]
        upstream = Upstream(kind, (data,), status)
        answered = _one_answer(client, provider, upstream, pieces(data))
        if answered is not None and client != provider:
            _json(answered.body)

    return run


def _streams(provider: str) -> Callable[[bytes], None]:
    clients = list(CLIENTS)
    framing = PROVIDER_FORMATS[provider].framing

    def run(data: bytes) -> None:
        client = clients[pick(data, 4)]
        upstream = Upstream(framing.content_type, (data,))
        answered = _one_answer(client, provider, upstream, pieces(data))
        if answered is None or client == provider:
            return
        if not answered.streamed:
            _json(answered.body)
            return
        for frame in parse_frames(answered.body):
            if frame.data != b"[DONE]":
                _json(frame.data)

    return run


def _upstreams(provider: str, way: str) -> Callable[[], list[bytes]]:
    return lambda: [
        upstream.body
        for case in cases()
        if case.operation == "chat"
        and (upstream := case.upstreams(provider).get(way)) is not None
    ]


# ---------------------------------------------------------------- everything else

OTHERS: Mapping[str, tuple[Mapping[str, object], ...]] = {
    "/v1/embeddings": (
        {"model": "openai", "input": "a"},
        {"model": "gemini", "input": ["a", "b"], "dimensions": 256, "user": "u"},
        {"model": "cohere", "input": [[1, 2], [3]], "encoding_format": "base64"},
        {"model": "bedrock", "input": [1, 2], "input_type": "query"},
    ),
    "/v1/rerank": (
        {"model": "cohere", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1},
        {"model": "jina", "query": "q", "documents": ["a"], "return_documents": True},
    ),
    "/v2/rerank": (
        {"model": "cohere", "query": "q", "documents": ["a", "b"], "top_n": 2},
        {"model": "voyage", "query": "q", "documents": ["a"], "max_tokens_per_doc": 9},
    ),
    "/v1/messages/count_tokens": (
        {"model": "anthropic", "system": "s", "messages": [{"role": "user", "content": "Hi"}]},
        {"model": "gemini", "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
        {"model": "bedrock", "messages": [{"role": "user", "content": "Hi"}], "tools": []},
    ),
    "/v1/responses/input_tokens": (
        {"model": "openai", "input": "Hi"},
        {"model": "anthropic", "input": [{"role": "user", "content": "Hi"}], "instructions": "i"},
    ),
    "/v1/responses/compact": ({"model": "openai", "input": "Hi"},),
    "/v1/images/generations": ({"model": "openai", "prompt": "p", "n": 1},),
    "/v1/audio/speech": ({"model": "openai", "input": "a", "voice": "alloy"},),
    "/v1/moderations": ({"model": "openai", "input": ["a"]}, {"input": "a"}),
}  # fmt: skip
"""Requests that are no chat; the model names the provider."""


@functools.cache
def _runtime() -> Runtime:
    def spec(name: str, model: str | None = None) -> TargetSpec:
        return TargetSpec(
            provider=name,
            type=name,
            cluster=name,
            authority="provider.test",
            base_path="/v1",
            model=model,
        )

    grant = Grant("cases", hashlib.sha256(KEY.encode()).hexdigest())
    models = [
        ModelSpec(name, (spec(name),))
        for name, one in PROVIDERS.items()
        if not one.missing(None)
    ]
    models.append(ModelSpec("*", (spec("openai"), spec("anthropic", "claude-x"))))
    return Runtime.of(Snapshot(generation=1, grants=(grant,), models=tuple(models)))


def _head(path: str, **more: str) -> dict[str, str]:
    return {
        ":method": "POST", ":path": path, "content-type": "application/json",
        "authorization": f"Bearer {KEY}", **more,
    }  # fmt: skip


def _play(
    headers: Mapping[str, str], body: Sequence[bytes]
) -> tuple[Exchange, list[Command]]:
    exchange = Exchange(_runtime(), id="gw-1", started=1_800_000_000.0, now=0.0)
    commands = exchange.receive(events.RequestHeaders(headers, end=False), 0.0)
    forwarded = any(isinstance(one, Route) for one in commands)
    for number, piece in enumerate(() if forwarded else body, 1):
        last = number == len(body)
        commands += exchange.receive(events.RequestBody(piece, end=last), 0.0)
    return exchange, commands


def _ended(exchange: Exchange, commands: list[Command]) -> None:
    commands += exchange.receive(events.Closed(), 1.0)
    codec.encode(commands)
    (record,) = (one.completion for one in commands if isinstance(one, Complete))
    msgspec.msgpack.encode(record)
    for one in commands:
        if isinstance(one, Respond) and one.status != 200:
            _refused(one)


def others(data: bytes) -> None:
    paths = list(OTHERS)
    model = pick(data, len(paths))
    exchange, commands = _play(_head(paths[model]), pieces(data))
    for one in commands:
        if isinstance(one, Route):
            for attempt in one.chain:
                _json(attempt.body)
    _ended(exchange, commands)


def others_answered(data: bytes) -> None:
    asked = [(path, one) for path, all_ in OTHERS.items() for one in all_]
    path, body = asked[pick(data, len(asked))]
    exchange, commands = _play(_head(path), [msgspec.json.encode(body)])
    if not any(isinstance(one, Route) for one in commands):
        _ended(exchange, commands)
        return
    headers = {":status": "200", "content-type": "application/json"}
    status = (200, 200, 400, 503)[pick(data, 4)]
    commands += exchange.receive(
        events.ResponseHeaders(
            status=status,
            headers=headers,
            end=False,
            details="via_upstream",
            attempts=1,
        ),
        0.0,
    )
    for piece in pieces(data):
        commands += exchange.receive(events.ResponseBody(piece, end=False), 0.0)
    commands += exchange.receive(events.ResponseBody(b"", end=True), 0.0)
    assert sum(isinstance(one, Complete) for one in commands) == 1


VECTORS: tuple[object, ...] = (
    {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
     "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}},
    {"embeddings": [{"values": [0.5, 1]}], "usageMetadata": {"promptTokenCount": 2}},
    {"id": "a", "embeddings": {"float": [[0.5]]}, "meta": {"billed_units": {"input_tokens": 1}}},
    {"embedding": [0.5], "inputTextTokenCount": 1},
    {"results": [{"index": 0, "relevance_score": 0.5}], "meta": {"billed_units": {"search_units": 1}}},
    {"object": "list", "data": [{"relevance_score": 0.5, "index": 0}], "usage": {"total_tokens": 3}},
    {"input_tokens": 3}, {"totalTokens": 3}, {"inputTokens": 3}, {"error": {"message": "m"}},
    {"created": 1, "data": [{"b64_json": "AAAA"}], "usage": {"input_tokens": 1, "output_tokens": 2}},
)  # fmt: skip


# ---------------------------------------------------------------- headers, forms, order

HEADERS = """\
:method: POST
:path: /v1/chat/completions?a=b
content-type: application/json; charset=utf-8
content-length: 20
content-encoding: identity
authorization: Bearer sk-cases
x-api-key: sk-cases
anthropic-version: 2023-06-01
x-goog-api-key: a
x-extproc-provider: openai
x-extproc-tags: a,b
x-extproc-timeout: 5
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
tracestate: a=b
baggage: a=b
x-request-id: 1
x-stainless-retry-count: 1
"""
PATHS = (
    "/v1/models", "/v1/models/%2F..%2f", "/v1/realtime?model=openai", "/v1/files/a/content",
    "/v1/audio/transcriptions", "/v1/responses/resp_1", "/health/ready", "//", "",
    "/v1/messages/batches", "/v1/batches?limit=1&after=x",
)  # fmt: skip


def headers(data: bytes) -> None:
    lines = data.decode("utf-8", "replace").split("\n")
    pairs = (line.partition(": ") for line in lines)
    head = {name.lower(): value for name, _, value in pairs}
    body = b'{"model":"openai","messages":[{"role":"user","content":"Hi"}]}'
    find_operation(head.get(":method", ""), head.get(":path", ""), head)
    _ended(*_play(head, [body]))


def _heads() -> list[bytes]:
    first = HEADERS.encode()
    return [
        first.replace(b"/v1/chat/completions?a=b", path.encode()).replace(
            b"POST", b"GET" if path[-1:] != "s" else b"POST"
        )
        for path in ("/v1/chat/completions", *PATHS)
    ]


def forms(data: bytes) -> None:
    kind = {"content-type": "multipart/form-data; boundary=7MA4YWxk"}
    paths = ("/v1/audio/transcriptions", "/v1/images/edits")
    head = _head(paths[pick(data, 2)]) | kind
    form = data.replace(b"whisper-1", b"openai")
    _ended(*_play(head, pieces(form)))


def turns(data: bytes) -> None:
    """Play events in any order: the order is the input."""
    exchange = Exchange(_runtime(), id="gw-1", started=1_800_000_000.0, now=0.0)
    body = msgspec.json.encode(OTHERS["/v1/embeddings"][0])
    commands: list[Command] = []
    answer = {":status": "200", "content-type": "application/json"}
    kinds: tuple[Callable[[], events.Event], ...] = (
        lambda: events.RequestHeaders(_head("/v1/embeddings"), end=False),
        lambda: events.RequestBody(body, end=True),
        lambda: events.RequestBody(body[:9], end=False),
        lambda: events.RequestBody(body[9:], end=True),
        events.RequestTrailers,
        lambda: events.ResponseHeaders(200, answer, False, "via_upstream", 1),
        lambda: events.ResponseHeaders(503, answer, False, "no_healthy_upstream", 0),
        lambda: events.ResponseHeaders(200, answer, True, "via_upstream", 9),
        lambda: events.ResponseBody(b"{}", end=False),
        lambda: events.ResponseBody(b"", end=True),
        events.ResponseTrailers,
        events.Expired,
        events.Closed,
    )
    for byte in data[:40]:
        commands += exchange.receive(kinds[byte % len(kinds)](), 0.0)
    commands += exchange.receive(events.Closed(), 1.0)
    assert sum(isinstance(one, Complete) for one in commands) == 1
    assert not any(isinstance(one, Reserve) for one in commands)


ORDERS = [bytes(one) for one in itertools.permutations(range(4), 3)] + [
    bytes((0, 1, 5, 8, 9)), bytes((0, 2, 3, 7)), bytes((0, 1, 6, 9)), bytes((0, 4)),
]  # fmt: skip

CHAT_PROVIDERS = tuple(
    name for name, one in PROVIDER_FORMATS.items() if one.format.operation == CHAT
)

TARGETS = (
    *(
        Target(f"request {client}", _requests(client), _asks(client), JSON)
        for client in CLIENTS
    ),
    *(
        Target(
            f"answer {name}",
            _upstreams(name, "answer"),
            _answers(name),
            JSON,
            few=len(CHAT_PROVIDERS),
        )
        for name in CHAT_PROVIDERS
    ),
    *(
        Target(
            f"stream {name}",
            _upstreams(name, "stream"),
            _streams(name),
            SSE if PROVIDER_FORMATS[name].framing is FRAMES else MESSAGES,
            few=len(CHAT_PROVIDERS),
        )
        for name in CHAT_PROVIDERS
    ),
    Target(
        "request other",
        lambda: [msgspec.json.encode(one) for all_ in OTHERS.values() for one in all_],
        others,
        JSON,
    ),
    Target(
        "answer other",
        lambda: [msgspec.json.encode(v) for v in VECTORS],
        others_answered,
        JSON,
        few=4,
    ),
    Target("headers", _heads, headers, TEXT),
    Target("form's model", lambda: [FORM], forms, BYTES, few=5),
    Target("order of events", lambda: ORDERS, turns, BYTES),
)
