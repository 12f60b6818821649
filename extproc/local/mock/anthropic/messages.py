"""A checked messages request in; the message, or its events, out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from extproc.local.mock import directives, tokens
from extproc.local.mock.answers import Answer, Ask, Call, Finish, Tool, answer
from extproc.local.mock.anthropic import citing, signing, turns
from extproc.local.mock.anthropic.check import thinks
from extproc.local.mock.anthropic.models import Model
from extproc.local.mock.directives import Conduct
from extproc.local.mock.reply import SseEvent
from extproc.local.mock.state import Memory

STOP_REASONS: Final[dict[Finish, str]] = {
    Finish.DONE: "end_turn",
    Finish.STOP_SEQUENCE: "stop_sequence",
    Finish.LENGTH: "max_tokens",
    Finish.TOOLS: "tool_use",
    Finish.REFUSED: "refusal",
}

Body = Mapping[str, Any]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class InputTokens:
    """What the prompt costs, in Anthropic's three separate counts."""

    fresh: int
    written: int = 0
    read: int = 0
    written_1h: int = 0
    """Of `written`: kept for an hour."""

    @property
    def total(self) -> int:
        """All of the prompt."""
        return self.fresh + self.written + self.read

    def usage(self) -> Json:
        """Return the counts under Anthropic's names."""
        return {
            "input_tokens": self.fresh,
            "cache_creation_input_tokens": self.written,
            "cache_read_input_tokens": self.read,
        }


def count_input(body: Body) -> int:
    """Return the tokens of a prompt."""
    parts = ("system", "tools", "messages", "tool_choice")
    return sum(tokens.count_tree(body.get(part)) for part in parts)


def priced_input(body: Body, conduct: Conduct, memory: Memory) -> InputTokens:
    """Count the prompt, and what of it a cache has seen or sees now.

    Every `cache_control` ends a prefix. The longest prefix that came before is read, the
    rest up to the last mark is written. (The real API ignores short prefixes.)
    """
    total = count_input(body)
    if conduct.cached_tokens:
        read = min(conduct.cached_tokens, total)
        return InputTokens(total - read, read=read)
    digest, counted, read, marked, hour = hashlib.sha256(), 0, 0, 0, False
    for block in _blocks(body):
        digest.update(msgspec.json.encode(block))
        counted += tokens.count_tree(block)
        mark = block.get("cache_control") if isinstance(block, dict) else None
        if mark is not None:
            marked, hour = counted, hour or mark.get("ttl") == "1h"
            if memory.seen_before(digest.hexdigest()):
                read = counted
    top = body.get("cache_control")
    if top is not None:
        marked, hour = counted, hour or top.get("ttl") == "1h"
        if memory.seen_before(digest.hexdigest()):
            read = counted
    written = marked - read
    return InputTokens(
        max(0, total - marked), written, read, written_1h=written if hour else 0
    )


def _blocks(body: Body) -> Iterator[Any]:
    """Yield the prompt's parts in the order in which they are cached."""
    yield from body.get("tools") or ()
    system = body.get("system") or ()
    yield from [system] if isinstance(system, str) else system
    for message in body["messages"]:
        content = message["content"]
        yield from [content] if isinstance(content, str) else content


def last_turn(messages: list[Mapping[str, Any]]) -> tuple[str, bool]:
    """Return the text of the last user turn, and whether it brings tool results."""
    turn = next(t for t in reversed(turns.of_messages(messages)) if t.role == "user")
    said = [block["text"] for block in turn.of("text")]
    results = turn.of("tool_result")
    told = [_result_text(block.get("content", "")) for block in results]
    return "\n".join([*told, *said]), bool(results)


def _result_text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(b["text"] for b in content if b["type"] == "text")
    return content if isinstance(content, str) else ""


@dataclass(frozen=True, slots=True)
class Message:
    """One request, understood: everything that its answer is made of."""

    body: Body
    model: Model
    conduct: Conduct
    text: str
    after_tools: bool
    input_tokens: InputTokens
    digest: str

    @property
    def id(self) -> str:
        """The message's id: the same request has the same id."""
        return f"msg_mock{self.digest[:20]}"

    def _answer(self) -> Answer:
        body = self.body
        choice = body.get("tool_choice") or {"type": "auto"}
        freedom: dict[str, Literal["auto", "any", "none"]] = {
            "auto": "auto",
            "any": "any",
            "tool": "any",
            "none": "none",
        }
        wanted = (body.get("output_config") or {}).get("format")
        return answer(
            Ask(
                text=self.text,
                conduct=self.conduct,
                tools=tuple(
                    Tool(tool["name"], tool["input_schema"])
                    for tool in body.get("tools") or ()
                    if tool.get("type") in (None, "custom")
                ),
                choice=freedom[choice["type"]],
                forced=choice.get("name"),
                parallel=not choice.get("disable_parallel_tool_use"),
                after_tools=self.after_tools,
                json="no" if wanted is None else "schema",
                schema={} if wanted is None else wanted["schema"],
                max_tokens=body["max_tokens"],
                stops=tuple(body.get("stop_sequences") or ()),
                thinking=thinks(body),
            )
        )

    def _stop(self, said: Answer) -> Json:
        reason = self.conduct.finish or STOP_REASONS[said.finish]
        at = said.stop_sequence if reason == "stop_sequence" else None
        stop: Json = {"stop_reason": reason, "stop_sequence": at}
        if reason == "refusal":
            stop["stop_details"] = {
                "type": "refusal",
                "category": None,
                "explanation": "The mock was asked to refuse.",
            }
        return stop

    def _usage(self, output: int, said: Answer | None = None) -> Json:
        counts = self.input_tokens
        usage: Json = {
            **counts.usage(),
            "cache_creation": {
                "ephemeral_5m_input_tokens": counts.written - counts.written_1h,
                "ephemeral_1h_input_tokens": counts.written_1h,
            },
            "output_tokens": output,
            "service_tier": "standard",
        }
        if said is not None:
            usage |= self._spent(said)
        return usage

    def _head(self) -> Json:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model.id,
        }

    def whole(self) -> Json:
        """Return the message as one object."""
        said = self._answer()
        made = {**self._head(), "content": self._content(said), **self._stop(said)}
        if not self.conduct.no_usage:
            made["usage"] = self._usage(said.output_tokens, said)
        return made

    def _content(self, said: Answer) -> list[Json]:
        content: list[Json] = []
        if said.thinking:
            shown = self._shown(said)
            signature = signing.signature_of(shown)
            content.append(
                {"type": "thinking", "thinking": shown, "signature": signature}
            )
        if said.redacted:
            content.append(
                {"type": "redacted_thinking", "data": signing.sealed(self._shown(said))}
            )
        if self._searched:
            content += citing.search(self.text, self.digest)
        if said.pieces:
            text: Json = {"type": "text", "text": "".join(said.pieces)}
            cited = citing.citations(self.body, found=self._searched)
            content.append({**text, "citations": cited} if cited else text)
        for nth, call in enumerate(said.calls):
            content.append({**self._tool_use(nth, call), "input": _decoded(call)})
        return content

    @property
    def _searched(self) -> bool:
        return citing.searched(self.body, self.text)

    def _shown(self, said: Answer) -> str:
        """Return the thinking that the client sees: none, if it asked for none."""
        hidden = self.body["thinking"].get("display") == "omitted"
        return "" if hidden else said.thinking

    def _tool_use(self, nth: int, call: Call) -> Json:
        seed = f"{self.digest}/{nth}".encode()
        id_ = f"toolu_mock{hashlib.sha256(seed).hexdigest()[:18]}"
        return {"type": "tool_use", "id": id_, "name": call.tool.name, "input": {}}

    def events(self) -> Iterator[SseEvent]:
        """Yield the message as server-sent events.

        `message_start`, the blocks (with a `ping` after the first has started),
        `message_delta` with the cumulative usage, `message_stop`.
        """
        said = self._answer()
        counted = not self.conduct.no_usage
        start: Json = {
            **self._head(),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }
        if counted:
            start["usage"] = self._usage(min(1, said.output_tokens))
        yield event("message_start", message=start)
        for index, (block, deltas) in enumerate(self._streamed(said)):
            yield event("content_block_start", index=index, content_block=block)
            if index == 0:
                yield event("ping")
            for delta in deltas:
                yield event("content_block_delta", index=index, delta=delta)
            yield event("content_block_stop", index=index)
        end: Json = {"delta": self._stop(said)}
        if counted:
            end["usage"] = self._last_usage(said)
        yield event("message_delta", **end)
        yield event("message_stop")

    def _last_usage(self, said: Answer) -> Json:
        usage = {**self.input_tokens.usage(), "output_tokens": said.output_tokens}
        return {**usage, **self._spent(said)}

    def _spent(self, said: Answer) -> Json:
        """Return the counts that an answer need not have."""
        spent: Json = {}
        if said.thinking_tokens:
            spent["output_tokens_details"] = {"thinking_tokens": said.thinking_tokens}
        if self._searched:
            made = {"web_search_requests": 1, "web_fetch_requests": 0}
            spent["server_tool_use"] = made
        return spent

    def _streamed(self, said: Answer) -> Iterator[tuple[Json, list[Json]]]:
        """Yield each block as it starts, with the deltas that fill it."""
        for block in self._content(said):
            match block["type"]:
                case "thinking":
                    pieces = tokens.tokens_of(block["thinking"])
                    deltas = [{"type": "thinking_delta", "thinking": p} for p in pieces]
                    sign = {
                        "type": "signature_delta",
                        "signature": block["signature"],
                    }
                    empty = {**block, "thinking": "", "signature": ""}
                    yield empty, [*deltas, sign]
                case "text":
                    cited = block.get("citations", ())
                    told = [{"type": "citations_delta", "citation": c} for c in cited]
                    told += [{"type": "text_delta", "text": p} for p in said.pieces]
                    none: Json = {"citations": []} if cited else {}
                    yield {**block, "text": "", **none}, told
                case "server_tool_use":
                    given = msgspec.json.encode(block["input"]).decode()
                    piece = {"type": "input_json_delta", "partial_json": given}
                    yield {**block, "input": {}}, [piece]
                case "redacted_thinking" | "web_search_tool_result":
                    yield block, []
                case _:
                    pass  # tool_use: below
        for nth, call in enumerate(said.calls):
            yield (
                self._tool_use(nth, call),
                [
                    {"type": "input_json_delta", "partial_json": p}
                    for p in _json_pieces(call)
                ],
            )


def _json_pieces(call: Call) -> list[str]:
    """Return the pieces of a tool's input as they are streamed.

    An empty piece comes first. Of an empty input that is all, and of a tool that takes
    nothing not even that: clients must not parse "".
    """
    if call.arguments != "{}":
        return ["", *call.pieces]
    return [""] if call.tool.schema.get("properties") else []


def _decoded(call: Call) -> object:
    """Return the input as an object; `tool-args` may have made it anything else."""
    try:
        return msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return call.arguments


def event(kind: str, **fields: Any) -> SseEvent:  # noqa: ANN401
    """Return an event whose name and `type` agree."""
    return SseEvent(msgspec.json.encode({"type": kind, **fields}), kind)


def understand(
    body: Body, model: Model, conduct: Conduct, raw: bytes, memory: Memory
) -> Message:
    """Return the message that a checked request asks for.

    Raises:
        UnknownDirective: the text asks for something that the mock cannot do.
    """
    text, after_tools = last_turn(body["messages"])
    rest, conduct = directives.split(text, conduct)
    return Message(
        body=body,
        model=model,
        conduct=conduct,
        text=rest,
        after_tools=after_tools,
        input_tokens=priced_input(body, conduct, memory),
        digest=hashlib.sha256(raw).hexdigest(),
    )
