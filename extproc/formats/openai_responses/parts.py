"""The open parts of a stream's items: what stands around the text of their pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Self

import msgspec

from extproc import canonical
from extproc.formats.openai_responses.logprobs import Token
from extproc.formats.openai_responses.output import OpenItem

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
