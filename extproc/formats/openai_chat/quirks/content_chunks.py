"""Mistral's answers, whose ``content`` may be a list of chunks, in OpenAI's words.

The chunks are those of ``ContentChunk`` of ``mistralai``
(https://docs.mistral.ai/api/#tag/chat): words become ``content``, thoughts
``reasoning_content`` and, where they are signed, ``thinking_blocks``; references, which
stand behind the words that they are of, become ``references`` with the span of those.
A list with anything else in it (pictures, files) is left to clients who know it.
"""

from __future__ import annotations

import dataclasses

import msgspec

from extproc.formats.openai_chat.quirks.chunks import ChunkKind, Edit, Edited
from extproc.formats.openai_chat.quirks.draft import (
    Object,
    raw,
    read_objects,
    read_text,
)
from extproc.formats.proofs import MISTRAL

_KNOWN = frozenset({"text", "thinking", "reference"})
_NOTHING = msgspec.Raw(b"[]")


@dataclasses.dataclass(slots=True)
class _Place:
    """How far the text of a choice is, in characters."""

    end: int = 0
    cited: int = 0
    """Up to where references have been given."""
    blocks: int = 0
    """How many signed thoughts have been told."""
    thoughts: list[str] = dataclasses.field(default_factory=list)
    """What has been thought since the last signature: it stands in a block with its own."""


def content_chunks(*, streamed: bool = False) -> Edit:
    """Return what takes the chunks of one answer apart, or of one stream."""
    places: dict[int, _Place] = {}

    def edit(choice: int, said: Object) -> bool:
        place = places.setdefault(choice, _Place())
        content = said.get("content")
        plain = read_text(content)
        if plain is not None:
            place.end += len(plain)
        chunks = read_objects(content)
        if chunks is None:
            return False
        kinds = [read_text(chunk.get("type")) for chunk in chunks]
        if not _KNOWN.issuperset(kinds):
            return False
        texts: list[str] = []
        references: list[object] = []
        for kind, chunk in zip(kinds, chunks, strict=True):
            if kind == "text":
                texts.append(read_text(chunk.get("text")) or "")
                place.end += len(texts[-1])
            elif kind == "reference":
                references.append(
                    {
                        "reference_ids": chunk.get("reference_ids", _NOTHING),
                        "start_index": place.cited,
                        "end_index": place.end,
                    }
                )
                place.cited = place.end
        said["content"] = raw("".join(texts))
        if references:
            said["references"] = raw(references)
        _tell_thoughts(
            said,
            [c for k, c in zip(kinds, chunks, strict=True) if k == "thinking"],
            place,
            streamed=streamed,
        )
        return True

    return edit


def _tell_thoughts(
    said: Object, chunks: list[Object], place: _Place, *, streamed: bool
) -> None:
    """Tell words at once, and a signed thought as a block, whole, at its signature.

    The SDKs merge the entries of a stream's lists by their ``index``.
    """
    thoughts: list[str] = []
    blocks: list[dict[str, object]] = []
    for chunk in chunks:
        thoughts.append(_words_of(chunk))
        place.thoughts.append(thoughts[-1])
        if signature := read_text(chunk.get("signature")):
            block: dict[str, object] = {"index": place.blocks} if streamed else {}
            block |= {
                "type": "thinking",
                "thinking": "".join(place.thoughts),
                "signature": f"{MISTRAL}{signature}",
            }
            blocks.append(block)
            place.blocks += 1
            place.thoughts.clear()
    if any(thoughts):
        said["reasoning_content"] = raw("".join(thoughts))
    if blocks:
        said["thinking_blocks"] = raw(blocks)


def _words_of(chunk: Object) -> str:
    pieces = read_objects(chunk.get("thinking")) or ()
    return "".join(read_text(piece.get("text")) or "" for piece in pieces)


def one_answer(choice: int, said: Object) -> bool:
    """Take the chunks of a whole answer's message apart."""
    return content_chunks()(choice, said)


def streamed() -> ChunkKind:
    """Take the chunks of a stream's deltas apart."""
    return Edited((b'"content"',), content_chunks(streamed=True))
