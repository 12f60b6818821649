"""The mock's own books: what it served, by exchange, as a provider's invoice would say.

One JSON line for each answer, written when it is out or has broken off:

    {"mark": "ask-7", "path": "/v1/chat/completions", "model": "gpt-4o", "status": 200,
     "input": 12, "output": 20, "cached": 3, "events": 23, "whole": true}

`mark` is what the directive ``[[mock: mark=…]]`` said. The counts are those that were in
the bytes that went out, the last ones told; null: none were. `cached` is a part of `input`.
Without `whole` the answer broke off after so many `events`, at whichever end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from extproc.local.mock.reply import Reply, Request, SseEvent, Stream


class Entry:
    """One answer on its way out."""

    def __init__(self, request: Request, answer: Reply | Stream) -> None:
        self.input: int | None = None
        self.output: int | None = None
        self.cached: int | None = None
        self.events = 0
        self._path = request.route
        self._model = _model(request.body)
        self._status = answer.status
        self._mark = answer.conduct.mark

    def watched(self, answer: Reply | Stream) -> Reply | Stream:
        """Return `answer`, whose counts are noted as it is written."""
        if isinstance(answer, Stream):
            return replace(answer, events=self._noting(answer.events))
        self._note(answer.body)
        return answer

    def line(self, *, whole: bool) -> bytes:
        """Return the line for the books."""
        said = {
            "mark": self._mark,
            "path": self._path,
            "model": self._model,
            "status": self._status,
            "input": self.input,
            "output": self.output,
            "cached": self.cached,
            "events": self.events,
            "whole": whole,
        }
        return msgspec.json.encode(said) + b"\n"

    def _noting(self, events: Iterable[SseEvent]) -> Iterator[SseEvent]:
        for event in events:
            yield event
            # It is asked for the next one: this one is out.
            self.events += 1
            if not event.framed:
                self._note(event.payload)

    def _note(self, payload: bytes) -> None:
        if b"sage" not in payload:
            return
        try:
            said = msgspec.json.decode(payload)
        except msgspec.DecodeError:
            return
        if not isinstance(said, dict):
            return
        for place in (said, said.get("message"), said.get("response")):
            if isinstance(place, dict):
                self._count(place.get("usage") or place.get("usageMetadata"))

    def _count(self, usage: object) -> None:
        if not isinstance(usage, dict):
            return
        given = [usage[name] for name in _GIVEN if name in usage]
        made = [usage[name] for name in _MADE if name in usage]
        self.input = sum(given) if given else self.input
        self.output = sum(made) if made else self.output
        # OpenAI's two APIs count it inside of a member.
        places = (usage, *(usage.get(name) or {} for name in _DETAILS))
        cached = [place[name] for place in places for name in _CACHED if name in place]
        self.cached = sum(cached) if cached else self.cached


class Books:
    """The file that the lines go to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, entry: Entry, *, whole: bool) -> None:
        """Add an answer."""
        with self._path.open("ab") as file:
            file.write(entry.line(whole=whole))


_GIVEN = (
    "prompt_tokens", "input_tokens", "cache_read_input_tokens",
    "cache_creation_input_tokens", "promptTokenCount",
)  # fmt: skip
"""What the providers call the tokens of a prompt; Anthropic's three are added up."""
_MADE = (
    "completion_tokens", "output_tokens", "candidatesTokenCount", "thoughtsTokenCount",
)  # fmt: skip
"""What they call those of an answer; Gemini counts thoughts apart."""
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_CACHED = ("cached_tokens", "cache_read_input_tokens", "cachedContentTokenCount")
"""What they call those of a prompt that were read from a cache."""


def _model(body: bytes) -> str | None:
    try:
        said: Mapping[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return None
    model = said.get("model")
    return model if isinstance(model, str) else None
