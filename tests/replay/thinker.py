"""A server of OpenAI's chat API whose model thinks aloud, and wants its thoughts back.

DeepSeek's manners (https://api-docs.deepseek.com/guides/thinking_mode): thoughts come as
``reasoning_content``; once a turn has called a tool, every later request has to bring back
the thoughts of its assistant messages, in whatever words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from extproc.local.mock.reply import Reply, Request, SseEvent, Stream
from extproc.local.mock.state import Memory

ALLOWED = {
    "role", "content", "name", "tool_calls", "reasoning_content", "prefix", "refusal",
    "annotations", "audio", "function_call",
}  # fmt: skip


class Thinker:
    """Answers a chat; calls the tool that the last words name."""

    def __init__(self, memory: Memory, keys: tuple[str, ...]) -> None:
        del memory, keys

    def respond(self, request: Request) -> Reply | Stream:
        assert request.path == "/v1/chat/completions"
        body = json.loads(request.body)
        for i, message in enumerate(body["messages"]):
            if (why := self._fault(message)) is not None:
                error = {"message": why, "type": "invalid_request_error",
                         "param": f"messages[{i}]", "code": "invalid_request_error"}  # fmt: skip
                return Reply(400, json.dumps({"error": error}).encode())
        message = self._say(body)
        if not body.get("stream"):
            finish = "tool_calls" if "tool_calls" in message else "stop"
            choice = {"index": 0, "message": message, "finish_reason": finish}
            return Reply(200, json.dumps(_head(body, choice)).encode())
        return Stream([SseEvent(one) for one in _chunks(body, message)])

    def _fault(self, message: dict[str, Any]) -> str | None:
        if message["role"] != "assistant":
            return None
        if unknown := set(message) - ALLOWED:
            return f"unknown field {min(unknown)}"
        for call in message.get("tool_calls") or ():
            if unknown := set(call) - {"id", "type", "function"}:
                return f"unknown field {min(unknown)} in a tool call"
            if not message.get("reasoning_content"):
                return (
                    "The `reasoning_content` in the thinking mode must be passed back"
                    " to the API."
                )
        return None

    def _say(self, body: dict[str, Any]) -> dict[str, Any]:
        digest = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()
        thought = f"I ponder {digest[:8]}.\n\nThen I act. "
        message: dict[str, Any] = {
            "role": "assistant", "content": "", "reasoning_content": thought,
        }  # fmt: skip
        last = body["messages"][-1]
        if last["role"] == "tool" or "get_weather" not in str(last["content"]):
            message["content"] = f"I have heard {str(last['content'])[:40]!r}."
            return message
        name = body["tools"][0]["function"]["name"]
        id_ = f"call_{digest[8:20]}"
        call = {"name": name, "arguments": '{"city": "city value"}'}
        message["tool_calls"] = [{"id": id_, "type": "function", "function": call}]
        return message


def _head(body: dict[str, Any], choice: dict[str, Any]) -> dict[str, Any]:
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    kind = "chat.completion.chunk" if body.get("stream") else "chat.completion"
    return {
        "id": "thinker-1", "object": kind, "created": 1, "model": body["model"],
        "choices": [choice], "usage": usage,
    }  # fmt: skip


def _chunks(body: dict[str, Any], message: dict[str, Any]) -> Iterator[bytes]:
    thought, text = message["reasoning_content"], message["content"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [
        {"reasoning_content": thought[i : i + 5]} for i in range(0, len(thought), 5)
    ]
    deltas += [{"content": text[i : i + 5]} for i in range(0, len(text), 5)]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        begun = {**function, "arguments": ""}
        deltas.append({"tool_calls": [{"index": 0, **call, "function": begun}]})
        more = {"arguments": function["arguments"]}
        deltas.append({"tool_calls": [{"index": 0, "function": more}]})
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        yield json.dumps({**_head(body, choice), "usage": None}).encode()
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    choice = {"index": 0, "delta": {}, "finish_reason": finish}
    yield json.dumps(_head(body, choice)).encode()
    yield b"[DONE]"
