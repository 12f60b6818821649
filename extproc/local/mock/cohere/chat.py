"""A checked request in; Cohere's answer, whole or event by event, out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from extproc.local.mock import directives, tokens
from extproc.local.mock.answers import Answer, Ask, Call, Finish, Tool, answer
from extproc.local.mock.cohere.models import Model
from extproc.local.mock.directives import Conduct
from extproc.local.mock.reply import SseEvent

FINISH: Final[dict[Finish, str]] = {
    Finish.DONE: "COMPLETE",
    Finish.STOP_SEQUENCE: "STOP_SEQUENCE",
    Finish.TOOLS: "TOOL_CALL",
    Finish.LENGTH: "MAX_TOKENS",
    Finish.REFUSED: "COMPLETE",
}

Body = Mapping[str, Any]
Json = dict[str, Any]


def text_of(content: Any) -> str:  # noqa: ANN401
    """Return the words of a message's content."""
    if isinstance(content, str):
        return content
    out = []
    for part in content or ():
        if part["type"] == "text":
            out.append(part["text"])
        elif part["type"] == "document":
            out += [str(value) for value in part["document"]["data"].values()]
    return "\n".join(out)


@dataclass(frozen=True, slots=True)
class Completion:
    """One request, understood."""

    body: Body
    model: Model
    conduct: Conduct
    text: str
    digest: str

    @property
    def input_tokens(self) -> int:
        """What the prompt costs."""
        names = ("messages", "tools", "documents")
        return sum(tokens.count_tree(self.body.get(name)) for name in names)

    def said(self) -> Answer:
        """Return what the model says."""
        body = self.body
        shape = body.get("response_format") or {}
        choices: dict[str | None, Literal["auto", "any", "none"]] = {
            None: "auto", "REQUIRED": "any", "NONE": "none",
        }  # fmt: skip
        schema = shape.get("json_schema") or {}
        as_json = shape.get("type") == "json_object"
        thinking = (body.get("thinking") or {}).get("type", "enabled") == "enabled"
        return answer(
            Ask(
                text=self.text,
                conduct=self.conduct,
                tools=tuple(
                    Tool(t["function"]["name"], t["function"]["parameters"])
                    for t in body.get("tools") or ()
                ),
                choice=choices[body.get("tool_choice")],
                after_tools=body["messages"][-1]["role"] == "tool",
                json=("schema" if schema else "any") if as_json else "no",
                schema=schema,
                max_tokens=body.get("max_tokens"),
                stops=tuple(body.get("stop_sequences") or ()),
                thinking=self.model.thinks and thinking,
            )
        )

    def _id(self) -> str:
        raw = self.digest
        return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-a{raw[17:20]}-{raw[20:32]}"

    def _call(self, place: int, call: Call) -> Json:
        return {
            "id": f"{call.tool.name}_{self.digest[place : place + 12]}",
            "type": "function",
            "function": {"name": call.tool.name, "arguments": call.arguments},
        }

    def _usage(self, said: Answer) -> Json:
        if self.conduct.no_usage:
            return {}
        counted = self.input_tokens
        usage: Json = {
            "billed_units": {
                "input_tokens": float(counted),
                "output_tokens": float(said.output_tokens),
            },
            # The model also reads the words that Cohere puts around a prompt.
            "tokens": {
                "input_tokens": float(counted + 60),
                "output_tokens": float(said.output_tokens + 2),
            },
        }
        if self.conduct.cached_tokens:
            usage["cached_tokens"] = float(min(self.conduct.cached_tokens, counted))
        return {"usage": usage}

    def _finish(self, said: Answer) -> str:
        return self.conduct.finish or FINISH[said.finish]

    def whole(self) -> Json:
        """Return the answer as one object."""
        said = self.said()
        message: Json = {"role": "assistant"}
        content = []
        if said.thinking:
            content.append({"type": "thinking", "thinking": said.thinking})
        words = said.text or said.refusal
        if said.calls:
            message["tool_calls"] = [self._call(i, c) for i, c in enumerate(said.calls)]
            if words:
                message["tool_plan"] = words
        else:
            content.append({"type": "text", "text": words})
        if content:
            message["content"] = content
        if self.body.get("documents") and not said.calls:
            message["citations"] = [_citation(words)]
        return {
            "id": self._id(),
            "finish_reason": self._finish(said),
            "message": message,
            **self._usage(said),
        }

    def events(self) -> Iterator[SseEvent]:
        """Yield the answer event by event."""
        said = self.said()
        start = {"id": self._id(), "delta": {"message": {"role": "assistant"}}}
        yield _event("message-start", **start)
        index = 0
        if said.thinking:
            yield from _block(index, "thinking", tokens.tokens_of(said.thinking))
            index += 1
        if said.calls:
            for piece in said.pieces:
                yield _event("tool-plan-delta", delta={"message": {"tool_plan": piece}})
            for i, call in enumerate(said.calls):
                yield from self._streamed_call(i, call)
        else:
            yield from _block(index, "text", list(said.pieces))
            if self.body.get("documents"):
                cited = {"message": {"citations": _citation(said.text)}}
                yield _event("citation-start", index=0, delta=cited)
                yield _event("citation-end", index=0)
        end = {"finish_reason": self._finish(said), **self._usage(said)}
        yield _event("message-end", id=self._id(), delta=end)

    def _streamed_call(self, place: int, call: Call) -> Iterator[SseEvent]:
        whole = self._call(place, call)
        function = {"name": call.tool.name, "arguments": ""}
        started = {**whole, "function": function}
        message = {"message": {"tool_calls": started}}
        yield _event("tool-call-start", index=place, delta=message)
        for piece in call.pieces:
            more = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
            yield _event("tool-call-delta", index=place, delta=more)
        yield _event("tool-call-end", index=place)


def _citation(words: str) -> Json:
    return {
        "start": 0, "end": len(words), "text": words, "type": "TEXT_CONTENT",
        "sources": [{"type": "document", "id": "doc:0", "document": {"id": "doc:0"}}],
    }  # fmt: skip


def _block(index: int, kind: str, pieces: list[str]) -> Iterator[SseEvent]:
    empty = {"message": {"content": {"type": kind, kind: ""}}}
    yield _event("content-start", index=index, delta=empty)
    for piece in pieces:
        delta = {"message": {"content": {kind: piece}}}
        yield _event("content-delta", index=index, delta=delta)
    yield _event("content-end", index=index)


def _event(kind: str, **members: Any) -> SseEvent:  # noqa: ANN401
    return SseEvent(msgspec.json.encode({"type": kind, **members}), kind)


def understand(body: Body, model: Model, conduct: Conduct, raw: bytes) -> Completion:
    """Return the answer that a checked request asks for.

    Raises:
        UnknownDirective: the text asks for something that the mock cannot do.
    """
    messages = body["messages"]
    results = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.append(text_of(message["content"]))
    if results:
        text = "\n".join(reversed(results))
    else:
        asked = next(
            (m for m in reversed(messages) if m["role"] == "user"), messages[-1]
        )
        text = text_of(asked.get("content"))
    rest, conduct = directives.split(text, conduct)
    digest = hashlib.sha256(model.id.encode() + raw).hexdigest()
    return Completion(body, model, conduct, rest, digest)
