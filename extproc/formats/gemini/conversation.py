"""Canonical messages as Gemini's system instruction and alternating contents.

https://ai.google.dev/api/caching#Content. The rules, where the two differ:

- System and developer messages become the system instruction, in order: there is no
  system role. The place of one that stood further back is lost, and reported as
  ``messages[i].role``.
- Tool results are the user's content, and stand first in it. Contents of one role in a
  row are one content.
- A result names its function; the call with its id, the nearest before it, says which.
- Empty text says nothing, and is left out, and so is a message in which nothing stands.
- Thoughts that another provider signed or sealed are left out and reported; what becomes
  of the signatures is told in `signatures`.
- A refusal of the model's is its text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.citing import refuse_citing
from extproc.formats.gemini import signatures, wire
from extproc.formats.gemini.media import PICTURES, SOUNDS, write_source
from extproc.formats.gemini.models import Abilities

Drop = Callable[[str], None]

_ROLES: Mapping[str, Literal["user", "model"]] = {
    "user": "user", "tool": "user", "assistant": "model",
}  # fmt: skip

_DOCUMENTS = frozenset({"application/pdf", "text/"})

_RESOLUTIONS: Mapping[str, str] = {
    "low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH",
}  # fmt: skip

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def write_conversation(
    messages: tuple[canonical.Message, ...], model: Abilities, drop: Drop
) -> tuple[list[wire.Part], list[wire.Content]]:
    """Return the parts of the system instruction, and the contents.

    Raises:
        Unsupported: a part that Gemini's format or `model` cannot say.
        BadRequest: a conversation that the API is sure to refuse.
    """
    system: list[wire.Part] = []
    contents: list[wire.Content] = []
    writer = _MessageWriter(model, drop)
    for message in messages:
        if message.name is not None:
            drop(f"{message.where}.name")
        parts = writer.write(message)
        if message.role in {"system", "developer"}:
            if parts and contents:
                drop(f"{message.where}.role")
            system += parts
        elif parts and contents and contents[-1].role == _ROLES[message.role]:
            contents[-1].parts += parts
        elif parts:
            contents.append(wire.Content(parts, _ROLES[message.role]))
    if not contents:
        raise BadRequest(
            "There must be at least one message of the user that is not empty.",
            param="messages",
        )
    if contents[-1].role == "model" and not model.prefill:
        raise Unsupported(
            "This model cannot continue the assistant's words: the last message must "
            "be the user's.",
            param=messages[-1].where,
        )
    for content in contents:
        if content.role == "user":
            content.parts.sort(key=lambda part: part.function_response is None)
    return system, contents


@dataclasses.dataclass(slots=True)
class _MessageWriter:
    """Writes one message after the other, and knows the calls that have been made."""

    _model: Abilities
    _drop: Drop
    _names: dict[str, str] = dataclasses.field(default_factory=dict)
    """The functions that were called, by the ids of the calls."""

    def write(self, message: canonical.Message) -> list[wire.Part]:
        """Return the parts that `message` amounts to."""
        proofs = _proofs(message.parts, self._model)
        written = []
        for i, part in enumerate(message.parts):
            where = message.place(i)
            role = "system" if message.role == "developer" else message.role
            write = self._WRITERS.get((role, type(part)))
            if write is None:
                kind = type(part).__name__.lower()
                raise Unsupported(
                    f"Gemini's API takes no {kind} from the {message.role}.",
                    param=where,
                )
            result = write(self, part, where, proofs.get(i))
            if result is not None:
                written.append(result)
        return written

    def _text(
        self, part: canonical.Text, where: str, _: str | None
    ) -> wire.Part | None:
        if part.citations:
            self._drop(f"{where}.citations")
        return wire.Part(text=part.text) if part.text else None

    def _refusal(
        self, part: canonical.Refusal, where: str, proof: str | None
    ) -> wire.Part | None:
        return self._text(canonical.Text(part.text), where, proof)

    def _image(self, part: canonical.Image, where: str, _: str | None) -> wire.Part:
        allowed = PICTURES | {"application/pdf"}
        written = write_source(part.source, allowed, self._model, where)
        if part.detail not in {None, "auto"}:
            level = _RESOLUTIONS.get(part.detail or "")
            if level is None or not self._model.part_resolution:
                self._drop(f"{where}.detail")
            else:
                written.media_resolution = wire.MediaResolution(level)
        return written

    def _document(
        self, part: canonical.Document, where: str, _: str | None
    ) -> wire.Part:
        refuse_citing(part, where)
        if part.filename is not None:
            self._drop(f"{where}.filename")
        return write_source(part.source, _DOCUMENTS, self._model, where)

    def _audio(self, part: canonical.Audio, where: str, _: str | None) -> wire.Part:
        return write_source(part.source, SOUNDS, self._model, where)

    def _reasoning(
        self, part: canonical.Reasoning, where: str, proof: str | None
    ) -> wire.Part | None:
        foreign = part.signature and signatures.untagged(part.signature) is None
        if foreign or part.encrypted is not None:
            self._drop(where)
            return None
        if part.text:
            return wire.Part(text=part.text, thought=True, thought_signature=proof)
        return wire.Part(text="", thought_signature=proof) if proof else None

    def _search(self, part: canonical.Search, where: str, _: str | None) -> None:
        del part  # nobody else's search is known here
        self._drop(where)

    def _tool_call(
        self, part: canonical.ToolCall, where: str, proof: str | None
    ) -> wire.Part:
        if part.custom:
            raise Unsupported("Gemini's API has no custom tools.", param=where)
        if part.signature and signatures.checked(part.signature) is None:
            self._drop(f"{where}.signature")
        arguments = part.arguments.strip() or "{}"
        try:
            wire.decode(_OBJECT, arguments.encode())
        except (msgspec.MsgspecError, UnicodeEncodeError) as exc:
            raise BadRequest(
                f"The arguments of a tool call must be a JSON object: {exc}.",
                param=f"{where}.function.arguments",
            ) from exc
        self._names[part.id] = part.name
        call = wire.FunctionCall(part.name, msgspec.Raw(arguments), part.id or None)
        return wire.Part(function_call=call, thought_signature=proof)

    def _tool_result(
        self, part: canonical.ToolResult, where: str, _: str | None
    ) -> wire.Part:
        name = self._names.get(part.call_id)
        if name is None:
            raise BadRequest(
                f"No tool call before this has the id {part.call_id!r}.", param=where
            )
        texts: list[str] = []
        media: list[wire.ResponsePart] = []
        for j, inner in enumerate(part.parts):
            place = canonical.result_place(where, j)
            if isinstance(inner, canonical.Text):
                texts.append(inner.text)
                continue
            if not self._model.media_results:
                raise Unsupported(
                    "This Gemini model takes tool results of text only.", param=place
                )
            written = self._WRITERS["user", type(inner)](self, inner, place, None)
            media.append(wire.ResponsePart(written.inline_data, written.file_data))
            if written.media_resolution is not None:
                self._drop(f"{place}.detail")
        key = "error" if part.is_error else "output"
        return wire.Part(
            function_response=wire.FunctionResponse(
                name, {key: "\n".join(texts)}, part.call_id or None, media or None
            )
        )

    _WRITERS: ClassVar[Mapping[tuple[str, type], Callable[..., Any]]] = {
        ("system", canonical.Text): _text,
        ("user", canonical.Text): _text,
        ("user", canonical.Image): _image,
        ("user", canonical.Document): _document,
        ("user", canonical.Audio): _audio,
        ("user", canonical.ToolResult): _tool_result,
        ("tool", canonical.ToolResult): _tool_result,
        ("assistant", canonical.Text): _text,
        ("assistant", canonical.Refusal): _refusal,
        ("assistant", canonical.Reasoning): _reasoning,
        ("assistant", canonical.ToolCall): _tool_call,
        ("assistant", canonical.Search): _search,
    }
    """Who may say what, and how it is written; what is missing is refused by name."""


def _proofs(parts: tuple[canonical.Part, ...], model: Abilities) -> dict[int, str]:
    """Return the signatures that the parts are to carry, by their places.

    A signature stands on one part only: on the call that has it, or else on the first
    call behind the thought that carries it, or else on that thought.
    """
    proofs: dict[int, str] = {}
    thoughts: list[int] = []
    called = False
    for i, part in enumerate(parts):
        if isinstance(part, canonical.Reasoning):
            carried = signatures.untagged(part.signature)
            if carried is not None:
                proofs[i] = carried
                thoughts.append(i)
        elif isinstance(part, canonical.ToolCall):
            own = signatures.checked(part.signature)
            if own is not None:
                said_twice = [j for j in thoughts if proofs.get(j) == own]
                for j in said_twice:
                    del proofs[j]
                proofs[i] = own
            elif not called and thoughts:
                proofs[i] = proofs.pop(thoughts[-1])
            elif not called and model.signed_calls:
                proofs[i] = signatures.SKIP
            called = True
    return proofs
