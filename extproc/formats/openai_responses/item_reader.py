"""The ``input`` of a request: items in, canonical messages out.

An assistant's turn is many items here (reasoning, words, calls) and one message
elsewhere, so items of the assistant that stand in a row are one message, named by the
first of them. Items that only OpenAI's own servers can make sense of (calls of built-in
tools, compactions) are no messages: they are given back by their place, such as
``input[3]``, and whoever is not OpenAI refuses them by it. References to stored items are
refused here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from extproc import canonical
from extproc.formats import proofs
from extproc.formats.base import Unsupported
from extproc.formats.openai_content import read_arguments
from extproc.formats.openai_responses import envelope, wire
from extproc.formats.openai_responses.part_reader import read_parts
from extproc.formats.openai_responses.validation import decode
from extproc.formats.openai_validation import missing

_Item = (
    wire.Message
    | wire.Reasoning
    | wire.FunctionCall
    | wire.CustomToolCall
    | wire.CallOutput
    | wire.WebSearchCall
)

_ITEMS: Mapping[str, msgspec.json.Decoder[Any]] = {
    "message": msgspec.json.Decoder(wire.Message),
    "reasoning": msgspec.json.Decoder(wire.Reasoning),
    "function_call": msgspec.json.Decoder(wire.FunctionCall),
    "custom_tool_call": msgspec.json.Decoder(wire.CustomToolCall),
    "function_call_output": msgspec.json.Decoder(wire.CallOutput),
    "custom_tool_call_output": msgspec.json.Decoder(wire.CallOutput),
    "web_search_call": msgspec.json.Decoder(wire.WebSearchCall),
}
_KIND = msgspec.json.Decoder(wire.Kind)


class Conversation:
    """The messages of an input, and the items that are none."""

    def __init__(self) -> None:
        self.messages: list[canonical.Message] = []
        self.unsaid: dict[str, msgspec.Raw] = {}
        """The items without a canonical word, by their place."""
        self._parts: list[canonical.Part] = []
        """The assistant's turn that is being read."""
        self._places: list[str] = []
        """Where each part of it stands."""

    def read(self, said: str | Sequence[msgspec.Raw]) -> None:
        """Read the whole input.

        Raises:
            BadRequest: an item that is none.
            Unsupported: a reference to an item.
        """
        if isinstance(said, str):
            self._say("user", (canonical.Text(said),), "input", ("input",))
            return
        for i, raw in enumerate(said):
            self._read_item(raw, f"input[{i}]")
        self._end_turn()

    def _read_item(self, raw: msgspec.Raw, where: str) -> None:
        kind = _kind(raw, where)
        decoder = _ITEMS.get(kind)
        if kind == "item_reference":
            raise Unsupported(
                f"`{where}` refers to an item that OpenAI has stored, which no other "
                "provider can read: send the item itself, as clients do with "
                "`store: false`.",
                param=where,
            )
        if decoder is None:
            self._end_turn()
            self.unsaid[where] = raw
            return
        item: _Item = decode(decoder, raw, where)
        match item:
            case wire.Message(role, content):
                parts = tuple(read_parts(content, f"{where}.content"))
                if role == "assistant":
                    self._add(parts, where, within=".content")
                else:
                    self._say(role, parts, where)
            case wire.Reasoning():
                self._add(self._read_reasoning(item), where)
            case wire.WebSearchCall(id_):
                self._add((canonical.Search(id_ or ""),), where)
            case wire.FunctionCall() | wire.CustomToolCall() if item.namespace:
                # Two tools of two namespaces may have one name.
                self.unsaid[where] = raw
            case wire.FunctionCall(call_id, name, arguments):
                text = read_arguments(arguments, f"{where}.arguments")
                self._add((canonical.ToolCall(call_id, name, text),), where)
            case wire.CustomToolCall(call_id, name, text):
                call = canonical.ToolCall(call_id, name, text, custom=True)
                self._add((call,), where)
            case wire.CallOutput(call_id, output):
                result = canonical.ToolResult(call_id, _read_output(output, where))
                self._say("tool", (result,), where, (where,))

    # ------------------------------------------------------------ turns

    def _add(
        self, parts: Sequence[canonical.Part], where: str, *, within: str = ""
    ) -> None:
        """Add to the assistant's turn what stands at `where`, or `within` it, counted."""
        self._parts += parts
        self._places += [
            f"{where}{within}[{i}]" if within else where for i in range(len(parts))
        ]

    def _end_turn(self) -> None:
        if self._parts:
            parts, self._parts = tuple(self._parts), []
            places, self._places = tuple(self._places), []
            where = places[0].partition(".")[0]
            self.messages.append(
                canonical.Message("assistant", parts, where=where, places=places)
            )

    def _say(
        self,
        role: canonical.Role,
        parts: tuple[canonical.Part, ...],
        where: str,
        places: tuple[str, ...] = (),
    ) -> None:
        """Append a message of anybody else."""
        self._end_turn()
        self.messages.append(canonical.Message(role, parts, where=where, places=places))

    # ------------------------------------------------------------ reasoning

    def _read_reasoning(self, said: wire.Reasoning) -> list[canonical.Part]:
        """Read a reasoning item; see `envelope` for what its proof may be."""
        shown = "\n\n".join(
            part.text for part in (*said.summary, *(said.content or ()))
        )
        thought = [canonical.Reasoning(shown)] if shown else []
        proof = said.encrypted_content
        if not proof:
            return [*thought]
        if not envelope.is_sealed(proof):
            marked = proofs.mark_openai(said.id or "", proof)
            return [*thought, canonical.Reasoning(encrypted=marked, id=said.id)]
        sealed = envelope.unseal(proof)
        if sealed is None:
            return [*thought]
        if not (sealed.signature or sealed.encrypted):
            return [*thought]
        if sealed.call_id is not None:
            self._sign(sealed.call_id, sealed.signature)
            return []
        return [canonical.Reasoning(sealed.text, sealed.signature, sealed.encrypted)]

    def _sign(self, call_id: str, signature: str | None) -> None:
        """Give a call of this turn its signature back."""
        for i, part in enumerate(self._parts):
            if isinstance(part, canonical.ToolCall) and part.id == call_id:
                self._parts[i] = msgspec.structs.replace(part, signature=signature)


def _kind(raw: msgspec.Raw, where: str) -> str:
    said = decode(_KIND, raw, where)
    if said.type is not None:
        return said.type
    if said.role is not None:
        return "message"  # the easy form
    if said.id is not None:
        return "item_reference"
    raise missing(f"{where}.type")


def _read_output(
    said: str | list[wire.OutputPart], where: str
) -> tuple[canonical.Text | canonical.Image | canonical.Document, ...]:
    return tuple(
        part
        for part in read_parts(said, f"{where}.output")
        if isinstance(part, canonical.Text | canonical.Image | canonical.Document)
    )
