"""A checked chat completion request in; the completion, or its chunks, out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from extproc.local.mock import directives, sources, tokens
from extproc.local.mock.answers import Answer, Ask, Call, Finish, Tool, answer
from extproc.local.mock.directives import Conduct
from extproc.local.mock.openai.models import Model
from extproc.local.mock.reply import SseEvent

FINISH_REASONS: Final[dict[Finish, str]] = {
    Finish.DONE: "stop",
    Finish.STOP_SEQUENCE: "stop",
    Finish.LENGTH: "length",
    Finish.TOOLS: "tool_calls",
    Finish.REFUSED: "stop",
}
MESSAGE_TOKENS: Final = 4
"""What each message costs beyond its words (OpenAI's cookbook says 3 or 4)."""
FINGERPRINT: Final = "fp_mock000000"
DONE: Final = SseEvent(b"[DONE]")

Body = Mapping[str, Any]
Json = dict[str, Any]


def last_turn(messages: list[Body]) -> tuple[str, bool]:
    """Return the text of the last turn, and whether it brings tool results."""
    if messages[-1]["role"] in ("tool", "function"):
        results = []
        for message in reversed(messages):
            if message["role"] not in ("tool", "function"):
                break
            results.append(_text(message["content"]))
        return " ".join(reversed(results)), True
    for message in reversed(messages):
        if message["role"] == "user":
            return _text(message["content"]), False
    return _text(messages[-1].get("content")), False


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part["type"] == "text")
    return content if isinstance(content, str) else ""


@dataclass(frozen=True, slots=True)
class Completion:
    """One request, understood: everything that its answer is made of."""

    body: Body
    model: Model
    conduct: Conduct
    text: str
    after_tools: bool
    prompt_tokens: int
    digest: str
    created: int

    @property
    def id(self) -> str:
        """The completion's id: the same request has the same id."""
        return f"chatcmpl-mock{self.digest[:24]}"

    def answers(self) -> list[Answer]:
        """Return what the model says, once for each of the `n` choices."""
        return [answer(self._ask(i)) for i in range(self.body.get("n") or 1)]

    def _ask(self, variant: int) -> Ask:
        body, wanted = self.body, self.body.get("response_format") or {"type": "text"}
        tools, choice, forced = _tools(body)
        stops = body.get("stop") or ()
        schema = (wanted.get("json_schema") or {}).get("schema") or {}
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
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
            parallel=body.get("parallel_tool_calls", True) and "functions" not in body,
            after_tools=self.after_tools,
            json=modes.get(wanted["type"], "no"),
            schema=schema,
            max_tokens=min(limit or self.model.max_output, self.model.max_output),
            stops=(stops,) if isinstance(stops, str) else tuple(stops),
            thinking=self.model.reasoning and body.get("reasoning_effort") != "none",
            variant=variant,
        )

    def usage(self, answers: list[Answer]) -> Json:
        """Return the usage of the whole completion."""
        produced = sum(answer.output_tokens for answer in answers)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": produced,
            "total_tokens": self.prompt_tokens + produced,
            "prompt_tokens_details": {
                "cached_tokens": min(self.conduct.cached_tokens, self.prompt_tokens),
                "audio_tokens": 0,
            },
            "completion_tokens_details": {
                "reasoning_tokens": sum(a.thinking_tokens for a in answers),
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def finish_reason(self, said: Answer) -> str:
        """Name the reason in OpenAI's words."""
        reason = self.conduct.finish or FINISH_REASONS[said.finish]
        if reason == "tool_calls" and "functions" in self.body:
            return "function_call"
        return reason

    def call_id(self, choice: int, nth: int) -> str:
        """Return the id of a tool call: the same request has the same ids."""
        seed = f"{self.digest}/{choice}/{nth}".encode()
        return f"call_{hashlib.sha256(seed).hexdigest()[:24]}"

    def _head(self, kind: str) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model.snapshot,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }

    def whole(self) -> Json:
        """Return the completion as one object."""
        answers = self.answers()
        made = self._head("chat.completion")
        made["choices"] = [
            {
                "index": i,
                "message": self._message(i, said),
                "logprobs": self._logprobs(said),
                "finish_reason": self.finish_reason(said),
            }
            for i, said in enumerate(answers)
        ]
        if not self.conduct.no_usage:
            made["usage"] = self.usage(answers)
        return made

    def _message(self, choice: int, said: Answer) -> Json:
        message: Json = {
            "role": "assistant",
            "content": said.text or (None if said.calls or said.refusal else ""),
            "refusal": said.refusal or None,
            "annotations": self._annotations(said),
        }
        if said.calls and "functions" in self.body:
            call = said.calls[0]
            message["function_call"] = {
                "name": call.tool.name,
                "arguments": call.arguments,
            }
        elif said.calls:
            message["tool_calls"] = [
                self._tool_call(choice, nth, call)
                for nth, call in enumerate(said.calls)
            ]
        return message

    def _annotations(self, said: Answer) -> list[Json]:
        """Return what the text cites: https://platform.openai.com/docs/guides/tools-web-search."""
        offered = self.body.get("web_search_options") is not None
        if not (offered and said.text and sources.searches(self.text)):
            return []
        start, end = sources.rests(said.text)
        page = {"url": sources.PAGE, "title": sources.TITLE}
        cited = {"start_index": start, "end_index": end, **page}
        return [{"type": "url_citation", "url_citation": cited}]

    def _tool_call(self, choice: int, nth: int, call: Call) -> Json:
        head = {"id": self.call_id(choice, nth)}
        if call.tool.free_text:
            custom = {"name": call.tool.name, "input": call.arguments}
            return {**head, "type": "custom", "custom": custom}
        function = {"name": call.tool.name, "arguments": call.arguments}
        return {**head, "type": "function", "function": function}

    def _logprobs(self, said: Answer) -> Json | None:
        if not self.body.get("logprobs"):
            return None
        return {
            "content": [self._logprob(piece) for piece in said.pieces],
            "refusal": None,
        }

    def _logprob(self, piece: str) -> Json:
        def entry(token: str, worse: int) -> Json:
            seed = hashlib.sha256(token.encode()).digest()[0]
            return {
                "token": token,
                "logprob": -(seed + 1) / 1024 - worse,
                "bytes": list(token.encode()),
            }

        most = self.body.get("top_logprobs") or 0
        others = [entry(piece if i == 0 else f"{piece}{i}", i) for i in range(most)]
        return {**entry(piece, 0), "top_logprobs": others}

    def chunks(self) -> Iterator[SseEvent]:
        """Yield the completion as server-sent events.

        Each choice: role, pieces, finish; choices interleave. Then the usage, if asked
        for, and `[DONE]`.
        """
        answers = self.answers()
        counted = bool((self.body.get("stream_options") or {}).get("include_usage"))
        counted = counted and not self.conduct.no_usage
        head = self._head("chat.completion.chunk")
        tail: Json = {"usage": None} if counted else {}
        turns = [self._deltas(i, said) for i, said in enumerate(answers)]
        while turns:
            for turn in tuple(turns):
                choice = next(turn, None)
                if choice is None:
                    turns.remove(turn)
                    continue
                yield _event({**head, "choices": [choice], **tail})
        if counted:
            yield _event({**head, "choices": [], "usage": self.usage(answers)})
        yield DONE

    def _deltas(self, choice: int, said: Answer) -> Iterator[Json]:
        def step(
            delta: Json, finish: str | None = None, piece: str | None = None
        ) -> Json:
            logprobs = None
            if piece is not None and self.body.get("logprobs"):
                logprobs = {"content": [self._logprob(piece)], "refusal": None}
            return {
                "index": choice,
                "delta": delta,
                "logprobs": logprobs,
                "finish_reason": finish,
            }

        start = None if said.calls and not said.text else ""
        yield step({"role": "assistant", "content": start, "refusal": None})
        field = "refusal" if said.refusal else "content"
        for piece in said.pieces:
            yield step({field: piece}, piece=piece)
        if cited := self._annotations(said):
            yield step({"annotations": cited})
        for nth, call in enumerate(said.calls):
            for delta in self._call_deltas(choice, nth, call):
                yield step(delta)
        yield step({}, self.finish_reason(said))

    def _call_deltas(self, choice: int, nth: int, call: Call) -> Iterator[Json]:
        if "functions" in self.body:
            yield {"function_call": {"name": call.tool.name, "arguments": ""}}
            for piece in call.pieces:
                yield {"function_call": {"arguments": piece}}
            return
        # A custom tool's call is streamed as `custom` with `input`.
        kind, field = (
            ("custom", "input") if call.tool.free_text else ("function", "arguments")
        )
        opening = {"name": call.tool.name, field: ""}
        head = {
            "index": nth,
            "id": self.call_id(choice, nth),
            "type": kind,
            kind: opening,
        }
        yield {"tool_calls": [head]}
        for piece in call.pieces:
            yield {"tool_calls": [{"index": nth, kind: {field: piece}}]}


def _event(chunk: Json) -> SseEvent:
    return SseEvent(msgspec.json.encode(chunk))


Choice = tuple[tuple[Tool, ...], Literal["auto", "any", "none"], str | None]
"""The tools, how free the model is to use them, and the one that it must use."""


def _tools(body: Body) -> Choice:
    if "functions" in body:
        return _functions(body)
    tools = tuple(
        Tool(
            tool[tool["type"]]["name"],
            tool[tool["type"]].get("parameters") or {},
            free_text=tool["type"] == "custom",
        )
        for tool in body.get("tools") or ()
    )
    forced: str | None = None
    choice: Literal["auto", "any", "none"] = "auto"
    match wanted := body.get("tool_choice", "auto"):
        case "none":
            choice = "none"
        case "required":
            choice = "any"
        case {"type": "allowed_tools", "allowed_tools": allowed}:
            names = {tool[tool["type"]]["name"] for tool in allowed["tools"]}
            tools = tuple(tool for tool in tools if tool.name in names)
            choice = "any" if allowed["mode"] == "required" else "auto"
        case {"type": "function" | "custom" as kind}:
            choice, forced = "any", wanted[kind]["name"]
        case _:
            pass  # auto
    return tools, choice, forced


def _functions(body: Body) -> Choice:
    tools = tuple(Tool(f["name"], f.get("parameters") or {}) for f in body["functions"])
    wanted = body.get("function_call", "auto")
    if isinstance(wanted, dict):
        return tools, "any", wanted["name"]
    return tools, "none" if wanted == "none" else "auto", None


def understand(
    body: Body, model: Model, conduct: Conduct, raw: bytes, created: int
) -> Completion:
    """Return the completion that a checked request asks for.

    Raises:
        UnknownDirective: the text asks for something that the mock cannot do.
    """
    text, after_tools = last_turn(body["messages"])
    rest, conduct = directives.split(text, conduct)
    prompt = sum(
        MESSAGE_TOKENS + tokens.count_tree({k: v for k, v in m.items() if k != "role"})
        for m in body["messages"]
    ) + tokens.count_tree(body.get("tools") or [])
    return Completion(
        body=body,
        model=model,
        conduct=conduct,
        text=rest,
        after_tools=after_tools,
        prompt_tokens=prompt,
        digest=hashlib.sha256(raw).hexdigest(),
        created=created,
    )
