"""What a provider is told by a request, read by hands of their own, in no API's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Atom = tuple[str, ...]
"""Who says what, such as ``("user", "text", "Hi")``; texts in a row are one."""


@dataclass
class Told:
    """One request."""

    said: list[Atom] = field(default_factory=list)
    tools: set[str] = field(default_factory=set)
    fields: dict[str, Any] = field(default_factory=dict)
    errors: int = 0
    """How many results are failures."""

    def text(self, who: str, text: str) -> None:
        if self.said and self.said[-1][:2] == (who, "text"):
            text = self.said.pop()[2] + text
        self.said.append((who, "text", text))

    def call(self, name: str, arguments: Any) -> None:
        self.said.append(
            ("assistant", "call", name, json.dumps(arguments, sort_keys=True))
        )

    def result(self, name: str, text: str, *, is_error: bool = False) -> None:
        self.errors += is_error
        self.said.append(("tool", "result", name, text))


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _strings(inner)
        case list():
            for inner in value:
                yield from _strings(inner)
        case _:
            pass


def _base64_of(uri: str) -> str:
    return uri.partition(";base64,")[2]


def _fields(body: Any, names: dict[str, str]) -> dict[str, Any]:
    return {ours: body[theirs] for theirs, ours in names.items() if theirs in body}


def chat(body: Any) -> Told:
    told = Told()
    names: dict[str, str] = {}
    for message in body["messages"]:
        role, content = message["role"], message.get("content")
        if role == "tool":
            told.result(names[message["tool_call_id"]], "".join(_texts(content)))
            continue
        who = "system" if role == "developer" else role
        parts: Any = content or ()
        if isinstance(content, str):
            parts = [{"type": "text", "text": content}]
        for part in parts:
            match part["type"]:
                case "text":
                    told.text(who, part["text"])
                case "image_url":
                    told.said.append(
                        (who, "image", _base64_of(part["image_url"]["url"]))
                    )
                case "file":
                    told.said.append(
                        (who, "document", _base64_of(part["file"]["file_data"]))
                    )
                case "input_audio":
                    told.said.append((who, "audio", part["input_audio"]["data"]))
                case unknown:
                    raise AssertionError(unknown)
        for call in message.get("tool_calls") or ():
            function = call["function"]
            names[call["id"]] = function["name"]
            told.call(function["name"], json.loads(function["arguments"]))
    told.tools = {tool["function"]["name"] for tool in body.get("tools", ())}
    told.fields = _fields(
        body,
        {name: name for name in (
            "temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty",
        )} | {"max_completion_tokens": "max_output_tokens", "user": "end_user"},
    )  # fmt: skip
    choice = body.get("tool_choice")
    if choice is not None:
        named = choice["function"]["name"] if isinstance(choice, dict) else choice
        told.fields["tool_choice"] = named
    return told


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    else:
        yield from (part["text"] for part in content)


def responses(body: Any) -> Told:
    told = Told()
    names: dict[str, str] = {}
    for item in body["input"]:
        match item.get("type", "message"):
            case "function_call":
                names[item["call_id"]] = item["name"]
                told.call(item["name"], json.loads(item["arguments"]))
            case "function_call_output":
                told.result(names[item["call_id"]], "".join(_texts(item["output"])))
            case "message":
                _item(told, item)
            case unknown:
                raise AssertionError(unknown)
    told.tools = {tool["name"] for tool in body.get("tools", ())}
    told.fields = _fields(
        body,
        {
            "max_output_tokens": "max_output_tokens", "temperature": "temperature",
            "top_p": "top_p", "user": "end_user",
        },
    )  # fmt: skip
    choice = body.get("tool_choice")
    if choice is not None:
        told.fields["tool_choice"] = (
            choice["name"] if isinstance(choice, dict) else choice
        )
    return told


def _item(told: Told, item: Any) -> None:
    who = "system" if item["role"] == "developer" else item["role"]
    if isinstance(item["content"], str):
        told.text(who, item["content"])
        return
    for part in item["content"]:
        match part["type"]:
            case "input_text" | "output_text":
                told.text(who, part["text"])
            case "input_image":
                told.said.append((who, "image", _base64_of(part["image_url"])))
            case "input_file":
                told.said.append((who, "document", _base64_of(part["file_data"])))
            case unknown:
                raise AssertionError(unknown)


def messages(body: Any) -> Told:
    told = Told()
    names: dict[str, str] = {}
    for block in body.get("system", ()):
        told.text("system", block["text"])
    for message in body["messages"]:
        for block in message["content"]:
            match block["type"]:
                case "text":
                    told.text(message["role"], block["text"])
                case "image" | "document" as kind:
                    told.said.append((message["role"], kind, block["source"]["data"]))
                case "tool_use":
                    names[block["id"]] = block["name"]
                    told.call(block["name"], block["input"])
                case "tool_result":
                    told.result(
                        names[block["tool_use_id"]],
                        "".join(_texts(block["content"])),
                        is_error=block.get("is_error", False),
                    )
                case unknown:
                    raise AssertionError(unknown)
    told.tools = {tool["name"] for tool in body.get("tools", ())}
    told.fields = _fields(
        body,
        {
            "max_tokens": "max_output_tokens", "temperature": "temperature",
            "top_p": "top_p", "top_k": "top_k", "stop_sequences": "stop",
        },
    )  # fmt: skip
    if "metadata" in body:
        told.fields["end_user"] = body["metadata"]["user_id"]
    choice = body.get("tool_choice")
    if choice is not None:
        kind = {"any": "required"}.get(choice["type"], choice["type"])
        told.fields["tool_choice"] = choice.get("name", kind)
    return told


def gemini(body: Any) -> Told:
    told = Told()
    for part in body.get("systemInstruction", {"parts": ()})["parts"]:
        told.text("system", part["text"])
    for content in body["contents"]:
        who = "assistant" if content["role"] == "model" else "user"
        for part in content["parts"]:
            match part:
                case {"text": text}:
                    told.text(who, text)
                case {"inlineData": {"mimeType": kind, "data": data}}:
                    family = kind.partition("/")[0]
                    family = "document" if family == "application" else family
                    told.said.append((who, family, data))
                case {"functionCall": call}:
                    told.call(call["name"], call.get("args", {}))
                case {"functionResponse": {"name": name, "response": response}}:
                    told.result(
                        name, "".join(_strings(response)), is_error="error" in response
                    )
                case unknown:
                    raise AssertionError(unknown)
    told.tools = {
        one["name"]
        for tool in body.get("tools", ())
        for one in tool["functionDeclarations"]
    }
    told.fields = _fields(
        body.get("generationConfig", {}),
        {
            "maxOutputTokens": "max_output_tokens", "temperature": "temperature",
            "topP": "top_p", "topK": "top_k", "stopSequences": "stop", "seed": "seed",
            "presencePenalty": "presence_penalty", "frequencyPenalty": "frequency_penalty",
        },
    )  # fmt: skip
    choice = body.get("toolConfig", {}).get("functionCallingConfig")
    if choice is not None:
        mode = {"ANY": "required"}.get(choice["mode"], choice["mode"].lower())
        told.fields["tool_choice"] = choice.get("allowedFunctionNames", [mode])[0]
    return told


def converse(body: Any) -> Told:
    told = Told()
    names: dict[str, str] = {}
    for block in body.get("system", ()):
        told.text("system", block["text"])
    for message in body["messages"]:
        for block in message["content"]:
            match block:
                case {"text": text}:
                    told.text(message["role"], text)
                case {"toolUse": use}:
                    names[use["toolUseId"]] = use["name"]
                    told.call(use["name"], use["input"])
                case {"toolResult": result}:
                    text = "".join(_strings(result["content"]))
                    failed = result.get("status") == "error"
                    told.result(names[result["toolUseId"]], text, is_error=failed)
                case _:
                    ((kind, media),) = block.items()
                    told.said.append((message["role"], kind, media["source"]["bytes"]))
    config = body.get("toolConfig", {})
    told.tools = {tool["toolSpec"]["name"] for tool in config.get("tools", ())}
    told.fields = _fields(
        body.get("inferenceConfig", {}),
        {
            "maxTokens": "max_output_tokens", "temperature": "temperature", "topP": "top_p",
            "stopSequences": "stop",
        },
    )  # fmt: skip
    more = body.get("additionalModelRequestFields", {})
    told.fields |= _fields(more, {"top_k": "top_k"})
    choice = config.get("toolChoice") or more.get("tool_choice")
    if choice is not None:
        ((kind, said),) = (
            choice.items() if "type" not in choice else [(choice["type"], choice)]
        )
        told.fields["tool_choice"] = said.get(
            "name", {"any": "required"}.get(kind, kind)
        )
    return told


def cohere(body: Any) -> Told:
    told = Told()
    names: dict[str, str] = {}
    for message in body["messages"]:
        role, content = message["role"], message.get("content") or ()
        parts: Any = content
        if role == "tool":
            told.result(names[message["tool_call_id"]], "".join(_texts(content)))
            continue
        if "tool_plan" in message:
            told.text(role, message["tool_plan"])
        if isinstance(content, str):
            parts = [{"type": "text", "text": content}]
        for part in parts:
            match part["type"]:
                case "text":
                    told.text(role, part["text"])
                case "image_url":
                    url = part["image_url"]["url"]
                    told.said.append((role, "image", _base64_of(url)))
                case unknown:
                    raise AssertionError(unknown)
        for call in message.get("tool_calls") or ():
            function = call["function"]
            names[call["id"]] = function["name"]
            told.call(function["name"], json.loads(function["arguments"]))
    told.tools = {tool["function"]["name"] for tool in body.get("tools", ())}
    told.fields = _fields(
        body,
        {name: name for name in (
            "temperature", "seed", "presence_penalty", "frequency_penalty",
        )} | {
            "max_tokens": "max_output_tokens", "p": "top_p", "k": "top_k",
            "stop_sequences": "stop",
        },
    )  # fmt: skip
    if "tool_choice" in body:
        # Who must call one tool is shown no other.
        only = next(iter(told.tools)) if len(told.tools) == 1 else None
        told.fields["tool_choice"] = only or body["tool_choice"].lower()
    return told


READERS: dict[str, Callable[[Any], Told]] = {
    "openai_chat": chat,
    "openai_responses": responses,
    "anthropic": messages,
    "gemini": gemini,
    "converse": converse,
    "cohere": cohere,
}
