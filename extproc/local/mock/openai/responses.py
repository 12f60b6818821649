"""A checked Responses request in; the response, or the events of its stream, out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from extproc.local.mock import directives, sources, tokens
from extproc.local.mock.answers import Answer, Ask, Call, Finish, answer
from extproc.local.mock.directives import Conduct
from extproc.local.mock.openai import errors, responses_tools
from extproc.local.mock.openai.models import Model
from extproc.local.mock.openai.responses_check import CALLS, ENCRYPTED, text_of
from extproc.local.mock.openai.responses_memory import encrypt
from extproc.local.mock.reply import SseEvent

ITEM_TOKENS: Final = 4
"""What each item costs beyond its words."""
REASONS: Final = ("max_output_tokens", "content_filter", "max_messages", "steered")
"""What `finish=` may ask for: why the response is incomplete."""
LOGPROBS: Final = "message.output_text.logprobs"

Body = Mapping[str, Any]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """One request, understood: everything that its response is made of."""

    body: Body
    model: Model
    conduct: Conduct
    items: list[Json]
    """The whole conversation, what a former response holds of it included."""
    text: str
    after_tools: bool
    input_tokens: int
    digest: str
    created: int
    said: Answer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "said", answer(self._ask()))

    @property
    def id(self) -> str:
        """The response's id: the same request has the same id."""
        return f"resp_mock{self.digest[:40]}"

    def _ask(self) -> Ask:
        body = self.body
        wanted = (body.get("text") or {}).get("format") or {"type": "text"}
        tools, choice, forced = responses_tools.tools(body)
        limit = body.get("max_output_tokens") or self.model.max_output
        modes: dict[str, Literal["no", "any", "schema"]] = {
            "json_object": "any",
            "json_schema": "schema",
        }
        return Ask(
            text=self.text,
            conduct=self.conduct,
            tools=tools,
            choice=choice,
            forced=forced,
            parallel=body.get("parallel_tool_calls") is not False,
            after_tools=self.after_tools,
            json=modes.get(wanted["type"], "no"),
            schema=wanted.get("schema") or {},
            max_tokens=min(limit, self.model.max_output),
            thinking=self.model.reasoning and self._reasoning.get("effort") != "none",
        )

    @property
    def _reasoning(self) -> Json:
        return self.body.get("reasoning") or {}

    @property
    def _summarized(self) -> bool:
        wanted = self._reasoning
        return bool(wanted.get("summary") or wanted.get("generate_summary"))

    def _item_id(self, prefix: str, nth: int) -> str:
        seed = f"{self.digest}/{prefix}/{nth}".encode()
        return f"{prefix}_{hashlib.sha256(seed).hexdigest()[:40]}"

    # ------------------------------------------------------------ the response

    @property
    def reason(self) -> str | None:
        """Why it is incomplete."""
        if self.conduct.finish is not None:
            return self.conduct.finish
        return "max_output_tokens" if self.said.finish is Finish.LENGTH else None

    def output(self) -> list[Json]:
        """Return the items, whole."""
        made: list[Json] = []
        if self.said.thinking:
            made.append(self._thought(len(made)))
        if self._searched:
            made.append(self._search(len(made)))
        if self.said.text or self.said.refusal or not self.said.calls:
            made.append(self._message(len(made)))
        made += [self._call(len(made) + i, c) for i, c in enumerate(self.said.calls)]
        return made

    def _thought(self, nth: int) -> Json:
        text = self.said.thinking
        summary = [{"type": "summary_text", "text": text}] if self._summarized else []
        item = {"id": self._item_id("rs", nth), "type": "reasoning", "summary": summary}
        if ENCRYPTED in (self.body.get("include") or ()):
            item["encrypted_content"] = encrypt(str(item["id"]), text)
        return item

    @property
    def _searched(self) -> bool:
        return responses_tools.searched(self.body, self.text)

    def _search(self, nth: int) -> Json:
        made: Json = {"type": "search", "query": self.text, "queries": [self.text]}
        if responses_tools.SOURCES in (self.body.get("include") or ()):
            made["sources"] = [{"type": "url", "url": sources.PAGE}]
        id_ = self._item_id("ws", nth)
        call = {"id": id_, "type": "web_search_call", "status": "completed"}
        return {**call, "action": made}

    def _message(self, nth: int) -> Json:
        said = self.said
        part: Json = {"type": "refusal", "refusal": said.refusal}
        if not said.refusal:
            part = {
                "type": "output_text",
                "annotations": responses_tools.cited(said.text)
                if self._searched
                else [],
                "logprobs": [
                    entry for piece in said.pieces for entry in self._logprobs(piece)
                ],
                "text": said.text,
            }
        return {
            "id": self._item_id("msg", nth),
            "type": "message",
            "status": "completed" if self.reason is None else "incomplete",
            "content": [part],
            "role": "assistant",
        }

    def _call(self, nth: int, call: Call) -> Json:
        custom = call.tool.free_text
        item = {
            "id": self._item_id("ctc" if custom else "fc", nth),
            "type": "custom_tool_call" if custom else "function_call",
            "call_id": self._item_id("call", nth)[:29],
            "name": call.tool.name,
        }
        if custom:
            return {**item, "input": call.arguments}
        return {**item, "status": "completed", "arguments": call.arguments}

    def _logprobs(self, piece: str) -> list[Json]:
        if LOGPROBS not in (self.body.get("include") or ()):
            return []

        def entry(token: str, worse: int) -> Json:
            seed = hashlib.sha256(token.encode()).digest()[0]
            logprob = -(seed + 1) / 1024 - worse
            return {"token": token, "bytes": list(token.encode()), "logprob": logprob}

        most = self.body.get("top_logprobs") or 0
        others = [entry(piece if i == 0 else f"{piece}{i}", i) for i in range(most)]
        return [{**entry(piece, 0), "top_logprobs": others}]

    def _usage(self) -> Json:
        made = self.said.output_tokens
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {
                "cached_tokens": min(self.conduct.cached_tokens, self.input_tokens),
                "cache_write_tokens": 0,
            },
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": self.said.thinking_tokens},
            "total_tokens": self.input_tokens + made,
        }

    def whole(self) -> Json:
        """Return the response, over."""
        status = "completed" if self.reason is None else "incomplete"
        return {
            **self._response(status),
            "output": self.output(),
            "usage": None if self.conduct.no_usage else self._usage(),
            "incomplete_details": self.reason and {"reason": self.reason},
        }

    def _response(self, status: str) -> Json:
        """Return the response without what is said in it."""
        body, reasoning = self.body, self._reasoning
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "metadata": body.get("metadata") or {},
            "model": self.model.snapshot,
            "output": [],
            "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
            "previous_response_id": body.get("previous_response_id"),
            "reasoning": {
                "effort": reasoning.get("effort"),
                "summary": "detailed" if self._summarized else None,
            },
            "service_tier": "default",
            "temperature": 1.0,
            "text": {"format": {"type": "text"}, **(body.get("text") or {})},
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools") or [],
            "top_p": 1.0,
            "truncation": body.get("truncation") or "disabled",
            "usage": None,
            "user": body.get("user"),
        }

    # ------------------------------------------------------------ the stream

    def events(self) -> Iterator[SseEvent]:
        """Yield the stream's events, or an error among them if that is asked for."""
        for number, (kind, members) in enumerate(self._told()):
            if number == self.conduct.error_after:
                yield from self._broken(number)
                return
            yield _event(kind, number, members)

    def _broken(self, number: int) -> Iterator[SseEvent]:
        refusal = errors.for_status(500, self.conduct.message)
        error = {
            "type": self.conduct.error_type or refusal.type,
            "code": "server_error",
            "message": refusal.message,
            "param": None,
        }
        yield _event("error", number, {"error": error})
        failed = {"code": "server_error", "message": refusal.message}
        response = {**self._response("failed"), "error": failed}
        yield _event("response.failed", number + 1, {"response": response})

    def _told(self) -> Iterator[tuple[str, Json]]:
        begun = {"response": self._response("in_progress")}
        yield "response.created", begun
        yield "response.in_progress", begun
        for index, item in enumerate(self.output()):
            empty, steps = self._unfolded(item)
            yield (
                "response.output_item.added",
                {"output_index": index, "item": {**item, **empty}},
            )
            at = {"item_id": item["id"], "output_index": index}
            for kind, members in steps:
                yield f"response.{kind}", {**at, **members}
            yield "response.output_item.done", {"output_index": index, "item": item}
        whole = self.whole()
        yield f"response.{whole['status']}", {"response": whole}

    def _unfolded(self, item: Json) -> tuple[Json, Iterator[tuple[str, Json]]]:
        """Return what an item lacks when it is added, and how it comes to have it."""
        calls = [c for c in self.said.calls if c.tool.name == item.get("name")]
        match item["type"]:
            case "message":
                begun = {"content": [], "status": "in_progress"}
                return begun, self._tell_message(item["content"][0])
            case "web_search_call":
                steps = ("in_progress", "searching", "completed")
                looked: list[tuple[str, Json]] = [
                    (f"web_search_call.{one}", {}) for one in steps
                ]
                return {"status": "in_progress"}, iter(looked)
            case "reasoning":
                begun = {"summary": []}
                return begun, self._tell_thought(item["summary"])
            case "function_call":
                told = _tell_call("function_call_arguments", "arguments", calls[0])
                return {"arguments": "", "status": "in_progress"}, told
            case _:
                told = _tell_call("custom_tool_call_input", "input", calls[0])
                return {"input": ""}, told

    def _tell_message(self, part: Json) -> Iterator[tuple[str, Json]]:
        refused = part["type"] == "refusal"
        name, word = ("refusal", "refusal") if refused else ("output_text", "text")
        at: Json = {"content_index": 0}
        none: Json = {} if refused else {"annotations": [], "logprobs": []}
        empty = {**part, word: "", **none}
        yield "content_part.added", {**at, "part": empty}
        for piece in self.said.pieces:
            more = {} if refused else {"logprobs": self._logprobs(piece)}
            yield f"{name}.delta", {**at, "delta": piece, **more}
        for i, one in enumerate(part.get("annotations", ())):
            cited = {**at, "annotation_index": i, "annotation": one}
            yield "output_text.annotation.added", cited
        more = {} if refused else {"logprobs": part["logprobs"]}
        yield f"{name}.done", {**at, word: part[word], **more}
        yield "content_part.done", {**at, "part": part}

    def _tell_thought(self, summary: list[Json]) -> Iterator[tuple[str, Json]]:
        for i, part in enumerate(summary):
            at = {"summary_index": i}
            empty = {**part, "text": ""}
            yield "reasoning_summary_part.added", {**at, "part": empty}
            for piece in tokens.tokens_of(part["text"]):
                yield "reasoning_summary_text.delta", {**at, "delta": piece}
            yield "reasoning_summary_text.done", {**at, "text": part["text"]}
            yield "reasoning_summary_part.done", {**at, "part": part}


def _tell_call(name: str, word: str, call: Call) -> Iterator[tuple[str, Json]]:
    for piece in call.pieces:
        yield f"{name}.delta", {"delta": piece}
    yield f"{name}.done", {word: call.arguments}


def _event(kind: str, number: int, members: Json) -> SseEvent:
    said = {"type": kind, "sequence_number": number, **members}
    return SseEvent(msgspec.json.encode(said), kind)


def last_turn(items: list[Json]) -> tuple[str, bool]:
    """Return the text of the last turn, and whether it brings tool results."""
    results = []
    for item in reversed(items):
        if item["type"] not in CALLS:
            break
        results.append(text_of(item["output"]))
    if results:
        return " ".join(reversed(results)), True
    for item in reversed(items):
        if item["type"] == "message" and item["role"] == "user":
            return text_of(item["content"]), False
    return "", False


def understand(
    body: Body,
    items: list[Json],
    model: Model,
    conduct: Conduct,
    *,
    raw: bytes,
    created: int,
) -> Reply:
    """Return the response that a checked request asks for.

    Raises:
        UnknownDirective: the text asks for something that the mock cannot do.
    """
    text, after_tools = last_turn(items)
    rest, conduct = directives.split(text, conduct)
    counted = sum(ITEM_TOKENS + tokens.count_tree(_words(item)) for item in items)
    counted += tokens.count(body.get("instructions") or "")
    return Reply(
        body=body,
        model=model,
        conduct=conduct,
        items=items,
        text=rest,
        after_tools=after_tools,
        input_tokens=counted + tokens.count_tree(body.get("tools") or []),
        digest=hashlib.sha256(raw).hexdigest(),
        created=created,
    )


def _words(item: Json) -> Json:
    """Return what of an item costs tokens."""
    labels = ("id", "type", "role", "status", "encrypted_content", "phase")
    return {name: value for name, value in item.items() if name not in labels}
