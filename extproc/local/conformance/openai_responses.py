"""Responses as a client speaks it, with nothing stored.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from typing import Final

from extproc.local.conformance.dialect import Dialect, Event, decode
from extproc.local.conformance.heard import Call, Cited, Counts, Finish, Heard
from extproc.local.conformance.prompts import (
    ANSWER_SCHEMA,
    PAPER,
    PICTURE,
    PICTURE_URL,
    Json,
    Prompt,
)

_LAST: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed"}
)


def spell(prompt: Prompt, model: str) -> Json:
    """Write the request."""
    body: Json = {"model": model, "input": _items(prompt), "store": False}
    if prompt.stream:
        body["stream"] = True
    if prompt.system and not prompt.cache:
        body["instructions"] = prompt.system
    if prompt.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "parameters": tool.parameters,
                "strict": False,
            }
            for tool in prompt.tools
        ]
    if prompt.web_search:
        body["tools"] = [*body.get("tools", ()), {"type": "web_search"}]
    if prompt.tool_choice == "none":
        body["tool_choice"] = "none"
    elif prompt.tool_choice:
        body["tool_choice"] = {"type": "function", "name": prompt.tool_choice}
    return body | _options(prompt)


def _options(prompt: Prompt) -> Json:
    schema = {"name": "answer", "schema": ANSWER_SCHEMA, "strict": True}
    shape = (
        {"type": "json_schema", **schema}
        if prompt.json_schema
        else {"type": "json_object"}
        if prompt.json_mode
        else None
    )
    included = []
    if prompt.logprobs:
        included.append("message.output_text.logprobs")
    if prompt.thinking:
        included.append("reasoning.encrypted_content")
    wanted = {
        "text": {"format": shape} if shape else None,
        "max_output_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "reasoning": {"effort": "medium", "summary": "auto"}
        if prompt.thinking
        else None,
        "include": included or None,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _items(prompt: Prompt) -> list[Json]:
    said: list[Json] = []
    if prompt.cache:
        # `instructions` is a string, which has no place for a breakpoint.
        text: Json = {"type": "input_text", "text": prompt.system}
        text["prompt_cache_breakpoint"] = {"mode": "explicit"}
        said.append({"role": "system", "content": [text]})
    for user, assistant in prompt.earlier:
        said.append({"role": "user", "content": user})
        said.append({"role": "assistant", "content": assistant})
    said.append({"role": "user", "content": _content(prompt)})
    if prompt.answered is not None:
        said += prompt.answered.echo
        said += [
            {
                "type": "function_call_output",
                "call_id": call.id,
                "output": prompt.result,
            }
            for call in prompt.answered.calls
        ]
    return said


def _content(prompt: Prompt) -> list[Json]:
    parts: list[Json] = [{"type": "input_text", "text": prompt.text}]
    if prompt.image:
        inline = f"data:image/png;base64,{PICTURE}"
        url = inline if prompt.image == "inline" else PICTURE_URL
        parts.append({"type": "input_image", "image_url": url, "detail": "auto"})
    if prompt.pdf:
        paper = f"data:application/pdf;base64,{PAPER}"
        part = {"type": "input_file", "filename": "paper.pdf", "file_data": paper}
        parts.append(part)
    return parts


def read(body: Json) -> Heard:
    """Read a whole answer."""
    if body.get("error"):
        return Heard(error=body["error"]["message"])
    parts = [
        part
        for item in body["output"]
        if item["type"] == "message"
        for part in item["content"]
        if part["type"] == "output_text"
    ]
    calls = tuple(
        Call(item["call_id"], item["name"], item["arguments"])
        for item in body["output"]
        if item["type"] == "function_call"
    )
    return Heard(
        text="".join(part["text"] for part in parts),
        thinking="".join(
            part["text"]
            for item in body["output"]
            if item["type"] == "reasoning"
            for part in item["summary"]
        ),
        calls=calls,
        cited=tuple(
            Cited(one["url"], part["text"][one["start_index"] : one["end_index"]])
            for part in parts
            for one in part["annotations"]
        ),
        finish=_finish(body, calls),
        counts=_counts(body["usage"]) if body.get("usage") else None,
        logprobs=sum(len(part.get("logprobs") or ()) for part in parts),
        echo=body["output"],
    )


def _finish(body: Json, calls: tuple[Call, ...]) -> Finish:
    match body["status"], (body.get("incomplete_details") or {}).get("reason"):
        case "completed", _:
            return "tools" if calls else "stop"
        case "incomplete", "max_output_tokens":
            return "length"
        case "incomplete", "content_filter":
            return "refused"
        case _:
            return ""


def _counts(usage: Json) -> Counts:
    details = usage.get("input_tokens_details") or {}
    return Counts(
        usage["input_tokens"],
        usage["output_tokens"],
        details.get("cached_tokens") or 0,
    )


def read_stream(events: list[Event]) -> Heard:
    """Read the last event's response, whose text the deltas must amount to."""
    text, notes, heard = "", 0, Heard(ended=False)
    for event in events:
        told = decode(event.payload)
        if told["type"] == "response.output_text.delta":
            text += told["delta"]
        elif told["type"] == "response.output_text.annotation.added":
            notes += 1
        elif told["type"] == "error":
            # At the top in the SDK's types, in an object from OpenAI's servers.
            heard = Heard(error=(told.get("error") or told)["message"])
        elif told["type"] in _LAST:
            heard = read(told["response"])
    if not heard.error and heard.ended and heard.text != text:
        heard.error = f"the deltas say {text!r}, the response {heard.text!r}"
    if not heard.error and heard.ended and notes != len(heard.cited):
        heard.error = f"{notes} annotations were told, {len(heard.cited)} are there"
    return heard


DIALECT: Final = Dialect(
    name="openai_responses",
    title="OpenAI Responses",
    path="/v1/responses",
    headers=lambda key: {"authorization": f"Bearer {key}"},
    lacks=frozenset({"stop", "seed", "n", "audio", "cited"}),
    spell=spell,
    read=read,
    read_stream=read_stream,
)
