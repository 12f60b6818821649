"""Traps that gateways before this one fell into: each has its proof, here or elsewhere.

`TRAPS` names them all; a proof that is gone, renamed, or asserts nothing fails the table's
own test.
"""

from __future__ import annotations

import ast
import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from extproc.config.compile import Layout, access_log, compile_envoy
from extproc.config.load import autoconfig
from extproc.exchange import events
from extproc.exchange.commands import Respond, Route
from extproc.exchange.exchange import Exchange
from tests import casebook
from tests.casebook import CLIENTS, PROVIDER_FORMATS, Upstream, cases
from tests.oracles.clients import CLIENTS as SDKS
from tests.oracles.events import cut

HERE = "tests/test_traps.py"
CASES = "tests/test_cases.py"
EXCHANGE = "tests/exchange/test_exchange.py"
PASSAGE = "tests/formats/test_openai_passage.py"

TRAPS = {
    "a heartbeat in the middle of a line": (
        (HERE, "test_a_heartbeat_stands_between_events_and_nowhere_else"),
        (HERE, "test_the_providers_own_heartbeats_change_nothing"),
    ),
    "a blank line after a comment": (
        (HERE, "test_no_empty_event_follows_a_comment"),
        (HERE, "test_the_providers_own_heartbeats_change_nothing"),
    ),
    "[DONE] on a Responses stream": (
        (HERE, "test_a_responses_stream_has_no_done"),
        (HERE, "test_done_behind_a_providers_responses_stream_is_no_event"),
    ),
    "an error inside a 200 stream": (
        (CASES, "test_each_sdk_hears_what_the_case_says"),
        (HERE, "test_an_error_inside_a_200_stream_is_an_error_in_the_books"),
    ),
    "an error inside a whole 200 answer": (
        (HERE, "test_an_error_in_place_of_a_whole_answer_is_one"),
    ),
    "cached tokens counted twice": (
        (CASES, "test_usage_is_counted_once_and_in_one_convention"),
        (HERE, "test_cached_tokens_are_a_part_of_the_input"),
    ),
    "include_usage to a backend that refuses it": (
        (HERE, "test_a_backend_that_knows_no_include_usage_is_not_asked"),
    ),
    "the usage chunk that nobody asked for": (
        (EXCHANGE, "test_a_streams_usage_is_read_and_shown_to_a_client_that_asked"),
        (PASSAGE, "test_only_the_usage_that_nobody_asked_for_is_left_out"),
        (HERE, "test_no_chunk_has_usage_unless_the_client_asked"),
    ),
    "stream_options twice": (
        (HERE, "test_stream_options_are_there_once"),
        ("tests/framing/test_members.py", "test_a_key_given_twice_is_refused"),
    ),
    "no messages": ((HERE, "test_a_request_without_messages_breaks_nothing"),),
    "gzip and zstd bodies": (
        (HERE, "test_a_compressed_request_is_read_at_any_split"),
        ("tests/envoy/test_upstream.py", "test_a_compressed_request_reaches_the_provider_plain"),
    ),
    "a tool index that is null or missing": (
        (HERE, "test_a_tool_index_may_be_null_or_missing"),
    ),
    "a prefill to a model that refuses it": (
        (HERE, "test_a_prefill_is_refused_by_name_or_kept"),
    ),
    "ext_proc overflow": (
        (HERE, "test_no_circuit_opens_before_the_other_limits"),
        (
            "tests/envoy/test_open_streams.py",
            "test_more_exchanges_are_open_at_once_than_envoys_default_breakers_allow",
        ),
    ),
}  # fmt: skip


def test_every_trap_has_a_proof_that_asserts():
    root = Path(__file__).parents[1]
    for trap, proofs in TRAPS.items():
        assert proofs, trap
        for file, name in proofs:
            tree = ast.parse((root / file).read_text())
            (found,) = [
                node
                for node in tree.body
                if isinstance(node, ast.FunctionDef) and node.name == name
            ]
            said = ast.unparse(found)
            assert "assert" in said or "pytest.raises" in said, (trap, name)
            assert "skip" not in said, (trap, name)


NAMED = {case.name: case for case in cases()}
STREAMED = NAMED["streamed"]
FOREIGN = [
    (provider, client)
    for provider, client in itertools.product(PROVIDER_FORMATS, CLIENTS)
    if provider != client
]
pairs = pytest.mark.parametrize(("provider", "client"), FOREIGN)


def ask_streamed(provider: str, client: str, request: bytes | None = None) -> Exchange:
    """Ask for a streamed answer; return the exchange that waits for it."""
    sent = request or casebook.asked_to_stream(STREAMED.request(client) or b"", client)
    asked = casebook.ask(client, provider, sent, STREAMED.model(provider))
    assert asked.attempt is not None
    return asked.exchange


def with_pings(stream: Upstream, ping: bytes) -> Upstream:
    """Put a heartbeat in front of every event and behind the last."""
    pieces = [one for piece in stream.pieces for one in (ping, piece)]
    return Upstream(stream.content_type, (*pieces, ping))


PING = b'event: ping\ndata: {"type":"ping"}\n\n'


@pytest.mark.parametrize("client", [one for one in CLIENTS if one != "anthropic"])
def test_a_heartbeat_stands_between_events_and_nowhere_else(client):
    stream = STREAMED.upstreams("anthropic")["stream"]
    (start, *rest) = stream.pieces
    pinged = Upstream(
        stream.content_type, (start, *(x for one in rest for x in (PING, one)))
    )
    told = casebook.answer(
        ask_streamed("anthropic", client),
        pinged,
        [bytes([one]) for one in pinged.body],
    ).body
    beats = told.split(b": keep-alive\n")
    assert len(beats) > 3
    assert all(not one or one.endswith(b"\n\n") for one in beats[:-1])
    without = casebook.answer(ask_streamed("anthropic", client), stream).body
    assert b"".join(beats) == without.replace(b": keep-alive\n", b"")


@pytest.mark.parametrize("client", [one for one in CLIENTS if one != "anthropic"])
def test_no_empty_event_follows_a_comment(client):
    """openai-go before 3.43 could not read the event that such a line ends."""
    told = casebook.answer(
        ask_streamed("anthropic", client), STREAMED.upstreams("anthropic")["stream"]
    ).body
    assert b": keep-alive\n" in told
    lines = told.split(b"\n")
    assert all(
        not one.startswith(b":") or after for one, after in itertools.pairwise(lines)
    )


@pytest.mark.parametrize(
    "ping", [b": OPENROUTER PROCESSING\n\n", b":\n\n", b": one\n: two\r\n\r\n", b"\n"]
)
@pairs
def test_the_providers_own_heartbeats_change_nothing(provider, client, ping):
    stream = STREAMED.upstreams(provider)["stream"]
    if "event-stream" not in stream.content_type:
        ping = b""  # another framing, which has no comments
    whole = casebook.answer(ask_streamed(provider, client), stream)
    pinged = with_pings(stream, ping)
    assert casebook.answer(ask_streamed(provider, client), pinged).body == whole.body


@pytest.mark.parametrize(
    "provider", [one for one in PROVIDER_FORMATS if one != "openai_responses"]
)
def test_a_responses_stream_has_no_done(provider):
    for case in cases():
        stream = case.upstreams(provider).get("stream")
        if stream is None or case.request("openai_responses") is None:
            continue
        told = casebook.answer(ask_streamed(provider, "openai_responses"), stream).body
        assert b"[DONE]" not in told
        assert cut(told)[-1].name in {
            "response.completed", "response.incomplete", "response.failed",
        }  # fmt: skip


@pytest.mark.parametrize(
    "client", [one for one in CLIENTS if one != "openai_responses"]
)
def test_done_behind_a_providers_responses_stream_is_no_event(client):
    stream = STREAMED.upstreams("openai_responses")["stream"]
    done = Upstream(stream.content_type, (*stream.pieces, b"data: [DONE]\n\n"))
    whole = casebook.answer(ask_streamed("openai_responses", client), stream)
    found = casebook.answer(ask_streamed("openai_responses", client), done)
    assert found.body == whole.body
    assert found.record.outcome == "ok"


@pairs
def test_an_error_inside_a_200_stream_is_an_error_in_the_books(provider, client):
    broken = NAMED["error_in_stream"].upstreams(provider)["stream"]
    found = casebook.answer(ask_streamed(provider, client), broken)
    assert found.status == 200
    assert found.record.outcome == "upstream_error"
    assert SDKS[client].hear_stream(found.body).error


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("openai_chat", {"error": {"message": "Busy", "code": 502}}),
        ("openai_responses", {"error": {"message": "Busy", "type": "server_error"}}),
        ("anthropic", {"type": "error", "error": {"type": "api_error", "message": "Busy"}}),
        ("gemini", {"error": {"code": 500, "message": "Busy", "status": "INTERNAL"}}),
        ("converse", {"message": "Busy"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("client", CLIENTS)
def test_an_error_in_place_of_a_whole_answer_is_one(provider, client, said):
    if provider == client:
        return
    request = NAMED["plain"].request(client) or b""
    asked = casebook.ask(client, provider, request, STREAMED.model(provider))
    body = json.dumps(said).encode()
    found = casebook.answer(asked.exchange, Upstream("application/json", (body,)))
    assert found.status >= 500
    assert found.record.outcome == "upstream_error"
    assert SDKS[client].hear(found.body, found.status).error is not None


@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
@pytest.mark.parametrize("client", CLIENTS)
def test_cached_tokens_are_a_part_of_the_input(provider, client):
    case = NAMED["usage_cached"]
    for way, upstream in case.upstreams(provider).items():
        request = case.request(client) or b""
        if way == "stream":
            request = casebook.asked_to_stream(request, client)
        asked = casebook.ask(client, provider, request, case.model(provider))
        found = casebook.answer(asked.exchange, upstream)
        usage = found.record.usage
        assert usage is not None
        assert (usage.input_tokens, usage.cache_read_input_tokens) == (1000, 600)
        if provider != client:
            sdk = SDKS[client]
            heard = (
                sdk.hear_stream(found.body)
                if found.streamed
                else sdk.hear(found.body, found.status)
            )
            assert heard.counts == (1000, 7, 600)


CHAT: dict[str, Any] = {
    "model": "m",
    "stream": True,
    "messages": [{"role": "user", "content": "Hi"}],
}


def test_a_backend_that_knows_no_include_usage_is_not_asked():
    """Old vLLM answers it with a 400; the switch is a provider's in `gateway.yaml`."""
    body = json.dumps(CHAT).encode()
    asked = casebook.ask("openai_chat", "openai_chat", body, None, include_usage=False)
    assert asked.attempt is not None
    assert asked.attempt.body == body
    stream = STREAMED.upstreams("openai_chat")["stream"]
    silent = [one for one in stream.pieces if b'"choices":[]' not in one]
    assert len(silent) == len(stream.pieces) - 1
    found = casebook.answer(asked.exchange, stream, silent)
    assert found.body == b"".join(silent)
    assert found.record.estimated


@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
@pytest.mark.parametrize("client", ["openai_chat", "openai_completions"])
def test_no_chunk_has_usage_unless_the_client_asked(provider, client):
    request = STREAMED.request(client) or b""
    silent = request.rstrip().removesuffix(b"}") + b',"stream":true}'
    stream = STREAMED.upstreams(provider)["stream"]
    found = casebook.answer(ask_streamed(provider, client, silent), stream)
    assert found.record.usage is not None
    chunks = [json.loads(one.data) for one in cut(found.body) if one.data != b"[DONE]"]
    assert chunks
    assert all(chunk["choices"] and not chunk.get("usage") for chunk in chunks)


@pytest.mark.parametrize(
    "options", [None, {}, {"include_usage": False}, {"include_obfuscation": False}]
)
def test_stream_options_are_there_once(options):
    body = json.dumps({**CHAT, "stream_options": options}).encode()
    asked = casebook.ask("openai_chat", "openai_chat", body, None)
    assert asked.attempt is not None
    seen: list[str] = []

    def pairs_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen.extend(name for name, _ in pairs)
        return dict(pairs)

    sent = json.loads(asked.attempt.body, object_pairs_hook=pairs_of)
    assert seen.count("stream_options") == 1
    assert sent["stream_options"] == {**(options or {}), "include_usage": True}
    twice = body.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)
    refused = casebook.ask("openai_chat", "openai_chat", twice, None).refusal
    assert refused is not None
    assert refused.status == 400
    assert b"stream_options" in refused.body


EMPTY: dict[str, dict[str, Any]] = {
    "openai_chat": {"messages": []},
    "openai_completions": {"prompt": []},
    "openai_responses": {"input": []},
    "anthropic": {"messages": [], "max_tokens": 9},
}


@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
@pytest.mark.parametrize("client", EMPTY)
def test_a_request_without_messages_breaks_nothing(provider, client):
    body = json.dumps({**EMPTY[client], "model": "m"}).encode()
    asked = casebook.ask(client, provider, body, STREAMED.model(provider))
    if client == provider:
        assert asked.attempt is not None  # its own provider says what it thinks of it
    else:
        assert asked.refusal is not None
        assert asked.refusal.status == 400
        field = next(
            name for name in ("messages", "prompt", "input") if name in body.decode()
        )
        assert field in asked.refusal.body.decode()


@pytest.mark.parametrize(
    ("coding", "squeeze"),
    [("gzip", gzip.compress), ("zstd", zstandard.compress)],
)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_compressed_request_is_read_at_any_split(client, coding, squeeze):
    """Codex sends zstd."""
    body = NAMED["plain"].request(client)
    assert body is not None
    plain = casebook.ask(client, "gemini", body, "gemini-3.5-flash").attempt
    assert plain is not None
    exchange = casebook.exchange("gemini", "gemini-3.5-flash")
    head = {**casebook.head(client), "content-encoding": coding}
    exchange.receive(events.RequestHeaders(head, end=False), 0.0)
    for one in squeeze(body):
        assert not exchange.receive(events.RequestBody(bytes([one]), end=False), 0.0)
    (route,) = exchange.receive(events.RequestBody(b"", end=True), 0.0)
    assert isinstance(route, Route)
    assert route.chain[0].body == plain.body


CALL = {"id": "call_1", "type": "function"}


@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": 0}])
@pytest.mark.parametrize("client", ["openai_responses", "anthropic"])
def test_a_tool_index_may_be_null_or_missing(client, index):
    case = NAMED["tool_call"]
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": None},
        {
            "tool_calls": [
                {**index, **CALL, "function": {"name": "weather", "arguments": ""}}
            ]
        },
        {"tool_calls": [{**index, "function": {"arguments": '{"city":'}}]},
        {"tool_calls": [{**index, "function": {"arguments": '"Rome"}'}}]},
    ]
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    chunks.append(
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    )
    body = (
        "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + "data: [DONE]\n\n"
    )
    request = casebook.asked_to_stream(case.request(client) or b"", client)
    found = casebook.answer(
        ask_streamed("openai_chat", client, request),
        Upstream("text/event-stream", (body.encode(),)),
    )
    heard = SDKS[client].hear_stream(found.body)
    assert heard.calls == [["weather", '{"city":"Rome"}']]
    assert heard.call_ids == ["call_1"]
    assert heard.finish == "tools"


PREFILLED: dict[str, dict[str, Any]] = {
    "openai_chat": {
        "messages": [
            {"role": "user", "content": "A poem"},
            {"role": "assistant", "content": "Roses"},
        ]
    },
    "openai_responses": {
        "input": [
            {"role": "user", "content": "A poem"},
            {"role": "assistant", "content": "Roses"},
        ]
    },
    "anthropic": {
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "A poem"},
            {"role": "assistant", "content": "Roses"},
        ],
    },
}


@pytest.mark.parametrize(
    ("provider", "model", "takes"),
    [
        ("anthropic", "claude-sonnet-4-5", True),
        ("anthropic", "claude-opus-4-6", False),
        ("anthropic", "claude-opus-4-7", False),
        ("converse", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", True),
        ("converse", "us.anthropic.claude-opus-4-6-v1", False),
        ("gemini", "gemini-2.5-flash", True),
    ],
)
@pytest.mark.parametrize("client", PREFILLED)
def test_a_prefill_is_refused_by_name_or_kept(client, provider, model, takes):
    if client == provider:
        return
    body = json.dumps({"model": "m", **PREFILLED[client]}).encode()
    asked = casebook.ask(client, provider, body, model)
    if takes:
        assert asked.attempt is not None
        assert b"Roses" in asked.attempt.body
    else:
        assert isinstance(asked.refusal, Respond)
        assert asked.refusal.status == 400
        assert b"[1]" in asked.refusal.body


def test_no_circuit_opens_before_the_other_limits():
    """A long stream holds its ext_proc stream; Envoy's default breaker opens at 1,024."""
    layout = Layout.under(Path("/run/x"), ca_bundle=Path("/ca"))
    files = compile_envoy(autoconfig({}, mock_url="http://127.0.0.1:9"), layout)
    static = json.loads(files.bootstrap)["static_resources"]["clusters"]
    found = {one["name"]: one for one in (*static, *json.loads(files.cds)["resources"])}
    listener = json.dumps(json.loads(files.bootstrap)["static_resources"]["listeners"])
    used = {name for name in found if f'"cluster_name": "{name}"' in listener}
    # One call holds what hundreds of requests have to say.
    used.remove(access_log.CLUSTER)
    assert used, "the ext_proc filter's cluster"
    for name in {*used, *(one["name"] for one in json.loads(files.cds)["resources"])}:
        (limits,) = found[name]["circuit_breakers"]["thresholds"]
        assert "retry_budget" not in limits
        for kind in ("connections", "pending_requests", "requests", "retries"):
            assert limits[f"max_{kind}"] >= 100_000, (name, kind)
