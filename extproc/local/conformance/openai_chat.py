"""Chat Completions as a client speaks it.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from typing import Any, Final

from extproc.local.conformance.dialect import Dialect, Event, decode
from extproc.local.conformance.heard import Call, Cited, Counts, Finish, Heard
from extproc.local.conformance.prompts import (
    ANSWER_SCHEMA,
    PAPER,
    PICTURE,
    PICTURE_URL,
    SOUND,
    Json,
    Prompt,
)

_FINISH: Final[dict[str | None, Finish]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tools",
    "content_filter": "refused",
}


def spell(prompt: Prompt, model: str) -> Json:
    """Write the request."""
    body: Json = {"model": model, "messages": _messages(prompt)}
    if prompt.stream:
        body["stream"] = True
    if prompt.stream_usage:
        body["stream_options"] = {"include_usage": True}
    if prompt.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "parameters": tool.parameters},
            }
            for tool in prompt.tools
        ]
    if prompt.tool_choice == "none":
        body["tool_choice"] = "none"
    elif prompt.tool_choice:
        body["tool_choice"] = {
            "type": "function",
            "function": {"name": prompt.tool_choice},
        }
    return body | _options(prompt)


def _options(prompt: Prompt) -> Json:
    schema = {"name": "answer", "schema": ANSWER_SCHEMA, "strict": True}
    wanted = {
        "response_format": (
            {"type": "json_schema", "json_schema": schema}
            if prompt.json_schema
            else {"type": "json_object"}
            if prompt.json_mode
            else None
        ),
        "stop": [prompt.stop] if prompt.stop else None,
        "max_completion_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "seed": prompt.seed,
        "n": prompt.n,
        "logprobs": prompt.logprobs or None,
        "web_search_options": {} if prompt.web_search else None,
        "reasoning_effort": "medium" if prompt.thinking else None,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _messages(prompt: Prompt) -> list[Json]:
    said: list[Json] = []
    if prompt.system:
        text: Json = {"type": "text", "text": prompt.system}
        if prompt.cache:
            text["prompt_cache_breakpoint"] = {"mode": "explicit"}
        said.append({"role": "system", "content": [text]})
    for user, assistant in prompt.earlier:
        said.append({"role": "user", "content": user})
        said.append({"role": "assistant", "content": assistant})
    said.append({"role": "user", "content": _content(prompt)})
    if prompt.answered is not None:
        said += prompt.answered.echo
        said += [
            {"role": "tool", "tool_call_id": call.id, "content": prompt.result}
            for call in prompt.answered.calls
        ]
    return said


def _content(prompt: Prompt) -> str | list[Json]:
    parts: list[Json] = [{"type": "text", "text": prompt.text}]
    if prompt.image:
        inline = f"data:image/png;base64,{PICTURE}"
        url = inline if prompt.image == "inline" else PICTURE_URL
        parts.append({"type": "image_url", "image_url": {"url": url}})
    if prompt.pdf:
        paper = {
            "filename": "paper.pdf",
            "file_data": f"data:application/pdf;base64,{PAPER}",
        }
        parts.append({"type": "file", "file": paper})
    if prompt.audio:
        sound = {"data": SOUND, "format": "wav"}
        parts.append({"type": "input_audio", "input_audio": sound})
    return parts if len(parts) > 1 else prompt.text


def read(body: Json) -> Heard:
    """Read a whole answer."""
    if "error" in body:
        return Heard(error=body["error"]["message"])
    return _heard(
        [choice["message"] for choice in body["choices"]],
        body["choices"],
        body.get("usage"),
    )


def _heard(messages: list[Json], choices: list[Json], usage: Json | None) -> Heard:
    first = messages[0]
    logprobs = choices[0].get("logprobs") or {}
    return Heard(
        text=first.get("content") or "",
        thinking=first.get("reasoning_content") or "",
        calls=tuple(
            Call(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in first.get("tool_calls") or ()
        ),
        cited=tuple(
            Cited(one["url"], first["content"][one["start_index"] : one["end_index"]])
            for note in first.get("annotations") or ()
            for one in (note["url_citation"],)
        ),
        finish=_FINISH.get(choices[0]["finish_reason"], ""),
        counts=_counts(usage) if usage else None,
        choices=len(choices),
        logprobs=len(logprobs.get("content") or ()),
        # As the SDK dumps a message: members that are null are left out.
        echo=[{k: v for k, v in first.items() if v not in (None, [])}],
    )


def _counts(usage: Json) -> Counts:
    details = usage.get("prompt_tokens_details") or {}
    return Counts(
        usage["prompt_tokens"],
        usage["completion_tokens"],
        details.get("cached_tokens") or 0,
    )


def read_stream(events: list[Event]) -> Heard:
    """Put the chunks together as the SDK's accumulator does."""
    messages: dict[int, Json] = {}
    choices: dict[int, Json] = {}
    usage: Json | None = None
    error, ended = "", False
    for event in events:
        if event.payload == b"[DONE]":
            ended = True
            continue
        chunk = decode(event.payload)
        if "error" in chunk:
            error, ended = chunk["error"]["message"], True
            continue
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            index = choice["index"]
            _merge(messages.setdefault(index, {}), choice["delta"])
            seen = choices.setdefault(index, {"finish_reason": None})
            seen["finish_reason"] = choice["finish_reason"] or seen["finish_reason"]
            if choice.get("logprobs"):
                _merge(seen.setdefault("logprobs", {}), choice["logprobs"])
    if not messages:
        return Heard(error=error, ended=ended)
    heard = _heard(
        [messages[i] for i in sorted(messages)],
        [choices[i] for i in sorted(choices)],
        usage,
    )
    heard.error, heard.ended = error, ended
    return heard


def _merge(into: Json, delta: Json) -> None:
    for key, value in delta.items():
        have = into.get(key)
        if value is None:
            into.setdefault(key, None)
        elif isinstance(value, list) and key in {"tool_calls", "thinking_blocks"}:
            into[key] = _merge_entries(have or [], value)
        elif isinstance(value, list) and have:
            into[key] = have + value
        elif isinstance(value, dict) and have:
            _merge(have, value)
        elif isinstance(value, str) and have and key not in {"role", "type", "id"}:
            into[key] = have + value
        else:
            into[key] = value


def _merge_entries(have: list[Json], pieces: list[Json]) -> list[Json]:
    for piece in pieces:
        rest: dict[str, Any] = {k: v for k, v in piece.items() if k != "index"}
        while len(have) <= piece["index"]:
            have.append({})
        _merge(have[piece["index"]], rest)
    return have


DIALECT: Final = Dialect(
    name="openai_chat",
    title="OpenAI Chat Completions",
    path="/v1/chat/completions",
    headers=lambda key: {"authorization": f"Bearer {key}"},
    lacks=frozenset({"cited"}),
    spell=spell,
    read=read,
    read_stream=read_stream,
)
