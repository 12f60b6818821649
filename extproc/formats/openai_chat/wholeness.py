"""Whether JSON text that comes in pieces is a whole object yet; none of it is kept.

A call's arguments may be 10 MB long, and all that has to be known of them is where they
end. So only strings and brackets are looked at: what stands between them is the model's.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
"""What a string holds, up to its end or that of the piece."""

_STRUCTURE = re.compile(r'["{}\[\]]')


class Wholeness:
    """Looks at one text."""

    __slots__ = ("_broken", "_depth", "_escaped", "_quoted", "_whole")

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False
        """The piece before ended in the middle of an escape."""
        self._whole = False
        self._broken = False
        """It is no object, or something stands behind it."""

    def __bool__(self) -> bool:
        """Say whether the text so far is one whole object."""
        return self._whole and not self._broken

    def feed(self, text: str) -> None:
        """Look at the next piece."""
        if self._quoted and '"' not in text and "\\" not in text and not self._escaped:
            return  # a string goes on
        position = 0
        if self._escaped and text:
            self._escaped = False
            position = 1
        while position < len(text) and not self._broken:
            position = (self._inside if self._quoted else self._outside)(text, position)

    def _inside(self, text: str, position: int) -> int:
        found = _QUOTED.match(text, position)
        position = found.end() if found else position
        if position == len(text):
            return position
        if text[position] == "\\":
            self._escaped = True
        else:
            self._quoted = False
        return position + 1

    def _outside(self, text: str, position: int) -> int:
        found = _STRUCTURE.search(text, position)
        end = found.start() if found else len(text)
        if not self._depth:
            # In front of the object or behind it: there may be nothing but white space.
            self._broken = not text[position:end].isspace() and position < end
            if found and (self._whole or text[end] != "{"):
                self._broken = True
        if not found:
            return end
        match text[end]:
            case '"':
                self._quoted = True
            case "{" | "[":
                self._depth += 1
            case _:
                self._depth -= 1
                self._whole = not self._depth
        return end + 1
