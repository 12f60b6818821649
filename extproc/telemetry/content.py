"""What was said in an exchange, in the shapes of OpenTelemetry's conventions, redacted.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#recording-content-on-attributes:
``gen_ai.system_instructions`` is a list of parts, ``gen_ai.input.messages`` and
``gen_ai.output.messages`` are lists of messages with ``role`` and ``parts``, and
``gen_ai.tool.definitions`` is a list of tools with ``type`` and ``name``. Bytes of pictures, sound and files are left out; of a conversation that is too long its end is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from extproc import canonical
from extproc.errors import GatewayError
from extproc.exchange.content import Content, Spoken
from extproc.formats import (
    anthropic,
    openai_chat,
    openai_completions,
    openai_responses,
)
from extproc.formats.base import AnyClientFormat
from extproc.framing.members import read_members
from extproc.redact import Redactor

CLIENTS: Final[Mapping[str, AnyClientFormat]] = {
    module.CLIENT.name: module.CLIENT
    for module in (anthropic, openai_chat, openai_completions, openai_responses)
}
"""Those whose requests are chats."""

SEPARATE: Final = frozenset({anthropic.CLIENT.name, openai_responses.CLIENT.name})
"""Those that give the system's instructions apart from the conversation."""

LONGEST_SECRET: Final = 4_096
"""Characters past a cut that are looked at too, so that no half of a secret is left."""

FINISHES: Final = {
    "stop": "stop",
    "stop_sequence": "stop",
    "pause": "stop",
    "length": "length",
    "context_length": "length",
    "tool_calls": "tool_call",
    "content_filter": "content_filter",
    "refusal": "content_filter",
}
"""The conventions' words for the canonical ones."""
UNFINISHED: Final = "error"
"""Of an answer that was not heard to its end."""

Part = dict[str, Any]


class Shown(NamedTuple):
    """What may be told; an empty list is not told."""

    system: list[Part]
    asked: list[Part]
    answered: list[Part]
    tools: list[Part]
    cut: bool
    """Something was left out for its length."""


class Display:
    """Shows contents as an operator wants them."""

    def __init__(self, redactor: Redactor, most: int) -> None:
        """Show up to `most` characters of each: what the parts of `Shown` are."""
        self._redactor = redactor
        self._most = most

    def show(self, content: Content) -> Shown:
        """Return what may be told of `content`; it never fails."""
        answer = _Room(self._redactor, self._most)
        answered = list(_answered(content, answer))
        request = _read(content)
        system, asked, tools = (_Room(self._redactor, self._most) for _ in range(3))
        if request is None:
            text = content.asked.decode("utf-8", "replace")
            said = [_message("user", [_text(asked.take(text))])]
            return Shown([], said, answered, [], cut=True)
        messages = list(request.messages)
        instructions: list[Part] = []
        while (
            content.format in SEPARATE
            and messages
            and messages[0].role in ("system", "developer")
        ):
            instructions += system.parts(messages.pop(0).parts)
        said = []
        # The newest first: what is cut off a conversation is its beginning.
        while messages and asked.left:
            message = messages.pop()
            said.append(_message(message.role, asked.parts(message.parts)))
        offered = tools.tools(request.tools)
        cut = (
            content.cut
            or bool(messages)
            or len(offered) < len(request.tools)
            or any(room.cut for room in (answer, system, asked, tools))
        )
        return Shown(instructions, said[::-1], answered, offered, cut)


class _Room:
    """How much may still be said."""

    def __init__(self, redactor: Redactor, left: int) -> None:
        self._redactor = redactor
        self.left = left
        self.cut = False

    def take(self, text: str) -> str:
        """Return what there is room for of `text`, redacted."""
        piece = text[: self.left + LONGEST_SECRET]
        clean = self._redactor.text(piece)
        if len(text) > len(piece):
            clean = clean[:-LONGEST_SECRET]
        if len(text) > len(piece) or len(clean) > self.left:
            self.cut = True
        clean = clean[: self.left]
        self.left -= len(clean)
        return clean

    def arguments(self, text: str) -> object:
        """Return a call's arguments as what they are, where that is JSON."""
        taken = self.take(text)
        try:
            return msgspec.json.decode(taken)
        except msgspec.DecodeError:
            return taken

    def tools(self, tools: Iterable[canonical.AnyTool]) -> list[Part]:
        """Return the definitions that there is room for, the first ones."""
        said = []
        for tool in tools:
            if not self.left:
                break
            said.append(self._tool(tool))
        return said

    def _tool(self, tool: canonical.AnyTool) -> Part:
        match tool:
            case canonical.Tool(name, description, parameters):
                said: Part = {"type": "function", "name": self.take(name)}
                if description is not None:
                    said["description"] = self.take(description)
                if parameters is not None and self.left:
                    text = bytes(parameters).decode("utf-8", "replace")
                    said["parameters"] = self.arguments(text)
                return said
            case canonical.CustomTool(name, description):
                said = {"type": "custom", "name": self.take(name)}
                if description is not None:
                    said["description"] = self.take(description)
                return said
            case canonical.BuiltinTool(kind):
                word = self.take(kind)
                return {"type": word, "name": word}
            case _:
                return {"type": tool.name, "name": tool.name}

    def parts(self, parts: Iterable[canonical.Part]) -> list[Part]:
        """Return what the conventions call parts."""
        return [said for part in parts for said in self._part(part)]

    def _part(self, part: canonical.Part) -> Iterator[Part]:
        match part:
            case canonical.Text(text) | canonical.Refusal(text):
                yield _text(self.take(text))
            case canonical.Reasoning(text):
                if text:
                    yield {"type": "reasoning", "content": self.take(text)}
            case canonical.ToolCall(id, name, arguments):
                yield _call(self.take(id), self.take(name), self.arguments(arguments))
            case canonical.ToolResult(call_id, parts):
                yield {
                    "type": "tool_call_response",
                    "id": self.take(call_id),
                    "response": self.parts(parts),
                }
            case canonical.Search(id, queries):
                yield {
                    "type": "web_search",
                    "id": self.take(id),
                    "queries": [self.take(query) for query in queries],
                }
            case canonical.Image(source):
                yield self._media("image", source)
            case canonical.Document(source):
                yield self._media("document", source)
            case canonical.Audio(source):
                yield self._media("audio", source)

    def _media(self, modality: str, source: canonical.Source) -> Part:
        match source:
            case canonical.Remote(url):
                return {"type": "uri", "modality": modality, "uri": self.take(url)}
            case canonical.FileReference(id):
                return {"type": "file", "modality": modality, "file_id": self.take(id)}
            case canonical.Inline(media_type, data):
                return {
                    "type": "omitted",
                    "modality": modality,
                    "mime_type": self.take(media_type),
                    "bytes": len(data) * 3 // 4,
                }


def _read(content: Content) -> canonical.Request | None:
    """Return the request; None: its JSON is not whole, or no request."""
    form = CLIENTS.get(content.format)
    if form is None or len(content.asked) < content.asked_bytes:
        return None
    try:
        request = form.read_request(content.asked, read_members(content.asked))
    except (GatewayError, RecursionError):
        return None
    return request if isinstance(request, canonical.Request) else None


def _answered(content: Content, room: _Room) -> Iterator[Part]:
    finishes = dict(content.finishes)
    choices: dict[int, list[Spoken]] = {}
    for one in content.spoken:
        choices.setdefault(one.choice, []).append(one)
    for choice, spoken in choices.items():
        why = FINISHES.get(finishes.get(choice, ""), UNFINISHED)
        yield {
            **_message("assistant", [_spoken(one, room) for one in spoken]),
            "finish_reason": why,
        }


def _spoken(one: Spoken, room: _Room) -> Part:
    match one.kind:
        case "tool_call":
            return _call(
                room.take(one.id), room.take(one.name), room.arguments(one.text)
            )
        case "reasoning":
            return {"type": "reasoning", "content": room.take(one.text)}
        case _:
            return _text(room.take(one.text))


def _message(role: str, parts: list[Part]) -> Part:
    return {"role": role, "parts": parts}


def _text(text: str) -> Part:
    return {"type": "text", "content": text}


def _call(id: str, name: str, arguments: object) -> Part:  # noqa: A002
    return {"type": "tool_call", "id": id, "name": name, "arguments": arguments}
