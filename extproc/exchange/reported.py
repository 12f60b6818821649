"""How a client is told what was left out: ``x-extproc-dropped``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MOST_REPORTED: Final = 4096
"""Characters of a header; Envoy's own limit is 60 KiB for all of them together."""

_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


def reported(dropped: Sequence[str]) -> str:
    """Return the value of ``x-extproc-dropped``.

    A place may have a name of the client's in it, such as a property of a schema: what a
    header cannot carry is a ``?``, and what would make it too long is counted only.
    """
    kept, size = 0, 0
    while kept < len(dropped) and size < MOST_REPORTED:
        size += len(dropped[kept]) + 2
        kept += 1
    text = _UNPRINTABLE.sub("?", ", ".join(dropped[:kept]))[:MOST_REPORTED]
    more = len(dropped) - kept
    return f"{text} and {more} more" if more else text
