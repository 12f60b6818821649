"""What Codex CLI sends over Responses, to OpenAI and to others.

Compressed bodies of some megabytes, a WebSocket tried first, reasoning that only its
provider can read; a stream that does not end with ``response.completed`` is an error.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import httpx
import pytest
import zstandard

from tests.clients.judge import ECHO, HELLO, OPENAI
from tests.harness import BEDROCK

pytestmark = pytest.mark.envoy

MODELS = ["gpt-5", *OPENAI[1:]]
EVERYWHERE = pytest.mark.parametrize("model", MODELS)
HEADERS = {
    "content-type": "application/json",
    "content-encoding": "zstd",
    "accept": "text/event-stream",
    "originator": "codex_cli_rs",
    "user-agent": "codex_cli_rs/0.140.0 (Debian 13; x86_64) unknown",
    "session-id": "00000000-0000-4000-8000-000000000000",
    "x-codex-beta-features": "a,b",
    "x-codex-window-id": "1",
}
SHELL: Any = {
    "type": "function",
    "name": "exec_command",
    "description": "Runs a command",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"cmd": {"type": "string"}, "workdir": {"type": "string"}},
        "required": ["cmd"],
        "additionalProperties": False,
    },
}
PATCH: Any = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
SEARCH: Any = {"type": "web_search", "external_web_access": False}


def message(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {
        "type": "message",
        "role": role,
        "content": [{"type": kind, "text": text}],
    }


def turn(model: str, *items: Any, tools: Any = (SHELL,)) -> dict[str, Any]:
    return {
        "model": model,
        "instructions": "You are a coding agent.",
        "input": [message("developer", "<permissions>"), *items],
        "tools": list(tools),
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "00000000-0000-4000-8000-000000000000",
        "client_metadata": {"x-codex-installation-id": "a"},
    }


def post(http: httpx.Client, said: dict[str, Any]) -> httpx.Response:
    body = zstandard.compress(json.dumps(said).encode())
    return http.post("/v1/responses", content=body, headers=HEADERS)


def completed(answer: httpx.Response) -> dict[str, Any]:
    """Return the response, as Codex takes it from the end of a stream."""
    assert answer.status_code == 200, answer.text
    names = [
        line.removeprefix("event: ")
        for line in answer.text.split("\n")
        if line.startswith("event: ")
    ]
    events = [
        json.loads(line.removeprefix("data: "))
        for line in answer.text.split("\n")
        if line.startswith("data: ")
    ]
    assert names == [event["type"] for event in events]
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.completed"
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    return dict(events[-1]["response"])


def said(response: dict[str, Any]) -> str:
    (item,) = [i for i in response["output"] if i["type"] == "message"]
    return str(item["content"][0]["text"])


@EVERYWHERE
def test_a_compressed_turn_ends_completed(http, model):
    answer = post(http, turn(model, message("user", HELLO)))
    response = completed(answer)
    assert said(response).startswith(ECHO)
    assert response["usage"]["total_tokens"] > 0
    if model != "gpt-5":
        assert "client_metadata" in answer.headers["x-extproc-dropped"]


def test_what_is_compressed_reaches_openai_as_it_was(mock, http):
    asked = turn("gpt-5", message("user", HELLO), tools=(SHELL, PATCH, SEARCH))
    completed(post(http, asked))
    (seen,) = mock.requests()
    assert seen["body"] == json.dumps(asked).encode()
    assert "content-encoding" not in seen["headers"]


@EVERYWHERE
def test_calls_and_reasoning_go_round(http, model):
    """Every item goes back as it came; the mocks refuse a thought that is not theirs."""
    user = message("user", "use exec_command please")
    first = completed(post(http, turn(model, user)))
    (call,) = [i for i in first["output"] if i["type"] == "function_call"]
    assert set(json.loads(call["arguments"])) >= {"cmd"}
    result = {
        "type": "function_call_output",
        "call_id": call["call_id"],
        "output": "Exit code: 0",
    }
    items = [
        {name: value for name, value in item.items() if name not in {"id", "status"}}
        for item in first["output"]
        if item["type"] != "reasoning"
    ]
    thoughts = [item for item in first["output"] if item["type"] == "reasoning"]
    last = completed(post(http, turn(model, user, *thoughts, *items, result)))
    assert "Exit code: 0" in said(last)


@EVERYWHERE
def test_a_long_session_of_some_megabytes(http, model):
    shot = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(900_000)).decode()
    seen = {"type": "input_image", "image_url": f"data:image/png;base64,{shot}"}
    history = [
        item
        for n in range(3)
        for item in (
            {**message("user", ""), "content": [{**seen}]},
            message("assistant", f"Seen {n}."),
        )
    ]
    asked = turn(model, *history, message("user", HELLO))
    assert len(json.dumps(asked)) > 3_500_000
    assert said(completed(post(http, asked))).startswith(ECHO)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_websocket_is_refused_at_once(http, method):
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "openai-beta": "responses_websockets=2026-02-06",
    }
    began = time.monotonic()
    answer = http.request(method, "/v1/responses", headers=headers)
    # Codex then goes on over HTTP. What it would wait for otherwise is 5 s and more.
    assert time.monotonic() - began < 3
    assert answer.status_code in {405, 426}
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gemini-3.5-flash", BEDROCK])
@pytest.mark.parametrize(
    ("tool", "param"),
    [(PATCH, "tools[1]"), (SEARCH, "tools[1].external_web_access")],
    ids=["apply_patch", "a search of what OpenAI has stored"],
)
def test_tools_that_only_openai_has_are_refused_by_name(http, model, tool, param):
    answer = post(http, turn(model, message("user", HELLO), tools=(SHELL, tool)))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@EVERYWHERE
def test_a_stream_that_breaks_off_is_never_completed(http, model):
    user = message("user", "[[mock: truncate after=4]]")
    answer = post(http, turn(model, user))
    assert "response.completed" not in answer.text
    assert "[DONE]" not in answer.text


@EVERYWHERE
@pytest.mark.parametrize("status", [429, 500])
def test_a_providers_error_is_told_with_its_status(http, model, status):
    user = message("user", f"[[mock: status={status} retry-after=7]]")
    answer = post(http, turn(model, user))
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert answer.headers["retry-after"] == "7"
