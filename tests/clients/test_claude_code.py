"""What Claude Code sends: to Anthropic byte for byte, to others as far as it matters.

https://code.claude.com/docs/en/llm-gateway
"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from tests.clients.judge import HELLO
from tests.harness import BEDROCK, KEY

pytestmark = pytest.mark.envoy

FOREIGN = pytest.mark.parametrize("model", ["gpt-5", "gemini-3.5-flash", BEDROCK])
BETAS = (
    "claude-code-20250219,interleaved-thinking-2025-05-14,"
    "context-management-2025-06-27,prompt-caching-scope-2026-01-05,"
    "advanced-tool-use-2025-11-20,extended-cache-ttl-2025-04-11"
)
HEADERS = {
    "authorization": f"Bearer {KEY}",  # ANTHROPIC_AUTH_TOKEN
    "content-type": "application/json",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": BETAS,
    "anthropic-dangerous-direct-browser-access": "true",
    "user-agent": "claude-cli/2.1.126 (external, cli)",
    "x-app": "cli",
    "x-claude-code-session-id": "00000000-0000-4000-8000-000000000000",
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
    "x-stainless-timeout": "600",
}


def session(model: str, **more: Any) -> dict[str, Any]:
    """Return a turn of a session, cached, with tools that are loaded when needed."""
    hour = {"type": "ephemeral", "ttl": "1h"}
    return {
        "model": model,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<system-reminder>\nné à Zürich"},
                    {"type": "text", "text": HELLO, "cache_control": hour},
                ],
            }
        ],
        "system": [
            {
                "type": "text",
                "text": "x-anthropic-billing-header: cc_version=2.1.126.4f1; "
                "cc_entrypoint=cli; cch=00000;",
            },
            {
                "type": "text",
                "text": "You are Claude Code, a command line client.",
                "cache_control": {**hour, "scope": "global"},
            },
            {"type": "text", "text": "# Rules\nBe brief.", "cache_control": hour},
        ],
        "tools": [
            {
                "name": "Bash",
                "description": "Runs a command",
                "input_schema": {
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    "type": "object",
                    "properties": {
                        "command": {"type": "string"},
                        "timeout": {"type": "number"},
                    },
                    "required": ["command"],
                    "additionalProperties": False,
                },
            },
            {
                "name": "mcp__github__search",
                "description": "Searches",
                "input_schema": {
                    "type": "object",
                    "properties": {"q": {"type": "string"}},
                },
                "defer_loading": True,
            },
            {
                "type": "tool_search_tool_regex_20251119",
                "name": "tool_search_tool_regex",
            },
        ],
        "thinking": {"type": "enabled", "budget_tokens": 4096},
        "context_management": {
            "edits": [{"type": "clear_thinking_20251015", "keep": "all"}]
        },
        **more,
    }


MESSAGE: dict[str, Any] = {
    "max_tokens": 32000,
    "metadata": {"user_id": "user_0_account__session_0"},
    "stream": True,
}


def post(http: httpx.Client, path: str, said: dict[str, Any]) -> httpx.Response:
    # Not as Python writes JSON, and not in ASCII: what is written anew is noticed.
    body = json.dumps(said, ensure_ascii=False, separators=(",", ": ")).encode()
    return http.post(path, content=body, headers=HEADERS)


@pytest.mark.parametrize(
    ("path", "more"), [("messages", MESSAGE), ("messages/count_tokens", {})]
)
def test_its_bytes_and_headers_reach_anthropic(mock, http, path, more):
    answer = post(http, f"/v1/{path}?beta=true", session("claude-sonnet-4-5", **more))
    assert answer.status_code == 200, answer.text
    (seen,) = mock.requests()
    assert seen["path"] == f"/v1/{path}"
    assert seen["body"] == answer.request.content
    assert seen["headers"]["anthropic-beta"] == BETAS
    assert seen["headers"]["anthropic-version"] == "2023-06-01"
    assert "authorization" not in seen["headers"]
    assert answer.headers["request-id"].startswith("req_mock")


def test_a_stream_of_anthropics_passes_byte_for_byte(mock, http):
    said = session("claude-sonnet-4-5", **MESSAGE)
    post(http, "/v1/messages", said)  # the prompt is in the cache now, for both
    through = post(http, "/v1/messages", said)
    seen = mock.requests()[-1]
    headers = {
        name: value
        for name, value in seen["headers"].items()
        if name not in {"host", "content-length"} and not name.startswith("x-request")
    }
    direct = httpx.post(
        f"{mock.url}/v1/messages", content=seen["body"], headers=headers, timeout=20
    )
    ids = re.compile(r"msg_mock\w+")
    assert ids.sub("", through.text) == ids.sub("", direct.text)
    assert through.text.count("event: ") > 5


@FOREIGN
def test_other_providers_are_asked_for_all_that_matters(mock, http, model):
    answer = post(http, "/v1/messages?beta=true", session(model, **MESSAGE))
    assert answer.status_code == 200, answer.text
    events = [
        json.loads(line.removeprefix("data: "))
        for line in answer.text.split("\n")
        if line.startswith("data: ")
    ]
    deltas = [e["delta"].get("text", "") for e in events if "delta" in e]
    assert HELLO in "".join(deltas)
    assert events[-1]["type"] == "message_stop"
    dropped = answer.headers["x-extproc-dropped"].split(", ")
    assert {"context_management", "tools[1].defer_loading", "tools[2]"} <= set(dropped)
    (seen,) = mock.requests()
    assert not [name for name in seen["headers"] if name.startswith("anthropic")]
    assert b"mcp__github__search" in seen["body"]
    assert b"Be brief." in seen["body"]


@FOREIGN
def test_a_tool_call_and_its_result_go_round(http, model):
    said = session(model, **{**MESSAGE, "stream": False})
    said["messages"] = [{"role": "user", "content": "use Bash please"}]
    first = post(http, "/v1/messages", said).json()
    assert first["stop_reason"] == "tool_use", first
    (call,) = [block for block in first["content"] if block["type"] == "tool_use"]
    result = {
        "type": "tool_result",
        "tool_use_id": call["id"],
        "content": [{"type": "text", "text": "ok"}],
        "is_error": False,
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
    said["messages"] += [
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": [result]},
    ]
    last = post(http, "/v1/messages", said)
    assert last.status_code == 200, last.text
    assert last.json()["stop_reason"] == "end_turn"


def test_models_are_discovered_with_the_token_alone(http):
    answer = http.get("/v1/models?limit=1000", headers=HEADERS)
    assert {"claude-sonnet-4-5", "gpt-4o"} <= {m["id"] for m in answer.json()["data"]}
    assert all(model["display_name"] for model in answer.json()["data"])
    bare = http.get("/v1/models", headers={"authorization": f"Bearer {KEY}"}).json()
    assert {model["id"] for model in bare["data"]} == {
        model["id"] for model in answer.json()["data"]
    }
