"""What a whole answer that passes untouched says about itself."""

from __future__ import annotations

import msgspec

from extproc.formats import base
from extproc.formats.openai_chat import answer_wire
from extproc.formats.openai_chat.usage import read_usage

_DECODER = msgspec.json.Decoder(answer_wire.Overview)


def overview(body: bytes) -> base.Overview:
    """Read model, usage and finish of an answer; what cannot be read is None."""
    try:
        said = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return base.Overview()
    return base.Overview(
        model=said.model,
        usage=read_usage(said.usage),
        finish=said.choices[0].finish_reason if said.choices else None,
    )
