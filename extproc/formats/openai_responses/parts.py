"""The open parts of a stream's items: what stands around the text of their pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Self

import msgspec

from extproc import canonical
from extproc.formats.openai_annotations import write_annotations, write_files
from extproc.formats.openai_responses import output
from extproc.formats.openai_responses.logprobs import Token
from extproc.formats.openai_responses.output import Json, OpenItem

_encode = msgspec.json.Encoder().encode

DELTAS: Mapping[str, str] = {
    "text": "response.output_text.delta",
    "refusal": "response.refusal.delta",
    "reasoning": "response.reasoning_summary_text.delta",
    "tool_call": "response.function_call_arguments.delta",
    "custom": "response.custom_tool_call_input.delta",
}
"""The event that brings a piece of each kind of part."""


@dataclasses.dataclass(slots=True)
class OpenPart:
    """An open part."""

    item: OpenItem
    kind: canonical.PartKind
    place: int
    """Its index in the message's content."""
    head: bytes
    """What stands before the sequence number of its pieces."""
    middle: bytes
    """What stands between that and the text."""
    texts: list[str] = dataclasses.field(default_factory=list)
    announced: bool = True
    """The summary has been opened; one without text never is."""
    tokens: list[Token] = dataclasses.field(default_factory=list)
    """The log probabilities so far."""
    cited: tuple[canonical.Citation, ...] = ()

    @classmethod
    def begin(
        cls, item: OpenItem, kind: canonical.PartKind, tail: bytes, place: int = 0
    ) -> Self:
        """Return a part of `item`; `tail` ends what stands before its pieces' text."""
        custom = item.call is not None and item.call.custom
        name = DELTAS["custom" if custom else kind].encode()
        head = b'event: %b\ndata: {"type":"%b","sequence_number":' % (name, name)
        middle = b',"item_id":%b,"output_index":%d,%b' % (
            _encode(item.id), item.index, tail,
        )  # fmt: skip
        return cls(item, kind, place, head, middle)


def endings(part: OpenPart, text: str) -> Iterator[tuple[str, Json]]:
    """Yield the events that end a part of words or thoughts, without its item's place."""
    if part.kind == "reasoning":
        if part.announced:
            whole = output.summary_part(text)
            yield "reasoning_summary_text.done", {"summary_index": 0, "text": text}
            yield "reasoning_summary_part.done", {"summary_index": 0, "part": whole}
        return
    at: Json = {"content_index": part.place}
    if part.kind == "refusal":
        whole = output.refusal_part(text)
        yield "refusal.done", {**at, "refusal": text}
    else:
        cited = write_annotations(part.cited, len(text))
        cited += write_files(part.cited, len(text))
        for nth, one in enumerate(cited):
            added = {"annotation_index": nth, "annotation": one}
            yield "output_text.annotation.added", {**at, **added}
        whole = output.text_part(text, part.tokens, cited)
        yield "output_text.done", {**at, "logprobs": part.tokens, "text": text}
    yield "content_part.done", {**at, "part": whole}
