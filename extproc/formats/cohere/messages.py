"""Canonical messages as Cohere's: https://docs.cohere.com/v2/docs/chat-api.

What the assistant said before its calls is their ``tool_plan``. Thoughts go back where no
other provider has sealed them. Files are read as text only: of others the bytes would have
to be read by somebody else first.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.citing import refuse_citing

Drop = Callable[[str], None]
Json = dict[str, Any]


def write_messages(
    messages: tuple[canonical.Message, ...], drop: Drop, *, sees: bool
) -> list[Json]:
    """Return the ``messages``; `sees` says whether the model can be shown pictures.

    Raises:
        Unsupported: a part that Cohere has no word for.
        BadRequest: a part that cannot be read.
    """
    written: list[Json] = []
    for message in messages:
        if message.name is not None:
            drop(f"{message.where}.name")
        for i, part in enumerate(message.parts):
            if isinstance(part, canonical.Image) and not sees:
                raise Unsupported(
                    "This model sees no pictures.",
                    param=message.place(i),
                )
        if message.role == "assistant":
            written.append(_assistant(message, drop))
        else:
            written += _others(message, drop)
    return written


def _others(message: canonical.Message, drop: Drop) -> list[Json]:
    out: list[Json] = []
    content: list[Json] = []
    role = "user" if message.role == "user" else "system"
    for i, part in enumerate(message.parts):
        where = message.place(i)
        if isinstance(part, canonical.ToolResult):
            out.append(_result(part, where, drop))
        else:
            content.append(_part(part, where))
    if message.role == "tool" and content:
        raise Unsupported("A tool message has tool results only.", param=message.where)
    if role == "system" and any(part["type"] != "text" for part in content):
        raise Unsupported(
            f"A {message.role} message has text only.", param=message.where
        )
    if content or not out:
        out.append({"role": role, "content": _plain(content)})
    return out


def _assistant(message: canonical.Message, drop: Drop) -> Json:
    content: list[Json] = []
    texts: list[str] = []
    calls: list[Json] = []
    for i, part in enumerate(message.parts):
        where = message.place(i)
        match part:
            case canonical.Text() | canonical.Refusal():
                if isinstance(part, canonical.Text) and part.citations:
                    drop(f"{where}.citations")
                texts.append(part.text)
                content.append({"type": "text", "text": part.text})
            case canonical.Reasoning(text, signature, encrypted):
                if signature or encrypted or not text:
                    drop(where)
                else:
                    content.append({"type": "thinking", "thinking": text})
            case canonical.ToolCall():
                calls.append(_call(part, where, drop))
            case _:
                raise Unsupported(
                    "An assistant message has text, thoughts and tool calls only.",
                    param=where,
                )
    if not calls:
        return {"role": "assistant", "content": _plain(content)}
    out: Json = {"role": "assistant", "tool_calls": calls}
    if texts:
        out["tool_plan"] = "".join(texts)
    thoughts = [part for part in content if part["type"] == "thinking"]
    if thoughts:
        out["content"] = thoughts
    return out


def _call(call: canonical.ToolCall, where: str, drop: Drop) -> Json:
    if call.custom:
        raise Unsupported("Cohere has no custom tools.", param=where)
    if call.signature:
        # It proves another provider's thought.
        drop(f"{where}.signature")
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _result(result: canonical.ToolResult, where: str, drop: Drop) -> Json:
    if result.is_error:
        drop(f"{where}.is_error")
    content: list[Json] = []
    for part in result.parts:
        match part:
            case canonical.Text(text):
                content.append({"type": "text", "text": text})
            case canonical.Document():
                document = {"data": {"text": _text_of(part, where)}}
                content.append({"type": "document", "document": document})
            case canonical.Image():
                raise Unsupported("A tool result has no pictures here.", param=where)
    return {
        "role": "tool",
        "tool_call_id": result.call_id,
        "content": content or [{"type": "text", "text": ""}],
    }


def _part(part: canonical.Part, where: str) -> Json:
    match part:
        case canonical.Text(text):
            written: Json = {"type": "text", "text": text}
        case canonical.Image(source, detail):
            image = {"url": _url(source, where)}
            if detail is not None:
                image["detail"] = detail
            written = {"type": "image_url", "image_url": image}
        case canonical.Document():
            written = {"type": "text", "text": _text_of(part, where)}
        case _:
            kind = type(part).__name__.lower()
            raise Unsupported(f"Cohere cannot be sent this: {kind}.", param=where)
    return written


def _plain(content: list[Json]) -> str | list[Json]:
    if not content:
        return ""
    if len(content) == 1 and content[0]["type"] == "text":
        text: str = content[0]["text"]
        return text
    return content


def _url(source: canonical.Source, where: str) -> str:
    match source:
        case canonical.Inline(kind, data):
            return f"data:{kind or 'image/png'};base64,{data}"
        case canonical.Remote(url):
            return url
        case canonical.FileReference():
            raise Unsupported("A picture cannot be given by a file's id.", param=where)


def _text_of(document: canonical.Document, where: str) -> str:
    refuse_citing(document, where)
    source = document.source
    if not isinstance(source, canonical.Inline) or not source.media_type.startswith(
        "text/"
    ):
        raise Unsupported("Cohere reads files of text only.", param=where)
    try:
        return base64.b64decode(source.data, validate=True).decode()
    except (binascii.Error, ValueError):
        raise BadRequest("The file is no UTF-8 text in base64.", param=where) from None
