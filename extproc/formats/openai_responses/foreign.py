"""Other providers' thoughts in a request that passes to OpenAI: left out.

A conversation may have begun with another provider. What that one proved its reasoning with
is ours to read (`envelope`), and OpenAI refuses it.
"""

from __future__ import annotations

import msgspec

from extproc.formats.base import UNCHANGED, Adapted, Members
from extproc.formats.openai_responses import envelope


class _Item(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None
    encrypted_content: str | None = None


_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_ITEM = msgspec.json.Decoder(_Item)


def adapt(members: Members, model: str) -> Adapted:  # noqa: ARG001
    """Leave out what nobody at OpenAI can read; see `ProviderFormat.adapt`."""
    said = bytes(members.get("input", b""))
    if envelope.MARK not in said:
        return UNCHANGED
    kept: list[msgspec.Raw] = []
    dropped: list[str] = []
    try:
        for i, raw in enumerate(_ITEMS.decode(said)):
            item = _ITEM.decode(raw)
            if item.type == "reasoning" and envelope.is_sealed(
                item.encrypted_content or ""
            ):
                dropped.append(f"input[{i}]")
            else:
                kept.append(raw)
    except msgspec.MsgspecError:
        return UNCHANGED  # OpenAI says what is wrong with it
    return Adapted({"input": msgspec.json.encode(kept)}, tuple(dropped))
