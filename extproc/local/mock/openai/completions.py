"""A checked legacy completion request in; the completion, or its chunks, out.

https://platform.openai.com/docs/api-reference/completions. The model goes on with the
prompt: it says what chat would, behind the prompt itself where ``echo`` asks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from extproc.local.mock import directives, tokens
from extproc.local.mock.answers import Answer, Ask, Finish, answer
from extproc.local.mock.directives import Conduct
from extproc.local.mock.openai.models import Model
from extproc.local.mock.reply import Refusal, SseEvent
from extproc.local.mock.rules import (
    Bool,
    FreeObj,
    Int,
    ListOf,
    Num,
    Obj,
    Str,
    nullable,
    one_of,
)

FINISH_REASONS: Final[dict[Finish, str]] = {
    Finish.DONE: "stop",
    Finish.STOP_SEQUENCE: "stop",
    Finish.LENGTH: "length",
    Finish.TOOLS: "stop",
    Finish.REFUSED: "content_filter",
}
DEFAULT_MAX_TOKENS: Final = 16
DONE: Final = SseEvent(b"[DONE]")

COMPLETION: Final = Obj(
    {
        "model!": Str(min=1),
        "prompt!": one_of(
            Str(), ListOf(one_of(Str(), Int(0), ListOf(Int(0), min=1)), min=1)
        ),
        "best_of": nullable(Int(1, 20)),
        "echo": nullable(Bool()),
        "frequency_penalty": nullable(Num(-2, 2)),
        "logit_bias": nullable(FreeObj(Int(-100, 100))),
        "logprobs": nullable(Int(0, 5)),
        "max_tokens": nullable(Int(0)),
        "n": nullable(Int(1, 128)),
        "presence_penalty": nullable(Num(-2, 2)),
        "seed": nullable(Int(-(2**63), 2**63 - 1)),
        "stop": nullable(one_of(Str(), ListOf(Str(), min=1, max=4))),
        "stream": nullable(Bool()),
        "stream_options": nullable(
            Obj({"include_obfuscation": Bool(), "include_usage": Bool()})
        ),
        "suffix": nullable(Str()),
        "temperature": nullable(Num(0, 2)),
        "top_p": nullable(Num(0, 1)),
        "user": Str(),
    }
)

Body = Mapping[str, Any]
Json = dict[str, Any]


def check(body: Body, model: Model) -> None:
    """Raise the `Refusal` that OpenAI would answer with."""
    if not model.completes:
        raise Refusal(
            404,
            "This is a chat model and not supported in the v1/completions endpoint. Did"
            " you mean to use v1/chat/completions?",
            param="model",
        )
    best = body.get("best_of")
    if best is not None and (
        best < (body.get("n") or 1) or (best > 1 and body.get("stream"))
    ):
        raise Refusal(
            400, "best_of must be at least n, and not be streamed.", param="best_of"
        )
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Refusal(
            400,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """One request, understood: everything that its answer is made of."""

    body: Body
    model: Model
    conduct: Conduct
    prompts: tuple[str, ...]
    prompt_tokens: int
    digest: str
    created: int

    def _answers(self) -> list[tuple[str, Answer]]:
        """Return each prompt with what the model says, once for each of the choices."""
        return [
            (prompt, answer(self._ask(prompt, i)))
            for prompt in self.prompts
            for i in range(self.body.get("n") or 1)
        ]

    def _ask(self, prompt: str, variant: int) -> Ask:
        stops = self.body.get("stop") or ()
        limit = self.body.get("max_tokens")
        return Ask(
            text=prompt,
            conduct=self.conduct,
            max_tokens=DEFAULT_MAX_TOKENS if limit is None else limit,
            stops=(stops,) if isinstance(stops, str) else tuple(stops),
            variant=variant,
        )

    def _usage(self, answers: list[tuple[str, Answer]]) -> Json:
        produced = sum(said.output_tokens for _, said in answers)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": produced,
            "total_tokens": self.prompt_tokens + produced,
        }

    def _head(self) -> Json:
        return {
            "id": f"cmpl-mock{self.digest[:24]}",
            "object": "text_completion",
            "created": self.created,
            "model": self.model.snapshot,
        }

    def _choice(
        self, index: int, pieces: list[str], said: Answer, *, over: bool
    ) -> Json:
        reason = self.conduct.finish or FINISH_REASONS[said.finish]
        return {
            "text": "".join(pieces),
            "index": index,
            "logprobs": self._logprobs(pieces),
            "finish_reason": reason if over else None,
        }

    def _logprobs(self, pieces: list[str]) -> Json | None:
        if self.body.get("logprobs") is None:
            return None
        return {
            "tokens": pieces,
            "token_logprobs": [-0.5 for _ in pieces],
            "top_logprobs": [{piece: -0.5} for piece in pieces],
            "text_offset": [len("".join(pieces[:i])) for i in range(len(pieces))],
        }

    def _pieces(self, prompt: str, said: Answer) -> list[str]:
        return [*([prompt] if self.body.get("echo") else []), *said.pieces]

    def whole(self) -> Json:
        """Return the completion as one object."""
        answers = self._answers()
        made = {
            **self._head(),
            "choices": [
                self._choice(i, self._pieces(prompt, said), said, over=True)
                for i, (prompt, said) in enumerate(answers)
            ],
        }
        if not self.conduct.no_usage:
            made["usage"] = self._usage(answers)
        return made

    def chunks(self) -> Iterator[SseEvent]:
        """Yield the completion as server-sent events, and `[DONE]`."""
        answers = self._answers()
        counted = bool((self.body.get("stream_options") or {}).get("include_usage"))
        tail: Json = {"usage": None} if counted else {}
        for i, (prompt, said) in enumerate(answers):
            pieces = self._pieces(prompt, said)
            for place, piece in enumerate(pieces):
                over = place == len(pieces) - 1
                choice = self._choice(i, [piece], said, over=over)
                yield _event({**self._head(), "choices": [choice], **tail})
        if counted and not self.conduct.no_usage:
            usage = self._usage(answers)
            yield _event({**self._head(), "choices": [], "usage": usage})
        yield DONE


def _event(chunk: Json) -> SseEvent:
    return SseEvent(msgspec.json.encode(chunk))


def understand(
    body: Body, model: Model, conduct: Conduct, raw: bytes, created: int
) -> Completion:
    """Return the completion that a checked request asks for.

    Raises:
        UnknownDirective: the text asks for something that the mock cannot do.
    """
    said = body["prompt"]
    listed = said if isinstance(said, list) else [said]
    if listed and isinstance(listed[0], int):
        listed = [listed]
    prompts = []
    for one in listed:
        text = one if isinstance(one, str) else " ".join(map(str, one))
        rest, conduct = directives.split(text, conduct)
        prompts.append(rest)
    return Completion(
        body=body,
        model=model,
        conduct=conduct,
        prompts=tuple(prompts),
        prompt_tokens=sum(tokens.count_tree(prompt) for prompt in prompts),
        digest=hashlib.sha256(raw).hexdigest(),
        created=created,
    )
