"""Canonical messages in, the ``messages`` of an OpenAI request out.

One canonical message may become several: here every tool result is a message of its own.
"""

from __future__ import annotations

from typing import Any

from extproc import canonical
from extproc.formats import proofs
from extproc.formats.base import Unsupported
from extproc.formats.citing import refuse_citing
from extproc.formats.openai_caching import with_breakpoint

_AUDIO_FORMATS = {
    "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav",
    "audio/mpeg": "mp3", "audio/mp3": "mp3",
}  # fmt: skip


class MessageWriter:
    """Collects messages, and what had to be left out of them."""

    def __init__(self, *, thoughts: bool = False) -> None:
        self._thoughts = thoughts
        """The server wants its reasoning back: an extension of many."""
        self.written: list[dict[str, Any]] = []
        self.dropped: list[str] = []

    def write(self, message: canonical.Message) -> None:
        """Append what `message` amounts to.

        Raises:
            Unsupported: it has a part that its role cannot have here.
        """
        if message.role == "assistant":
            self._write_assistant(message)
            return
        rest: list[tuple[str, canonical.Part]] = []
        for i, part in enumerate(message.parts):
            where = message.place(i)
            if isinstance(part, canonical.ToolResult):
                self._flush(message, rest)
                rest = []
                self._write_result(part, where)
            else:
                rest.append((where, part))
        if rest or not message.parts:
            self._flush(message, rest)

    def _flush(
        self, message: canonical.Message, parts: list[tuple[str, canonical.Part]]
    ) -> None:
        """Append one message of `parts` to it, if there are any or it has none."""
        if not parts and message.parts:
            return
        if message.role == "tool":
            raise Unsupported(
                "A tool message has tool results only.", param=message.where
            )
        content = [self._write_part(part, where) for where, part in parts]
        if message.role != "user" and any(part["type"] != "text" for part in content):
            raise Unsupported(
                f"A {message.role} message has text only.", param=message.where
            )
        written = {"role": message.role, "content": _plain(content)}
        self.written.append(_named(written, message))

    def _write_result(self, result: canonical.ToolResult, where: str) -> None:
        if any(not isinstance(part, canonical.Text) for part in result.parts):
            raise Unsupported(
                "A tool result has text only for this provider.", param=where
            )
        content = [self._write_part(part, where) for part in result.parts]
        if result.is_error:
            self.dropped.append(f"{where}.is_error")
        self.written.append(
            {
                "role": "tool",
                "tool_call_id": result.call_id,
                "content": _plain(content),
            }
        )

    def _write_assistant(self, message: canonical.Message) -> None:
        content: list[dict[str, Any]] = []
        refusals: list[str] = []
        calls: list[dict[str, Any]] = []
        thoughts: list[dict[str, str]] = []
        for i, part in enumerate(message.parts):
            where = message.place(i)
            match part:
                case canonical.Text():
                    if part.citations:
                        self.dropped.append(f"{where}.citations")
                    content.append(self._write_part(part, where))
                case canonical.Refusal(text):
                    refusals.append(text)
                case canonical.ToolCall():
                    calls.append(self._write_call(part, where))
                case canonical.Reasoning(text) if self._thoughts and text:
                    thoughts.append(self._write_thought(part, where))
                case canonical.Reasoning() | canonical.Search():
                    self.dropped.append(where)
                case _:
                    raise Unsupported(
                        "An assistant message has text, refusals and tool calls only.",
                        param=where,
                    )
        written: dict[str, Any] = {"role": "assistant", "content": None}
        if content or not (refusals or calls):
            written["content"] = _plain(content)
        if refusals:
            written["refusal"] = "".join(refusals)
        more = {
            "tool_calls": calls,
            "reasoning_content": "".join(thought["thinking"] for thought in thoughts),
            "thinking_blocks": thoughts
            if any("signature" in t for t in thoughts)
            else (),
        }
        written |= {name: value for name, value in more.items() if value}
        self.written.append(_named(written, message))

    def _write_thought(self, part: canonical.Reasoning, where: str) -> dict[str, str]:
        """Return a thought, with its proof if that can be of use to such a server."""
        thought = {"type": "thinking", "thinking": part.text}
        if part.signature and part.signature.startswith(proofs.MISTRAL):
            thought["signature"] = part.signature
        elif part.signature or part.encrypted:
            self.dropped.append(f"{where}.signature")
        return thought

    def _write_call(self, call: canonical.ToolCall, where: str) -> dict[str, Any]:
        if call.signature is not None:
            self.dropped.append(f"{where}.signature")
        kind, member = ("custom", "input") if call.custom else ("function", "arguments")
        return {
            "id": call.id,
            "type": kind,
            kind: {"name": call.name, member: call.arguments},
        }

    def _write_part(self, part: canonical.Part, where: str) -> dict[str, Any]:
        match part:
            case canonical.Text(text, cache):
                written: dict[str, Any] = {"type": "text", "text": text}
            case canonical.Image(source, detail, cache):
                image = {"url": _write_url(source, where)}
                if detail is not None:
                    image["detail"] = detail
                written = {"type": "image_url", "image_url": image}
            case canonical.Document(source, filename, cache):
                refuse_citing(part, where)
                file = _write_file(source, where)
                if filename is None and isinstance(source, canonical.Inline):
                    # What comes with the request has to have a name.
                    filename = "document"
                if filename is not None:
                    file["filename"] = filename
                written = {"type": "file", "file": file}
            case canonical.Audio(source, cache):
                written = {"type": "input_audio", "input_audio": _sound(source, where)}
            case _:
                raise Unsupported(
                    f"A {type(part).__name__.lower()} cannot stand here.", param=where
                )
        return with_breakpoint(written, cache)


def _plain(content: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return the content as a string where it is one text: every server reads that."""
    if not content:
        return ""
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        text: str = content[0]["text"]
        return text
    return content


def _named(written: dict[str, Any], message: canonical.Message) -> dict[str, Any]:
    if message.name is not None:
        written["name"] = message.name
    return written


def _data_uri(source: canonical.Inline, default: str) -> str:
    return f"data:{source.media_type or default};base64,{source.data}"


def _write_url(source: canonical.Source, where: str) -> str:
    match source:
        case canonical.Inline():
            return _data_uri(source, "image/png")
        case canonical.Remote(url):
            return url
        case canonical.FileReference():
            raise Unsupported(
                "A picture cannot be given by a file's id here.", param=where
            )


def _write_file(source: canonical.Source, where: str) -> dict[str, str]:
    match source:
        case canonical.Inline():
            return {"file_data": _data_uri(source, "application/pdf")}
        case canonical.FileReference(file_id):
            return {"file_id": file_id}
        case canonical.Remote():
            raise Unsupported("A file cannot be given by a URL here.", param=where)


def _sound(source: canonical.Source, where: str) -> dict[str, str]:
    if not isinstance(source, canonical.Inline):
        raise Unsupported("Audio has to come with the request.", param=where)
    kind = _AUDIO_FORMATS.get(source.media_type)
    if kind is None:
        raise Unsupported(
            f"Audio of the type {source.media_type!r} is not known to this provider.",
            param=where,
        )
    return {"data": source.data, "format": kind}
