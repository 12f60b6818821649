"""Canonical messages as Anthropic's ``system`` blocks and alternating turns.

https://platform.claude.com/docs/en/api/messages. The rules, where the two differ:

- System and developer messages before everything else become ``system`` blocks, in order.
  Later ones stay where they are on models that have system turns and where the API
  allows one (behind the user's turn, before the assistant's or at the end); otherwise
  they join the ``system`` blocks, as in Anthropic's own OpenAI-compatible API, and the
  place that was lost is reported as ``messages[i].role``.
- Tool results are the user's turn, and stand first in it. Turns of one role in a row are
  one turn.
- A part that is empty says nothing, and the API refuses it: it is left out, and so is a
  message in which nothing stands. Blank text is left out and reported.
- Reasoning without its signature is left out and reported: the API takes only what it
  has signed.
- White space at the end of the assistant's last words, which the API refuses, is cut and
  reported.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats import proofs
from extproc.formats.anthropic import request_wire, wire
from extproc.formats.anthropic.models import Abilities
from extproc.formats.base import Unsupported

Drop = Callable[[str], None]

_IMAGE_TYPES = {
    "image/jpeg": "image/jpeg", "image/jpg": "image/jpeg", "image/png": "image/png",
    "image/gif": "image/gif", "image/webp": "image/webp",
}  # fmt: skip

_MAGIC = {
    "iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif",
    "UklGR": "image/webp", "JVBERi": "application/pdf",
}  # fmt: skip
"""How base64 of the types that we know begins, for clients that do not name them."""

_ROLES: Mapping[str, Literal["user", "assistant", "system"]] = {
    "user": "user", "tool": "user", "assistant": "assistant",
    "system": "system", "developer": "system",
}  # fmt: skip

_NOT_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Turn(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    blocks: list[Any]
    where: str
    """The first message in it, as the client names it."""


def write_conversation(
    messages: tuple[canonical.Message, ...], model: Abilities, drop: Drop
) -> tuple[list[wire.TextBlock], list[request_wire.Turn]]:
    """Return the system blocks and the turns.

    Raises:
        Unsupported: a part that Anthropic's format or `model` cannot say.
        BadRequest: a conversation or part that the API is sure to refuse.
    """
    system: list[wire.TextBlock] = []
    turns: list[_Turn] = []
    for message in messages:
        if message.name is not None:
            drop(f"{message.where}.name")
        blocks = _blocks(message, drop)
        if not blocks:
            continue
        role = _ROLES[message.role]
        if role == "system" and not turns:
            system += blocks
        elif turns and turns[-1].role == role:
            turns[-1].blocks += blocks
        else:
            turns.append(_Turn(role, blocks, message.where))
    if "system" in [turn.role for turn in turns]:
        turns = _place_system(turns, system, model, drop)
    _check_ends(turns, model, drop)
    return system, [
        request_wire.Turn(
            turn.role, turn.blocks if len(turn.blocks) == 1 else _ordered(turn)
        )
        for turn in turns
    ]


def _place_system(
    turns: list[_Turn], system: list[wire.TextBlock], model: Abilities, drop: Drop
) -> list[_Turn]:
    """Move the system turns that may not stay to `system`."""
    placed: list[_Turn] = []
    for turn, after in itertools.zip_longest(turns, turns[1:]):
        if turn.role == "system":
            fits = placed and placed[-1].role == "user"
            if model.system_turns and fits and (not after or after.role == "assistant"):
                placed.append(turn)
            else:
                system += turn.blocks
                drop(f"{turn.where}.role")
        elif placed and placed[-1].role == turn.role:
            placed[-1].blocks += turn.blocks
        else:
            placed.append(turn)
    return placed


def _check_ends(turns: list[_Turn], model: Abilities, drop: Drop) -> None:
    if not turns:
        raise BadRequest(
            "There must be at least one message of the user that is not empty.",
            param="messages",
        )
    if turns[0].role != "user":
        raise BadRequest(
            "The first message that is not a system message must be the user's.",
            param=turns[0].where,
        )
    last = turns[-1]
    if last.role != "assistant":
        return
    if not model.prefill:
        raise Unsupported(
            "This model cannot continue the assistant's words: the last message must "
            "be the user's.",
            param=last.where,
        )
    block = last.blocks[-1]
    if isinstance(block, wire.TextBlock) and block.text != block.text.rstrip():
        block.text = block.text.rstrip()
        drop(f"{last.where}.content")


def _ordered(turn: _Turn) -> list[Any]:
    """Return the blocks with tool results first, which the API insists on."""
    if turn.role != "user":
        return turn.blocks
    return sorted(turn.blocks, key=lambda b: not isinstance(b, wire.ToolResultBlock))


def thoughtless(turns: list[request_wire.Turn]) -> bool:
    """Return whether the assistant is to go on, after its words or a call, unthought.

    A model with a thinking budget then refuses to think.
    """
    spoken = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    if spoken is None:
        return False
    goes_on = spoken is turns[-1] or isinstance(
        turns[-1].content[0], wire.ToolResultBlock
    )
    return goes_on and not isinstance(spoken.content[0], _THOUGHTS)


_THOUGHTS = (wire.ThinkingBlock, wire.RedactedThinkingBlock)


# ---------------------------------------------------------------- parts


def _blocks(message: canonical.Message, drop: Drop) -> list[Any]:
    role = _ROLES[message.role]
    blocks: list[Any] = []
    for i, part in enumerate(message.parts):
        if type(part) is canonical.Text and (said := _plain_text(part)):
            blocks.append(said)
            continue
        where = message.place(i)
        write = _WRITERS.get((role, type(part)))
        if write is None:
            kind = type(part).__name__.lower()
            raise Unsupported(
                f"Anthropic's API takes no {kind} from the {message.role}.", param=where
            )
        block = write(part, where, drop)
        if block is not None:
            blocks.append(block)
    return blocks


def _plain_text(part: canonical.Text) -> wire.TextBlock | None:
    """Return the block of a text that is no more than that; None: see `_text`."""
    text = part.text
    if not text or text.isspace() or part.cache is not None or part.citations:
        return None
    return wire.TextBlock(text)


def _text(part: canonical.Text, where: str, drop: Drop) -> wire.TextBlock | None:
    if not part.text:
        return None
    if part.text.isspace():
        drop(where)
        return None
    if part.citations:
        drop(f"{where}.citations")
    return wire.TextBlock(part.text, cache_control=cache_control(part.cache))


def _refusal(part: canonical.Refusal, where: str, drop: Drop) -> wire.TextBlock | None:
    return _text(canonical.Text(part.text), where, drop)


def _image(
    part: canonical.Image, where: str, drop: Drop
) -> wire.ImageBlock | wire.DocumentBlock:
    if part.detail not in {None, "auto"}:
        drop(f"{where}.detail")
    cache = cache_control(part.cache)
    source: wire.ImageSource
    match part.source:
        case canonical.Remote(url):
            source = wire.UrlSource(url)
        case canonical.FileReference(id=file_id):
            source = wire.FileSource(file_id)
        case canonical.Inline(media_type, encoded):
            named = _media_type(media_type, encoded)
            if named == "application/pdf":
                return _pdf(encoded, None, cache)
            if named not in _IMAGE_TYPES:
                raise Unsupported(
                    f"Anthropic's API reads JPEG, PNG, GIF and WebP, not {named!r}.",
                    param=where,
                )
            source = wire.Base64Source(_IMAGE_TYPES[named], encoded)
    return wire.ImageBlock(source, cache)


def _document(part: canonical.Document, where: str, drop: Drop) -> wire.DocumentBlock:
    block = _plain_document(part, where, drop)
    block.context = part.context
    block.citations = wire.Citing(True) if part.citations else None
    return block


def _plain_document(
    part: canonical.Document, where: str, _: Drop
) -> wire.DocumentBlock:
    cache = cache_control(part.cache)
    source: wire.DocumentSource
    match part.source:
        case canonical.Remote(url):
            source = wire.UrlSource(url)
        case canonical.FileReference(id=file_id):
            source = wire.FileSource(file_id)
        case canonical.Inline(media_type, encoded):
            named = _media_type(media_type, encoded)
            if named == "application/pdf":
                return _pdf(encoded, part.filename, cache)
            if not named.startswith("text/"):
                raise Unsupported(
                    f"Anthropic's API reads PDF and plain text, not {named!r}.",
                    param=where,
                )
            source = wire.PlainTextSource("text/plain", _plain(encoded, where))
    return wire.DocumentBlock(source, part.filename, cache)


def _pdf(
    encoded: str, title: str | None, cache: wire.CacheControl | None
) -> wire.DocumentBlock:
    return wire.DocumentBlock(
        wire.Base64Source("application/pdf", encoded), title, cache
    )


def _plain(encoded: str, where: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise BadRequest(
            "The document says that it is text, but it is not base64 of UTF-8.",
            param=where,
        ) from None


def _media_type(named: str, encoded: str) -> str:
    """Return the type as the client named it, or as the bytes show it."""
    named = named.partition(";")[0].strip().lower()
    if named:
        return named
    return next((kind for head, kind in _MAGIC.items() if encoded.startswith(head)), "")


def _reasoning(
    part: canonical.Reasoning, where: str, drop: Drop
) -> wire.ThinkingBlock | wire.RedactedThinkingBlock | None:
    if proofs.is_marked(part.encrypted) or proofs.is_marked(part.signature):
        drop(where)
        return None
    if part.encrypted is not None:
        return wire.RedactedThinkingBlock(part.encrypted)
    if part.signature:
        return wire.ThinkingBlock(part.text, part.signature)
    drop(where)
    return None


def _search(part: canonical.Search, where: str, drop: Drop) -> None:
    """Leave a search of another provider's out: the API takes only what it has signed."""
    del part
    drop(where)


def _tool_call(part: canonical.ToolCall, where: str, drop: Drop) -> wire.ToolUseBlock:
    if part.custom:
        raise Unsupported("Anthropic's API has no custom tools.", param=where)
    if part.signature is not None:
        drop(f"{where}.signature")
    arguments = part.arguments.strip() or "{}"
    try:
        wire.decode(_OBJECT, arguments.encode())
    except msgspec.MsgspecError as exc:
        raise BadRequest(
            f"The arguments of a tool call must be a JSON object: {exc}.",
            param=f"{where}.function.arguments",
        ) from exc
    return wire.ToolUseBlock(
        call_id(part.id),
        part.name,
        msgspec.Raw(arguments),
        cache_control(part.cache),
    )


def _tool_result(
    part: canonical.ToolResult, where: str, drop: Drop
) -> wire.ToolResultBlock:
    blocks: list[Any] = []
    for j, inner in enumerate(part.parts):
        place = canonical.result_place(where, j)
        block = _WRITERS["user", type(inner)](inner, place, drop)
        if block is not None:
            blocks.append(block)
    return wire.ToolResultBlock(
        call_id(part.call_id),
        blocks or None,
        part.is_error,
        cache_control(part.cache),
    )


_WRITERS: Mapping[tuple[str, type], Callable[..., Any]] = {
    ("system", canonical.Text): _text,
    ("user", canonical.Text): _text,
    ("user", canonical.Image): _image,
    ("user", canonical.Document): _document,
    ("user", canonical.ToolResult): _tool_result,
    ("assistant", canonical.Text): _text,
    ("assistant", canonical.Refusal): _refusal,
    ("assistant", canonical.Reasoning): _reasoning,
    ("assistant", canonical.ToolCall): _tool_call,
    ("assistant", canonical.Search): _search,
}
"""Who may say what, and how it is written; what is missing is refused by name."""


def call_id(given: str) -> str:
    """Return `given` in the alphabet that Anthropic allows, the same way each time.

    Other providers' ids, such as ``functions.get:0``, come back to us in histories.
    """
    return _NOT_IN_ID.sub(lambda found: f"_{ord(found[0]):x}", given)


def cache_control(
    cache: canonical.CacheControl | None,
) -> wire.CacheControl | None:
    """Return the wire's word for a cache breakpoint."""
    return None if cache is None else wire.CacheControl(cache.ttl)
