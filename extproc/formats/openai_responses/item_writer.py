"""Canonical messages in, the ``input`` items of a Responses request out.

An assistant's message becomes an item for each call and each thought, and one message
for words in a row; a tool result is an item of its own. Reasoning goes back to OpenAI if
it has OpenAI's proof; what could be read of it stands before that, and becomes its
summary.
"""

from __future__ import annotations

from typing import Any

from extproc import canonical
from extproc.formats import proofs
from extproc.formats.base import Unsupported
from extproc.formats.citing import refuse_citing
from extproc.formats.openai_caching import with_breakpoint

Json = dict[str, Any]


class ItemWriter:
    """Collects items, and what had to be left out of them."""

    def __init__(self) -> None:
        self.written: list[Json] = []
        self.dropped: list[str] = []
        self._custom: set[str] = set()
        """The ids of calls of custom tools: their results are items of another type."""

    def write(self, message: canonical.Message) -> None:
        """Append what `message` amounts to.

        Raises:
            Unsupported: it has a part that its role cannot have here.
        """
        if message.name is not None:
            self.dropped.append(f"{message.where}.name")
        if message.role == "assistant":
            self._write_assistant(message)
            return
        rest: list[Json] = []
        for i, part in enumerate(message.parts):
            where = message.place(i)
            if isinstance(part, canonical.ToolResult):
                self._flush(message, rest)
                rest = []
                self._write_result(part, where)
            else:
                rest.append(self._write_part(part, where))
        if rest or not message.parts:
            self._flush(message, rest)

    def _flush(self, message: canonical.Message, content: list[Json]) -> None:
        if not content and message.parts:
            return
        if message.role == "tool":
            raise Unsupported(
                "A tool message has tool results only.", param=message.where
            )
        if message.role != "user" and any(
            part["type"] != "input_text" for part in content
        ):
            raise Unsupported(
                f"A {message.role} message has text only.", param=message.where
            )
        self.written.append({"role": message.role, "content": _plain(content)})

    def _write_result(self, result: canonical.ToolResult, where: str) -> None:
        content = [self._write_part(part, where) for part in result.parts]
        if result.is_error:
            self.dropped.append(f"{where}.is_error")
        custom = result.call_id in self._custom
        self.written.append(
            {
                "type": "custom_tool_call_output" if custom else "function_call_output",
                "call_id": result.call_id,
                "output": _plain(content),
            }
        )

    # ------------------------------------------------------------ the assistant

    def _write_assistant(self, message: canonical.Message) -> None:
        content: list[Json] = []
        thought: tuple[str, str] | None = None
        """Text of reasoning without a proof, and where it stands."""
        for i, part in enumerate(message.parts):
            where = message.place(i)
            if isinstance(part, canonical.Reasoning):
                self._say(content)
                content = []
                thought = self._write_reasoning(part, where, thought)
                continue
            self._drop_thought(thought)
            thought = None
            match part:
                case canonical.Search():
                    self.dropped.append(where)
                case canonical.Text(text):
                    if part.citations:
                        self.dropped.append(f"{where}.citations")
                    said = {"type": "output_text", "text": text, "annotations": []}
                    content.append(said)
                case canonical.Refusal(text):
                    content.append({"type": "refusal", "refusal": text})
                case canonical.ToolCall():
                    self._say(content)
                    content = []
                    self._write_call(part, where)
                case _:
                    raise Unsupported(
                        "An assistant message has text, refusals, reasoning and tool "
                        "calls only.",
                        param=where,
                    )
        self._drop_thought(thought)
        self._say(content)

    def _say(self, content: list[Json]) -> None:
        """Append a message of the assistant's, if it has anything to say."""
        if content:
            self.written.append(
                {
                    "type": "message",
                    "id": f"msg_{len(self.written)}",
                    "role": "assistant",
                    "status": "completed",
                    "content": content,
                }
            )

    def _write_reasoning(
        self,
        part: canonical.Reasoning,
        where: str,
        before: tuple[str, str] | None,
    ) -> tuple[str, str] | None:
        """Append reasoning with OpenAI's proof; return what may be its summary."""
        own = proofs.read_openai(part.encrypted) if part.encrypted else None
        if own is not None:
            text = part.text or (before[0] if before else "")
            summary = [{"type": "summary_text", "text": text}] if text else []
            item_id, content = own
            item: Json = {
                "type": "reasoning",
                "summary": summary,
                "encrypted_content": content,
            }
            if item_id:  # Codex sends none, and an empty one would be refused
                item["id"] = item_id
            self.written.append(item)
            return None
        self._drop_thought(before)
        if part.encrypted or part.signature:
            self.dropped.append(where)  # another provider's
            return None
        return part.text, where

    def _drop_thought(self, thought: tuple[str, str] | None) -> None:
        if thought is not None:
            self.dropped.append(thought[1])

    def _write_call(self, call: canonical.ToolCall, where: str) -> None:
        if call.signature is not None:
            self.dropped.append(f"{where}.signature")
        if call.custom:
            self._custom.add(call.id)
        self.written.append(
            {
                "type": "custom_tool_call" if call.custom else "function_call",
                "call_id": call.id,
                "name": call.name,
                "input" if call.custom else "arguments": call.arguments,
            }
        )

    # ------------------------------------------------------------ parts

    def _write_part(self, part: canonical.Part, where: str) -> Json:
        match part:
            case canonical.Text(text, cache):
                written: Json = {"type": "input_text", "text": text}
            case canonical.Image(source, detail, cache):
                written = {
                    "type": "input_image",
                    "detail": detail or "auto",
                    **_picture(source),
                }
            case canonical.Document(source, filename, cache):
                refuse_citing(part, where)
                written = {"type": "input_file", **_file(source, filename)}
            case canonical.Audio():
                raise Unsupported("OpenAI's Responses take no sound.", param=where)
            case _:
                raise Unsupported(
                    f"A {type(part).__name__.lower()} cannot stand here.", param=where
                )
        return with_breakpoint(written, cache)


def _plain(content: list[Json]) -> str | list[Json]:
    """Return the content as a string where it is one text: every server reads that."""
    if not content:
        return ""
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        text: str = content[0]["text"]
        return text
    return content


def _data_uri(source: canonical.Inline, default: str) -> str:
    return f"data:{source.media_type or default};base64,{source.data}"


def _picture(source: canonical.Source) -> Json:
    match source:
        case canonical.Inline():
            return {"image_url": _data_uri(source, "image/png")}
        case canonical.Remote(url):
            return {"image_url": url}
        case canonical.FileReference(file_id):
            return {"file_id": file_id}


def _file(source: canonical.Source, filename: str | None) -> Json:
    match source:
        case canonical.Inline():
            # What comes with the request has to have a name.
            return {
                "filename": filename or "document",
                "file_data": _data_uri(source, "application/pdf"),
            }
        case canonical.Remote(url):
            return {"file_url": url}
        case canonical.FileReference(file_id):
            return {"file_id": file_id}
