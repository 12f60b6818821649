"""A checked Converse request in; the answer, or its events, out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from extproc.local.mock import directives, tokens
from extproc.local.mock.answers import Answer, Ask, Call, Finish, Tool, answer
from extproc.local.mock.anthropic import signing
from extproc.local.mock.bedrock.models import Model
from extproc.local.mock.directives import Conduct
from extproc.local.mock.state import Memory

STOP_REASONS: Final[dict[Finish, str]] = {
    Finish.DONE: "end_turn",
    Finish.STOP_SEQUENCE: "stop_sequence",
    Finish.LENGTH: "max_tokens",
    Finish.TOOLS: "tool_use",
    Finish.REFUSED: "content_filtered",
}
ALL_STOP_REASONS: Final = (
    *STOP_REASONS.values(),
    "guardrail_intervened",
    "malformed_model_output",
    "malformed_tool_use",
    "model_context_window_exceeded",
)
PADDING: Final = "abcdefghijklmnopqrstuvwxyz"
"""Every event is padded in `p`, so that its length tells nothing of the words."""

Body = Mapping[str, Any]
Json = dict[str, Any]
Event = tuple[str, Json]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One request, understood: everything that its answer is made of."""

    body: Body
    model: Model
    conduct: Conduct
    text: str
    after_tools: bool
    input_tokens: int
    """Without those of the cache."""
    read: int
    written: int
    digest: str

    def _answer(self) -> Answer:
        body = self.body
        config = body.get("toolConfig") or {}
        inference = body.get("inferenceConfig") or {}
        fields = body.get("additionalModelRequestFields") or {}
        mode, forced = _choice(config.get("toolChoice"), fields.get("tool_choice"))
        wanted = (body.get("outputConfig") or {}).get("textFormat")
        schema = wanted and msgspec.json.decode(
            wanted["structure"]["jsonSchema"]["schema"]
        )
        return answer(
            Ask(
                text=self.text,
                conduct=self.conduct,
                tools=tuple(
                    Tool(
                        tool["toolSpec"]["name"],
                        tool["toolSpec"]["inputSchema"]["json"],
                    )
                    for tool in config.get("tools") or ()
                    if "toolSpec" in tool
                ),
                choice=mode,
                forced=forced,
                parallel=not (fields.get("tool_choice") or {}).get(
                    "disable_parallel_tool_use"
                ),
                after_tools=self.after_tools,
                json="no" if wanted is None else "schema",
                schema=schema or {},
                max_tokens=inference.get("maxTokens"),
                stops=tuple(inference.get("stopSequences") or ()),
                thinking=_thinks(fields),
            )
        )

    def _stop(self, said: Answer) -> Json:
        reason = self.conduct.finish or STOP_REASONS[said.finish]
        stop: Json = {"stopReason": reason}
        paths = self.body.get("additionalModelResponseFieldPaths") or ()
        if self.model.maker == "anthropic" and "/stop_sequence" in paths:
            at = said.stop_sequence if reason == "stop_sequence" else None
            stop["additionalModelResponseFields"] = {"stop_sequence": at}
        return stop

    def _usage(self, said: Answer) -> Json:
        total = self.input_tokens + self.read + self.written + said.output_tokens
        return {
            "inputTokens": self.input_tokens,
            "outputTokens": said.output_tokens,
            "totalTokens": total,
            "cacheReadInputTokens": self.read,
            "cacheWriteInputTokens": self.written,
        }

    def _report(self, said: Answer) -> Json:
        report: Json = {"usage": self._usage(said), "metrics": {"latencyMs": 42}}
        tier = self.body.get("serviceTier")
        return report if tier is None else {**report, "serviceTier": tier}

    def whole(self) -> Json:
        """Return the answer as one object."""
        said = self._answer()
        message = {"role": "assistant", "content": self._content(said)}
        made = {"output": {"message": message}, **self._stop(said)}
        return made if self.conduct.no_usage else {**made, **self._report(said)}

    def _content(self, said: Answer) -> list[Json]:
        content: list[Json] = []
        if said.thinking:
            signed = signing.signature_of(said.thinking)
            thought = {"text": said.thinking, "signature": signed}
            content.append({"reasoningContent": {"reasoningText": thought}})
        if said.redacted:
            sealed = signing.sealed(said.thinking)
            content.append({"reasoningContent": {"redactedContent": sealed}})
        if said.pieces:
            text = {"text": "".join(said.pieces)}
            cited = self._citations()
            whole = {"citationsContent": {"content": [text], "citations": cited}}
            content.append(whole if cited else text)
        for nth, call in enumerate(said.calls):
            use = {**self._tool_use(nth, call), "input": _decoded(call)}
            content.append({"toolUse": use})
        return content

    def _citations(self) -> list[Json]:
        """Return what the words cite: every document that may be."""
        documents = [
            block["document"]
            for turn in self.body["messages"]
            for block in turn["content"]
            if "document" in block
        ]
        found = [
            block["searchResult"]
            for turn in self.body["messages"]
            for outer in turn["content"]
            for block in (outer, *outer.get("toolResult", {}).get("content", ()))
            if "searchResult" in block
        ]
        return [
            {
                "title": document["name"],
                "sourceContent": [{"text": "The document's own words."}],
                "location": _place(i, document.get("format")),
            }
            for i, document in enumerate(documents)
            if (document.get("citations") or {}).get("enabled")
        ] + [
            {
                "title": one["title"],
                "source": one["source"],
                "sourceContent": one["content"][:1],
                "location": {
                    "searchResultLocation": {
                        "searchResultIndex": i, "start": 0, "end": 1,
                    }
                },
            }
            for i, one in enumerate(found)
            if (one.get("citations") or {}).get("enabled")
        ]  # fmt: skip

    def _tool_use(self, nth: int, call: Call) -> Json:
        seed = f"{self.digest}/{nth}".encode()
        id_ = f"tooluse_mock{hashlib.sha256(seed).hexdigest()[:18]}"
        return {"toolUseId": id_, "name": call.tool.name}

    def events(self) -> Iterator[Event]:
        """Yield the answer's events: only tools announce their blocks, usage comes last."""
        said = self._answer()
        yield _padded("messageStart", role="assistant")
        for index, (start, deltas) in enumerate(self._streamed(said)):
            if start is not None:
                yield _padded("contentBlockStart", start=start, contentBlockIndex=index)
            for delta in deltas:
                yield _padded("contentBlockDelta", delta=delta, contentBlockIndex=index)
            yield _padded("contentBlockStop", contentBlockIndex=index)
        yield _padded("messageStop", **self._stop(said))
        if not self.conduct.no_usage:
            yield _padded("metadata", **self._report(said))

    def _streamed(self, said: Answer) -> Iterator[tuple[Json | None, list[Json]]]:
        """Yield each block: what announces it, if anything does, and what fills it."""
        if said.thinking:
            pieces: list[Json] = [
                {"text": piece} for piece in tokens.tokens_of(said.thinking)
            ]
            pieces.append({"signature": signing.signature_of(said.thinking)})
            yield None, [{"reasoningContent": piece} for piece in pieces]
        if said.redacted:
            sealed = {"redactedContent": signing.sealed(said.thinking)}
            yield None, [{"reasoningContent": sealed}]
        if said.pieces:
            told: list[Json] = [{"text": piece} for piece in said.pieces]
            told += [{"citation": one} for one in self._citations()]
            yield None, told
        for nth, call in enumerate(said.calls):
            empty = call.arguments == "{}" and not call.tool.schema.get("properties")
            given = [] if empty else [{"toolUse": {"input": p}} for p in call.pieces]
            yield {"toolUse": self._tool_use(nth, call)}, given


def _place(index: int, form: str | None) -> Json:
    """Return where a document is cited: a page of a PDF, characters of a text."""
    unit, first = ("documentPage", 1) if form == "pdf" else ("documentChar", 0)
    return {unit: {"documentIndex": index, "start": first, "end": first + 1}}


def _choice(
    ours: Body | None, claudes: Body | None
) -> tuple[Literal["auto", "any", "none"], str | None]:
    """Return how free the model is, and the one tool that it must call."""
    if claudes is not None:
        free: dict[str, Literal["auto", "any", "none"]] = {
            "auto": "auto",
            "any": "any",
            "tool": "any",
            "none": "none",
        }
        return free[claudes["type"]], claudes.get("name")
    if ours is None or "auto" in ours:
        return "auto", None
    return "any", ours.get("tool", {}).get("name")


def _thinks(fields: Body) -> bool:
    claude = fields.get("thinking", {}).get("type") in {"enabled", "adaptive"}
    nova = fields.get("reasoningConfig", {}).get("type") == "enabled"
    return claude or nova or "reasoning_effort" in fields


def _decoded(call: Call) -> object:
    """Return the input as an object; `tool-args` may have made it anything else."""
    try:
        return msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return call.arguments


def _padded(name: str, **fields: Any) -> Event:  # noqa: ANN401
    length = 1 + len(msgspec.json.encode(fields)) % len(PADDING)
    return name, {**fields, "p": PADDING[:length]}


def understand(
    body: Body, model: Model, conduct: Conduct, raw: bytes, memory: Memory
) -> Conversation:
    """Return the answer that a checked request asks for.

    Raises:
        UnknownDirective: the text asks for something that the mock cannot do.
    """
    text, after_tools = _last_turn(body["messages"])
    rest, conduct = directives.split(text, conduct)
    fresh, read, written = _priced(body, conduct, memory)
    return Conversation(
        body=body,
        model=model,
        conduct=conduct,
        text=rest,
        after_tools=after_tools,
        input_tokens=fresh,
        read=read,
        written=written,
        digest=hashlib.sha256(raw).hexdigest(),
    )


def _last_turn(turns: list[Body]) -> tuple[str, bool]:
    """Return the text of the last user turn, and whether it brings tool results."""
    turn = next(turn for turn in reversed(turns) if turn["role"] == "user")
    results = [b["toolResult"] for b in turn["content"] if "toolResult" in b]
    told = [
        inner["text"]
        for result in results
        for inner in result["content"]
        if "text" in inner
    ]
    said = [block["text"] for block in turn["content"] if "text" in block]
    return "\n".join([*told, *said]), bool(results)


def _priced(body: Body, conduct: Conduct, memory: Memory) -> tuple[int, int, int]:
    """Return the prompt's tokens: neither read from a cache nor written, read, written.

    Every cache point ends a prefix. The longest that came before is read, the rest up to
    the last point is written.
    """
    blocks = [*(body.get("toolConfig") or {}).get("tools", ()), *body.get("system", ())]
    for turn in body["messages"]:
        blocks += turn["content"]
    total = sum(
        tokens.count_tree(block) for block in blocks if "cachePoint" not in block
    )
    if conduct.cached_tokens:
        read = min(conduct.cached_tokens, total)
        return total - read, read, 0
    digest, counted, read, marked = hashlib.sha256(), 0, 0, 0
    for block in blocks:
        if "cachePoint" in block:
            marked = counted
            if memory.seen_before(f"bedrock {digest.hexdigest()}"):
                read = counted
            continue
        digest.update(msgspec.json.encode(block))
        counted += tokens.count_tree(block)
    return total - marked, read, marked - read
