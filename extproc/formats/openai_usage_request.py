"""What a request that passes has to say so that its stream reports its usage."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.formats.base import Members

_OPTIONS = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_TRUE = msgspec.Raw(b"true")


def usage_request(members: Members) -> Mapping[str, bytes]:
    """Return ``stream_options`` with ``include_usage``, where a stream does without."""
    if members.get("stream") != _TRUE:
        return {}
    try:
        options = _OPTIONS.decode(members.get("stream_options", b"null")) or {}
    except msgspec.DecodeError:
        return {}  # the provider says what is wrong with it
    if options.get("include_usage") == _TRUE:
        return {}
    options["include_usage"] = _TRUE
    return {"stream_options": msgspec.json.encode(options)}
