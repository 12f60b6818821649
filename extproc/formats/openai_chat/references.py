"""``references``: the documents that Mistral's models cite, as our quirk writes them.

See `quirks.content_chunks`. The documents are in the conversation (results of tools), and
have the ids that stood there; in the canonical form they are titles.
"""

from __future__ import annotations

import msgspec

from extproc import canonical


class _Reference(msgspec.Struct, frozen=True):
    reference_ids: list[int | str]
    start_index: int
    end_index: int


_MANY = msgspec.json.Decoder(list[_Reference])


def read_references(said: msgspec.Raw) -> tuple[canonical.Citation, ...]:
    """Return the citations; none where a server calls something else so."""
    if not said:
        return ()
    try:
        found = _MANY.decode(said)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ()
    return tuple(
        canonical.Citation(
            title=", ".join(map(str, one.reference_ids)),
            start=one.start_index,
            end=one.end_index,
        )
        for one in found
        if one.reference_ids
    )
