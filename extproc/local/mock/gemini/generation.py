"""A checked request in; the answer, or its pieces, out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from extproc.local.mock import directives, sources, tokens
from extproc.local.mock.answers import Answer, Ask, Call, Finish, Tool, answer
from extproc.local.mock.directives import Conduct
from extproc.local.mock.gemini import signing
from extproc.local.mock.gemini.check import declared
from extproc.local.mock.gemini.models import Model

FINISH_REASONS: Final[dict[Finish, str]] = {
    Finish.DONE: "STOP",
    Finish.STOP_SEQUENCE: "STOP",
    Finish.TOOLS: "STOP",
    Finish.LENGTH: "MAX_TOKENS",
    Finish.REFUSED: "PROHIBITED_CONTENT",
}

FREEDOM: Final[dict[str, Literal["auto", "any", "none"]]] = {
    "MODE_UNSPECIFIED": "auto",
    "AUTO": "auto",
    "VALIDATED": "auto",
    "ANY": "any",
    "NONE": "none",
}

Body = Mapping[str, Any]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Generation:
    """One request, understood: everything that its answer is made of."""

    body: Body
    model: Model
    conduct: Conduct
    text: str
    after_tools: bool
    digest: str

    @property
    def input_tokens(self) -> int:
        """What the prompt costs."""
        parts = ("systemInstruction", "tools", "contents")
        return sum(tokens.count_tree(self.body.get(part)) for part in parts)

    @property
    def _config(self) -> Body:
        config: Body = self.body.get("generationConfig") or {}
        return config

    def _answers(self) -> list[Answer]:
        return [
            answer(self._ask(i)) for i in range(self._config.get("candidateCount", 1))
        ]

    def _ask(self, variant: int) -> Ask:
        config = self._config
        calling = (self.body.get("toolConfig") or {}).get("functionCallingConfig") or {}
        functions = [
            Tool(function["name"], _schema_of(function))
            for function in declared(self.body)
        ]
        allowed = calling.get("allowedFunctionNames")
        if allowed:
            functions = [tool for tool in functions if tool.name in allowed]
        demanded = calling.get("mode") == "ANY"
        schema = config.get("responseJsonSchema") or _plain(
            config.get("responseSchema") or {}
        )
        as_json = config.get("responseMimeType") == "application/json"
        thinking = config.get("thinkingConfig") or {}
        return Ask(
            text=self.text,
            conduct=self.conduct,
            tools=tuple(functions),
            choice=FREEDOM[calling.get("mode", "AUTO")],
            forced=functions[0].name
            if demanded and allowed and len(functions) == 1
            else None,
            after_tools=self.after_tools,
            json=("schema" if schema else "any") if as_json else "no",
            schema=schema,
            max_tokens=config.get("maxOutputTokens"),
            stops=tuple(config.get("stopSequences") or ()),
            thinking=bool(thinking.get("includeThoughts"))
            and thinking.get("thinkingBudget") != 0,
            variant=variant,
        )

    # ------------------------------------------------------------ parts

    def _thoughts(self, said: Answer) -> list[Json]:
        if not said.thinking:
            return []
        return [
            {"text": piece, "thought": True}
            for piece in tokens.tokens_of(said.thinking)
        ]

    def _call(self, place: int, call: Call, variant: int) -> Json:
        seed = f"{self.digest}/{variant}/{place}"
        function: Json = {"name": call.tool.name, "args": _decoded(call)}
        if self.model.signs:
            name = hashlib.sha256(seed.encode()).hexdigest()[:8]
            function = {"id": name, **function}
        part: Json = {"functionCall": function}
        if self.model.signs and place == 0:
            part["thoughtSignature"] = signing.sign(seed, part)
        return part

    def _parts(self, said: Answer, variant: int) -> list[Json]:
        """Return the answer's parts as they are streamed."""
        parts = self._thoughts(said)
        parts += [{"text": piece} for piece in said.pieces]
        if said.calls and self._malformed(said):
            return parts
        parts += [self._call(i, call, variant) for i, call in enumerate(said.calls)]
        if self.model.signs and not said.calls and not said.refusal:
            # A model that thinks signs its last words too, in a part without any.
            seed = f"{self.digest}/{variant}/text"
            parts.append({"text": "", "thoughtSignature": signing.sign(seed, {})})
        return parts

    def _malformed(self, said: Answer) -> bool:
        return any(not isinstance(_decoded(call), dict) for call in said.calls)

    def _reason(self, said: Answer) -> str:
        if self.conduct.finish is not None:
            return self.conduct.finish
        if self._malformed(said):
            return "MALFORMED_FUNCTION_CALL"
        return FINISH_REASONS[said.finish]

    # ------------------------------------------------------------ answers

    def _head(self) -> Json:
        return {
            "modelVersion": self.model.id,
            "responseId": f"mock{self.digest[:18]}",
        }

    def _grounding(self, said: Answer) -> Json:
        """Return what was found on the web, and the bytes of UTF-8 that rest on it.

        https://ai.google.dev/gemini-api/docs/google-search#understanding
        """
        offered = any("googleSearch" in tool for tool in self.body.get("tools") or ())
        if not (offered and said.text and sources.searches(self.text)):
            return {}
        start, end = sources.rests(said.text)
        segment = {
            "startIndex": len(said.text[:start].encode()),
            "endIndex": len(said.text[:end].encode()),
            "text": said.text[start:end],
        }
        page = {"uri": sources.PAGE, "title": sources.TITLE}
        return {
            "groundingMetadata": {
                "searchEntryPoint": {"renderedContent": "<div></div>"},
                "groundingChunks": [{"web": page}],
                "groundingSupports": [
                    {"segment": segment, "groundingChunkIndices": [0]}
                ],
                "webSearchQueries": [self.text],
            }
        }

    def _usage(self, answers: list[Answer]) -> Json:
        if self.conduct.no_usage:
            return {}
        thoughts = sum(said.thinking_tokens for said in answers)
        output = sum(said.output_tokens for said in answers) - thoughts
        prompt = self.input_tokens
        usage: Json = {"promptTokenCount": prompt, "totalTokenCount": prompt}
        usage["totalTokenCount"] += output + thoughts
        if output:
            usage["candidatesTokenCount"] = output
        if thoughts:
            usage["thoughtsTokenCount"] = thoughts
        if self.conduct.cached_tokens:
            usage["cachedContentTokenCount"] = min(self.conduct.cached_tokens, prompt)
        return {"usageMetadata": usage}

    def _blocked(self) -> Json:
        return {
            "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
            **self._usage([]),
            **self._head(),
        }

    def whole(self) -> Json:
        """Return the answer as one object."""
        answers = self._answers()
        if any(said.refusal for said in answers):
            return self._blocked()
        candidates = []
        for i, said in enumerate(answers):
            candidate: Json = {"finishReason": self._reason(said), "index": i}
            parts = _merged(self._parts(said, i))
            if parts:
                candidate["content"] = {"parts": parts, "role": "model"}
            candidate |= self._grounding(said)
            if self._config.get("responseLogprobs"):
                candidate["logprobsResult"] = _logprobs(
                    said.pieces, self._config.get("logprobs", 0)
                )
            candidates.append(candidate)
        return {"candidates": candidates, **self._usage(answers), **self._head()}

    def chunks(self) -> Iterator[bytes]:
        """Yield the answer piece by piece, the candidates one after the other.

        Every piece counts the prompt, the last of all the output; the last of a
        candidate says why it stopped.
        """
        answers = self._answers()
        if any(said.refusal for said in answers):
            yield msgspec.json.encode(self._blocked())
            return
        for i, said in enumerate(answers):
            parts = self._parts(said, i) or [{"text": ""}]
            pieces = [part for part in parts if _is_said(part)]
            for place, part in enumerate(parts):
                last = place == len(parts) - 1
                candidate: Json = {"content": {"parts": [part], "role": "model"}}
                if self._config.get("responseLogprobs") and _is_said(part):
                    candidate["logprobsResult"] = _logprobs(
                        [part["text"]],
                        self._config.get("logprobs", 0),
                        pieces.index(part),
                    )
                if last:
                    candidate["finishReason"] = self._reason(said)
                    candidate |= self._grounding(said)
                candidate["index"] = i
                over = last and i == len(answers) - 1
                yield msgspec.json.encode(
                    {
                        "candidates": [candidate],
                        **self._usage(answers if over else []),
                        **self._head(),
                    }
                )


def _merged(parts: list[Json]) -> list[Json]:
    """Return the parts of a whole answer: pieces of one kind are one part."""
    merged: list[Json] = []
    for part in parts:
        last = merged[-1] if merged else {}
        same = "text" in part and "text" in last and "thoughtSignature" not in last
        if same and part.get("thought") == last.get("thought"):
            merged[-1] = {**last, **part, "text": last["text"] + part["text"]}
        else:
            merged.append(part)
    return merged


def _is_said(part: Json) -> bool:
    return bool(part.get("text")) and not part.get("thought")


def _logprobs(pieces: Iterable[str], tops: int, first: int = 0) -> Json:
    chosen = [
        {"token": piece, "tokenId": i, "logProbability": -0.25}
        for i, piece in enumerate(pieces, first)
    ]
    result: Json = {"chosenCandidates": chosen}
    if tops:
        result["topCandidates"] = [{"candidates": [one]} for one in chosen]
    return result


def _decoded(call: Call) -> object:
    """Return the arguments as an object; `tool-args` may have made them anything else."""
    try:
        return msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return call.arguments


def _schema_of(function: Body) -> Body:
    found: Body = function.get("parametersJsonSchema") or _plain(
        function.get("parameters") or {}
    )
    return found


def _plain(schema: Any) -> Any:  # noqa: ANN401
    """Return one of Gemini's schemas as a JSON schema: its types are in capitals."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _plain(value) for key, value in schema.items()}
    if isinstance(made.get("type"), str):
        made["type"] = made["type"].lower()
    return made


def understand(body: Body, model: Model, conduct: Conduct, raw: bytes) -> Generation:
    """Return the answer that a checked request asks for.

    Raises:
        UnknownDirective: the text asks for something that the mock cannot do.
    """
    text, after_tools = _last_turn(body["contents"])
    rest, conduct = directives.split(text, conduct)
    digest = hashlib.sha256(model.id.encode() + raw).hexdigest()
    return Generation(body, model, conduct, rest, after_tools, digest)


def _last_turn(contents: list[Body]) -> tuple[str, bool]:
    """Return the text of the user's last turn, and whether it brings results."""
    turn = next(
        (one for one in reversed(contents) if one.get("role", "user") == "user"), {}
    )
    parts = turn.get("parts") or ()
    said = [part["text"] for part in parts if "text" in part]
    told = [
        text
        for part in parts
        if "functionResponse" in part
        for text in _strings(part["functionResponse"]["response"])
    ]
    results = any("functionResponse" in part for part in parts)
    return "\n".join([*told, *said]), results


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
