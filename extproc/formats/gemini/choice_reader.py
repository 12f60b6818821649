"""One candidate of an answer: its parts in, the events of the canonical parts out.

Parts of one kind in a row, over any number of chunks, are one part; a call comes whole.
What the model has signed is told as `signatures` says: as the signature of the thought
that stands right before it, or of an empty one, and of a call also by itself.

What the answer is grounded on is told when its text ends, at the end of the answer. So the
signature of a text is kept back until something else follows. Pictures and sound, code that the
provider ran, and its results are told by the one name ``parts``, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.gemini import wire
from extproc.formats.gemini.grounding import (
    CitationSource,
    GroundingMetadata,
    UrlContextMetadata,
    read_citations,
    read_pages,
    read_recited,
    read_search,
)
from extproc.formats.gemini.ruler import Ruler
from extproc.formats.gemini.signatures import tagged

FINISH: Mapping[str, canonical.Finish] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
    "FINISH_REASON_UNSPECIFIED": "stop",
    "OTHER": "stop",
    "IMAGE_OTHER": "stop",
    "NO_IMAGE": "stop",
    "MALFORMED_FUNCTION_CALL": "stop",
    "MALFORMED_RESPONSE": "stop",
    "UNEXPECTED_TOOL_CALL": "stop",
    "TOO_MANY_TOOL_CALLS": "stop",
    "MISSING_THOUGHT_SIGNATURE": "stop",
}
"""What the filters held back, for whatever reason, is a ``content_filter``. A call that
the model failed to make is a ``stop``: there is nothing to run, and nothing was cut off."""


class ChoiceReader:
    """See the module's docstring."""

    __slots__ = (
        "_answer_id", "_calls", "_index", "_kind", "_parts", "_proof", "_ruler",
        "finished", "grounding", "pages", "recited", "skipped",
    )  # fmt: skip

    def __init__(self, index: int, answer_id: str) -> None:
        self._index = index
        self._answer_id = answer_id
        self._parts = 0
        self._calls = 0
        self._kind: canonical.PartKind | None = None
        """The part that is open: the one that began last."""
        self._proof: str | None = None
        """The signature of the open text."""
        self._ruler = Ruler()
        """Measures the open text."""
        self.finished = False
        self.skipped = 0
        self.grounding: GroundingMetadata | None = None
        """The latest."""
        self.pages: UrlContextMetadata | None = None
        """The latest."""
        self.recited: list[CitationSource] = []

    def note(self, said: wire.Candidate) -> None:
        """Keep what a piece of the candidate says of where it has its words from."""
        self.grounding = said.grounding_metadata or self.grounding
        self.pages = said.url_context_metadata or self.pages
        recited = said.citation_metadata
        if recited is not None:
            self.recited += recited.citations or recited.citation_sources or ()

    def more(self, said: wire.Candidate) -> canonical.Delta | None:
        """Return the piece that `said` is which goes on with an open part; else None.

        It says no more than that.
        """
        content = said.content
        if (
            content is None
            or not (parts := content.parts)
            or len(parts) != 1
            or said.finish_reason
            or self.finished
            or self._proof is not None
            or said.logprobs_result is not None
            or said.grounding_metadata is not None
            or said.url_context_metadata is not None
            or said.citation_metadata is not None
        ):
            return None
        part = parts[0]
        text, kind = part.text, "reasoning" if part.thought else "text"
        if (
            not text
            or kind != self._kind
            or part.thought_signature
            or part.function_call is not None
        ):
            return None
        self._ruler.feed(text)
        return canonical.Delta(self._parts - 1, text, self._index)

    def read(
        self,
        parts: Iterable[wire.AnsweredPart],
        logprobs: msgspec.Raw | None = None,
    ) -> Iterator[canonical.Event]:
        """Yield what `parts` amount to, the first of whose texts has `logprobs`.

        Raises:
            ProtocolViolation: there are words or calls behind the end.
        """
        for part in parts:
            if self.finished:
                if part.text or part.function_call is not None:
                    raise ProtocolViolation("content after a candidate was finished")
                continue
            if part.function_call is not None:
                yield from self._call(part.function_call, part.thought_signature)
                continue
            if part.text:
                kind: canonical.PartKind = "reasoning" if part.thought else "text"
                scores = logprobs if kind == "text" else None
                logprobs = logprobs if scores is None else None
                yield from self._text(kind, part.text, scores)
            elif part.text is None and part.thought_signature is None:
                self.skipped += 1
                yield canonical.Unsaid("parts")
            if part.thought_signature:
                yield from self._prove(part.thought_signature)
        open_ = self._kind == "text" and self._proof is None
        if logprobs is not None and open_ and not self.finished:
            yield from self._text("text", "", logprobs)

    def refuse(self, words: str) -> Iterator[canonical.Event]:
        """Yield a refusal in `words`, and the end."""
        yield from self._text("refusal", words)
        yield from self.finish("SAFETY")

    def finish(self, reason: str) -> Iterator[canonical.Event]:
        """Yield the end of what is open and of the choice, if that has not come yet."""
        if self.finished:
            return
        self.finished = True
        yield from self._ground()
        yield from self._end()
        finish = FINISH.get(reason, "stop")
        if finish == "stop" and self._calls:
            finish = "tool_calls"
        yield canonical.Finished(finish, choice=self._index)

    def _ground(self) -> Iterator[canonical.Event]:
        """Yield what the answer is grounded on, while its last text is open."""
        said = self.grounding or GroundingMetadata()
        citations = [
            *read_citations(said, self._ruler),
            *read_recited(self.recited, self._ruler),
        ]
        if self._kind == "text":
            for citation in citations:
                yield canonical.Cited(self._parts - 1, citation, self._index)
        elif citations:
            yield canonical.Unsaid("groundingSupports")
        id_ = f"{self._answer_id}_{self._index}"
        search = read_search(said, f"search_{id_}")
        if search is not None:
            yield canonical.Searched(search, self._index)
        for look in read_pages(self.pages or UrlContextMetadata(), f"fetch_{id_}"):
            yield canonical.Searched(look, self._index)

    def _text(
        self,
        kind: canonical.PartKind,
        text: str,
        logprobs: msgspec.Raw | None = None,
    ) -> Iterator[canonical.Event]:
        if self._kind != kind or self._proof is not None:
            yield from self._end()
            yield self._begin(kind)
            self._ruler = Ruler()
        self._ruler.feed(text)
        yield canonical.Delta(self._parts - 1, text, self._index, logprobs)

    def _begin(
        self, kind: canonical.PartKind, call_id: str = "", name: str = ""
    ) -> canonical.PartStarted:
        part, self._parts = self._parts, self._parts + 1
        self._kind = kind
        return canonical.PartStarted(part, kind, call_id, name, choice=self._index)

    def _end(self) -> Iterator[canonical.Event]:
        if self._kind is not None:
            self._kind = None
            yield canonical.PartEnded(self._parts - 1, self._index)
        if self._proof is not None:
            proof, self._proof = self._proof, None
            yield from self._prove(proof)

    def _prove(self, signature: str) -> Iterator[canonical.Event]:
        if self._kind == "text" and self._proof is None:
            self._proof = signature
            return
        if self._kind != "reasoning":
            yield from self._end()
            yield self._begin("reasoning")
        proof = tagged(signature)
        yield canonical.SignatureDelta(self._parts - 1, proof, self._index)
        yield from self._end()

    def _call(
        self, call: wire.AnsweredCall, signature: str | None
    ) -> Iterator[canonical.Event]:
        if self._kind == "text":
            yield from self._end()
        if signature:
            yield from self._prove(signature)
        yield from self._end()
        place, self._calls = self._calls, self._calls + 1
        yield self._begin("tool_call", call.id or self._made_up_id(place), call.name)
        arguments = bytes(call.args).decode() if wire.present(call.args) else "{}"
        yield canonical.Delta(self._parts - 1, arguments, self._index)
        if signature:
            yield canonical.SignatureDelta(self._parts - 1, signature, self._index)
        yield from self._end()

    def _made_up_id(self, place: int) -> str:
        """Return an id for a call that the API gave none.

        The client sends it back with the result, in a conversation that has other calls,
        so it has to differ from those of other answers.
        """
        return "_".join(("call", self._answer_id, str(self._index), str(place)))
