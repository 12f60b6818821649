"""Messages as a client speaks it: https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.local.conformance.dialect import Dialect, Event, decode
from extproc.local.conformance.heard import Call, Cited, Counts, Finish, Heard
from extproc.local.conformance.prompts import (
    ANSWER_SCHEMA,
    MODEL_LIMIT,
    PAPER,
    PICTURE,
    PICTURE_URL,
    THINKING_BUDGET,
    Json,
    Prompt,
)

_FINISH: Final[dict[str | None, Finish]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tools",
    "refusal": "refused",
}


def spell(prompt: Prompt, model: str) -> Json:
    """Write the request."""
    body: Json = {
        "model": model,
        "max_tokens": prompt.max_tokens or MODEL_LIMIT,
        "messages": _messages(prompt),
    }
    if prompt.stream:
        body["stream"] = True
    if prompt.system:
        block: Json = {"type": "text", "text": prompt.system}
        if prompt.cache:
            block["cache_control"] = {"type": "ephemeral"}
        body["system"] = [block]
    if prompt.tools:
        body["tools"] = [
            {"name": tool.name, "input_schema": tool.parameters}
            for tool in prompt.tools
        ]
    if prompt.web_search:
        search = {"type": "web_search_20250305", "name": "web_search"}
        body["tools"] = [*body.get("tools", ()), search]
    if prompt.tool_choice == "none":
        body["tool_choice"] = {"type": "none"}
    elif prompt.tool_choice:
        body["tool_choice"] = {"type": "tool", "name": prompt.tool_choice}
    if prompt.json_schema:
        schema = {"type": "json_schema", "schema": ANSWER_SCHEMA}
        body["output_config"] = {"format": schema}
    if prompt.stop:
        body["stop_sequences"] = [prompt.stop]
    if prompt.temperature is not None:
        body["temperature"] = prompt.temperature
    if prompt.thinking:
        body["thinking"] = {"type": "enabled", "budget_tokens": THINKING_BUDGET}
    return body


def _messages(prompt: Prompt) -> list[Json]:
    said: list[Json] = []
    for user, assistant in prompt.earlier:
        said.append({"role": "user", "content": user})
        said.append({"role": "assistant", "content": assistant})
    said.append({"role": "user", "content": _content(prompt)})
    if prompt.answered is not None:
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": prompt.result}
            for call in prompt.answered.calls
        ]
        said.append({"role": "assistant", "content": prompt.answered.echo})
        said.append({"role": "user", "content": results})
    return said


def _content(prompt: Prompt) -> list[Json]:
    parts: list[Json] = [{"type": "text", "text": prompt.text}]
    if prompt.image:
        inline = {"type": "base64", "media_type": "image/png", "data": PICTURE}
        url = {"type": "url", "url": PICTURE_URL}
        source = inline if prompt.image == "inline" else url
        parts.append({"type": "image", "source": source})
    if prompt.pdf:
        paper = {"type": "base64", "media_type": "application/pdf", "data": PAPER}
        document: Json = {"type": "document", "source": paper}
        if prompt.cited:
            document["citations"] = {"enabled": True}
        parts.append(document)
    return parts


def read(body: Json) -> Heard:
    """Read a whole answer."""
    if body["type"] == "error":
        return Heard(error=body["error"]["message"])
    blocks = body["content"]
    return Heard(
        text="".join(b["text"] for b in blocks if b["type"] == "text"),
        thinking="".join(b["thinking"] for b in blocks if b["type"] == "thinking"),
        calls=tuple(
            Call(b["id"], b["name"], msgspec.json.encode(b["input"]).decode())
            for b in blocks
            if b["type"] == "tool_use"
        ),
        cited=tuple(
            Cited(one.get("url") or f"document {one['document_index']}", b["text"])
            for b in blocks
            if b["type"] == "text"
            for one in b.get("citations") or ()
        ),
        finish=_FINISH.get(body["stop_reason"], ""),
        counts=_counts(body["usage"]),
        echo=blocks,
    )


def _counts(usage: Json) -> Counts:
    cached = usage.get("cache_read_input_tokens") or 0
    made = usage.get("cache_creation_input_tokens") or 0
    return Counts(usage["input_tokens"] + cached + made, usage["output_tokens"], cached)


def read_stream(events: list[Event]) -> Heard:
    """Put the events together as the SDK's accumulator does."""
    message: Json = {"type": "message", "content": [], "usage": {}, "stop_reason": None}
    inputs: dict[int, str] = {}
    error, ended = "", False
    for event in events:
        told = decode(event.payload)
        match told["type"]:
            case "message_start":
                message = told["message"]
            case "content_block_start":
                message["content"].append(dict(told["content_block"]))
            case "content_block_delta":
                index = told["index"]
                _add(message["content"][index], told["delta"], inputs, index)
            case "content_block_stop":
                block = message["content"][told["index"]]
                if block["type"] in {"tool_use", "server_tool_use"}:
                    text = inputs.get(told["index"]) or "{}"
                    block["input"] = msgspec.json.decode(text)
            case "message_delta":
                message |= told["delta"]
                message["usage"] |= told["usage"]
            case "message_stop":
                ended = True
            case "error":
                error, ended = told["error"]["message"], True
            case _:
                pass  # ping
    if not message["usage"]:
        return Heard(error=error, ended=ended)
    heard = read(message)
    heard.error, heard.ended = error, ended
    return heard


def _add(block: Json, delta: Json, inputs: dict[int, str], index: int) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            inputs[index] = inputs.get(index, "") + delta["partial_json"]
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        case _:
            raise LookupError(delta["type"])


DIALECT: Final = Dialect(
    name="anthropic",
    title="Anthropic Messages",
    path="/v1/messages",
    headers=lambda key: {"x-api-key": key, "anthropic-version": "2023-06-01"},
    lacks=frozenset({"json_mode", "seed", "n", "logprobs", "audio"}),
    spell=spell,
    read=read,
    read_stream=read_stream,
)
