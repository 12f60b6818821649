"""The top-level members of a JSON object: read without decoding, patched in place.

A body that its provider can read as it came must reach it as it came. So a change of
``model`` is a splice into the client's bytes, and everything else of them passes.

A key given twice is refused: parsers differ on which of the two counts, so a check made
on one could be passed with the other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

from extproc.errors import BadRequest

Members = dict[str, msgspec.Raw]

MAX_MEMBERS = 1000
"""No API has a tenth of them; finding the places of each takes microseconds."""

_SHORT = 64 * 1024
"""Bytes of a body that is copied sooner than looked at member by member."""

_DECODER = msgspec.json.Decoder(Members)
_KEY = re.compile(rb'[ \t\n\r]*+("(?:[^"\\]++|\\.)*+")[ \t\n\r]*+:[ \t\n\r]*+')
_AFTER = re.compile(rb"[ \t\n\r]*[,}]")


def read_members(body: bytes) -> Members:
    """Return the undecoded members of the object that `body` is.

    Raises:
        BadRequest: not UTF-8, not JSON, not an object, more than `MAX_MEMBERS` of them,
            or a key stands there twice.
    """
    if not body.isascii():
        try:
            str(body, "utf-8")
        except UnicodeDecodeError as exc:
            raise BadRequest(
                f"The request body is not UTF-8 at byte {exc.start}.",
                code="invalid_json",
            ) from None
    try:
        members = _DECODER.decode(body)
    except msgspec.ValidationError:
        raise BadRequest(
            "The request body must be a JSON object.", code="invalid_json"
        ) from None
    except msgspec.DecodeError as exc:
        raise BadRequest(
            f"The request body is not valid JSON: {exc}.", code="invalid_json"
        ) from None
    if len(members) > MAX_MEMBERS:
        raise BadRequest(
            f"The request body has more than {MAX_MEMBERS} members.",
            code="invalid_json",
        )
    # Written without spaces and escapes, as the common client does, the members make up the
    # whole body. They cannot if one of them stands there twice.
    if len(body) > _SHORT or len(msgspec.json.encode(members)) != len(body):
        _spans(body, members)
    return members


def is_json_object(body: bytes) -> bool:
    """Say whether `body` can be read at all."""
    try:
        _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def remove(body: bytes, members: Members, names: Collection[str]) -> bytes:
    """Return `body` without the members in `names`; the others keep their bytes.

    `members` is what `read_members` gave for `body`.
    """
    spans = _spans(body, members)
    gone = spans.keys() & names
    if not gone:
        return body
    pieces = []
    position = body.index(b"{") + 1
    opening, first = body[:position], True
    for name, (_, end) in spans.items():
        # From the end of the member before: its comma, and whatever blanks there are.
        piece, position = body[position:end], end
        if name in gone:
            continue
        pieces.append(piece.lstrip(b", \t\n\r") if first else piece)
        first = False
    return b"".join((opening, *pieces, body[position:]))


def patch(body: bytes, members: Members, changes: Mapping[str, bytes]) -> bytes:
    """Return `body` with the members in `changes` set to other JSON.

    `members` is what `read_members` gave for `body`. A member that was not there comes
    first.
    """
    spans = _spans(body, members)
    position = body.index(b"{") + 1
    added = b",".join(
        msgspec.json.encode(key) + b":" + value
        for key, value in changes.items()
        if key not in spans
    )
    view = memoryview(body)  # of a long body no second copy, but the one that is made
    pieces: list[bytes | memoryview] = [view[:position], added]
    if added and members:
        pieces.append(b",")
    edits = [(*spans[key], value) for key, value in changes.items() if key in spans]
    for start, end, value in sorted(edits):
        pieces += (view[position:start], value)
        position = end
    pieces.append(view[position:])
    return b"".join(pieces)


def patched(members: Members, changes: Mapping[str, bytes]) -> Members:
    """Return the members of what `patch` gives, in the order in which they stand there."""
    raw = {key: msgspec.Raw(value) for key, value in changes.items()}
    added = {key: value for key, value in raw.items() if key not in members}
    return {**added, **members, **raw}


def _spans(body: bytes, members: Members) -> dict[str, tuple[int, int]]:
    """Find where each member's value stands in `body`.

    Raises:
        BadRequest: a key stands there twice.
    """
    # Written without spaces and escapes, as the common client does, the members that were
    # read add up to the whole body. They cannot if one of them stands there twice.
    spans = {}
    position = 1
    for key, value in members.items():
        start = position + len(key) + 3
        end = start + len(memoryview(value))
        spans[key] = (start, end)
        position = end + 1
    if position == len(body) and members:
        return spans
    return _search_spans(body, members)


def _search_spans(body: bytes, members: Members) -> dict[str, tuple[int, int]]:
    """Find the values in a body of any spelling.

    They are known, so nothing is lexed: a value stands behind its key, or another value
    of the same key does.
    """
    spans: dict[str, tuple[int, int]] = {}
    position = body.index(b"{") + 1
    while (found := _KEY.match(body, position)) is not None:
        key = msgspec.json.decode(found[1], type=str)
        value = bytes(members[key])
        start, end = found.end(), found.end() + len(value)
        after = _AFTER.match(body, end) if body.startswith(value, start) else None
        if after is None or key in spans:
            raise BadRequest(
                f"The request body has the key {key!r} more than once.",
                param=key,
                code="duplicate_key",
            )
        spans[key] = (start, end)
        position = after.end()
    return spans
