"""A target's own changes to the body that it is sent."""

from __future__ import annotations

from extproc.deployment import Edits
from extproc.framing.members import patch, read_members, remove


def edit(body: bytes, edits: Edits) -> bytes:
    """Return `body`, a JSON object, with the configured changes to its top level."""
    members = read_members(body)
    gone = members.keys() & edits.remove
    if gone:
        body = remove(body, members, gone)
        members = {name: raw for name, raw in members.items() if name not in gone}
    changes = {
        **{name: value for name, value in edits.default.items() if name not in members},
        **edits.set,
    }
    return patch(body, members, changes) if changes else body
