"""What of an answer a client's API has no words for, so that it can be reported.

A whole answer reports it in ``x-extproc-dropped``, as ``answer.<word>``. A stream's headers
are gone when it is known: it stands in the completion record alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from extproc import canonical
from extproc.formats.base import AnyClientFormat

SEARCH = "web_search"
PAGES = "citations"
DOCUMENTS = "document_citations"
FILES = "file_citations"
REASONING = "reasoning"
CALLS = "tool_calls"
AUDIO = "audio"


def of_answer(answer: object, client: AnyClientFormat) -> tuple[str, ...]:
    """Return what is not told of a whole answer, each once."""
    if not isinstance(answer, canonical.Answer):
        return ()
    words = dict.fromkeys(answer.unsaid)
    for choice in answer.choices:
        for part in choice.parts:
            if type(part) is canonical.Text and not part.citations:
                continue  # as most are
            for word in _words(part):
                if word in client.mute:
                    words[word] = None
    return tuple([f"answer.{word}" for word in words]) if words else ()


def of_event(event: canonical.Event, client: AnyClientFormat) -> str | None:
    """Return what is not told of an event; None where it is told, or says nothing."""
    word = None
    match event:
        case canonical.Unsaid(what):
            return f"answer.{what}"
        case canonical.Searched():
            word = SEARCH
        case canonical.Cited(citation=citation):
            word = _source(citation)
        case canonical.PartStarted(kind="reasoning"):
            word = REASONING
        case canonical.PartStarted(kind="tool_call"):
            word = CALLS
        case _:
            pass
    return f"answer.{word}" if word in client.mute else None


def _source(cited: canonical.Citation) -> str:
    if cited.url:
        return PAGES
    return FILES if cited.file else DOCUMENTS


def _words(part: canonical.AnswerPart) -> Iterator[str] | Iterable[str]:
    match part:
        case canonical.Text():
            return {_source(one) for one in part.citations} if part.citations else ()
        case canonical.Search():
            return (SEARCH,)
        case canonical.Reasoning():
            return (REASONING,)
        case canonical.ToolCall():
            return (CALLS,)
        case canonical.Audio():
            return (AUDIO,)
        case canonical.Refusal():
            return ()
