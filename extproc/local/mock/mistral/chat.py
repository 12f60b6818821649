"""A checked request of Mistral's in; its completion, or the completion's chunks, out.

What the model says is what the mock of OpenAI's says; the words for it are Mistral's: ids
of calls of nine characters, thoughts as chunks of ``content``, a call whole in one delta,
and the usage beside the last ``finish_reason``, asked for or not.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from extproc.local.mock import directives, tokens
from extproc.local.mock.answers import Answer, Ask, Call
from extproc.local.mock.directives import Conduct
from extproc.local.mock.openai import chat as openai
from extproc.local.mock.openai.models import Model
from extproc.local.mock.reply import SseEvent

Json = dict[str, Any]

ADJUSTABLE: Final = frozenset({"mistral-small-latest", "mistral-medium-latest"})
"""Models that think where ``reasoning_effort`` says so; Magistral always does."""

MODELS: Final[Mapping[str, Model]] = {
    name: Model(
        name, name, 1735689600, 128_000, 128_000,
        reasoning=name.startswith("magistral"),
        images=not name.startswith("codestral"),
        audio=name.startswith("voxtral"),
    )
    for name in (
        "mistral-large-latest", "mistral-medium-latest", "mistral-small-latest",
        "magistral-medium-latest", "codestral-latest", "voxtral-small-latest",
    )
}  # fmt: skip
"""https://docs.mistral.ai/getting-started/models"""


class Completion(openai.Completion):
    """One request, understood; its body is in OpenAI's words by now."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """The completion's id: the same request has the same id."""
        return self.digest[:32]

    def call_id(self, choice: int, nth: int) -> str:
        """Return the id of a tool call: nine letters and digits."""
        seed = f"{self.digest}/{choice}/{nth}".encode()
        return hashlib.sha256(seed).hexdigest()[:9]

    def _ask(self, variant: int) -> Ask:
        asked = openai.Completion._ask(self, variant)  # noqa: SLF001  slots: no super()
        effort = self.body.get("reasoning_effort") or "none"
        thinks = self.model.reasoning or (
            self.model.id in ADJUSTABLE and effort != "none"
        )
        return dataclasses.replace(asked, thinking=thinks)

    def usage(self, answers: list[Answer]) -> Json:
        """Return the usage of the whole completion."""
        produced = sum(answer.output_tokens for answer in answers)
        counts: Json = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": produced,
            "total_tokens": self.prompt_tokens + produced,
        }
        if self.conduct.cached_tokens:
            cached = min(self.conduct.cached_tokens, self.prompt_tokens)
            counts["prompt_tokens_details"] = {"cached_tokens": cached}
        return counts

    def failed(self) -> Json:
        """Return the chunk of a model that could not go on."""
        end = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        return {**self._head("chat.completion.chunk"), "choices": [end]}

    def _head(self, kind: str) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model.id,
        }

    def _message(self, choice: int, said: Answer) -> Json:
        words = said.text or said.refusal
        content: Any = words
        if said.thinking:
            content = [thought(said.thinking, self._proof(said))]
            content += [{"type": "text", "text": words}] if words else []
        return {
            "role": "assistant",
            "content": content,
            "tool_calls": [
                self._call(choice, nth, call) for nth, call in enumerate(said.calls)
            ]
            or None,
        }

    def _call(self, choice: int, nth: int, call: Call) -> Json:
        function = {"name": call.tool.name, "arguments": call.arguments}
        return {"id": self.call_id(choice, nth), "function": function, "index": nth}

    def _proof(self, said: Answer) -> str:
        return hashlib.sha256(said.thinking.encode()).hexdigest()

    def chunks(self) -> Iterator[SseEvent]:
        """Yield the completion as server-sent events, the usage beside the last finish."""
        answers = self.answers()
        head = self._head("chat.completion.chunk")
        steps = [
            step
            for choice, said in enumerate(answers)
            for step in self._deltas(choice, said)
        ]
        for place, step in enumerate(steps):
            chunk = {**head, "choices": [step]}
            if place == len(steps) - 1 and not self.conduct.no_usage:
                chunk["usage"] = self.usage(answers)
            yield SseEvent(msgspec.json.encode(chunk))
        yield openai.DONE

    def _deltas(self, choice: int, said: Answer) -> Iterator[Json]:
        def step(
            delta: Json, finish: str | None = None, piece: str | None = None
        ) -> Json:
            made: Json = {"index": choice, "delta": delta, "finish_reason": finish}
            if piece is not None and self.body.get("logprobs"):
                made["logprobs"] = {"content": [self._logprob(piece)]}
            return made

        yield step({"role": "assistant", "content": ""})
        for piece in tokens.tokens_of(said.thinking):
            yield step({"content": [thought(piece)]})
        if said.thinking:
            yield step({"content": [thought("", self._proof(said))]})
        for piece in said.pieces:
            yield step({"content": piece}, piece=piece)
        last: Json = {"content": ""}
        if said.calls:
            last["tool_calls"] = [
                self._call(choice, nth, call) for nth, call in enumerate(said.calls)
            ]
        yield step(last, self.finish_reason(said))


def thought(text: str, signature: str | None = None) -> Json:
    """Return a chunk of thoughts."""
    words = [{"type": "text", "text": text}] if text else []
    made: Json = {"type": "thinking", "thinking": words}
    return made if signature is None else {**made, "signature": signature}


def understand(
    body: Json, model: Model, conduct: Conduct, raw: bytes, created: int
) -> Completion:
    """Return the completion that a checked request asks for.

    Raises:
        UnknownDirective: the text asks for something that the mock cannot do.
    """
    text, after_tools = openai.last_turn(body["messages"])
    rest, conduct = directives.split(text, conduct)
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        choice = {"type": "function", **choice}
    said = {
        **body,
        "tools": [{"type": "function", **tool} for tool in body.get("tools") or ()],
        "tool_choice": "required" if choice == "any" else choice,
        "response_format": {"type": "text", **(body.get("response_format") or {})},
    }
    counted = [{k: v for k, v in m.items() if k != "role"} for m in body["messages"]]
    prompt = sum(openai.MESSAGE_TOKENS + tokens.count_tree(one) for one in counted)
    return Completion(
        body=said,
        model=model,
        conduct=conduct,
        text=rest,
        after_tools=after_tools,
        prompt_tokens=prompt + tokens.count_tree(said["tools"]),
        digest=hashlib.sha256(raw).hexdigest(),
        created=created,
    )
