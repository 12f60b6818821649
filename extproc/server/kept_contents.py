"""What was said in exchanges, until control has it along with their records.

Part of every worker: it imports nothing but msgspec and the core.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from extproc.exchange.content import Content
from extproc.server.link_frames import encoder

MAX_BYTES: Final = 32 << 20
"""Half of what one frame of the link may have. The oldest go first; their records stay."""


class KeptContents:
    """In the order of the records, by their sequence.

    Attributes:
        lost: contents that there was no room for.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.lost = 0
        self._max_bytes = max_bytes
        self._kept: deque[tuple[int, msgspec.Raw]] = deque()
        self._bytes = 0

    def keep(self, sequence: int, content: Content) -> None:
        """Keep the content of the record with that number."""
        raw = msgspec.Raw(encoder.encode(content))
        self._kept.append((sequence, raw))
        self._bytes += len(bytes(raw))
        while self._bytes > self._max_bytes:
            self._drop()
            self.lost += 1

    def before(self, sequence: int) -> tuple[msgspec.Raw, ...]:
        """Return those of the records before this number."""
        return tuple(raw for at, raw in self._kept if at < sequence)

    def forget(self, sequence: int) -> None:
        """Drop those of the records before this number: control has them, or never will."""
        while self._kept and self._kept[0][0] < sequence:
            self._drop()

    def _drop(self) -> None:
        self._bytes -= len(bytes(self._kept.popleft()[1]))
