"""Forms (``multipart/form-data``) as they come: one field found, the rest untouched.

RFC 7578 and RFC 2046 5.1. A form that carries a file may have hundreds of MB; it is never
held whole. `FieldFinder` holds what has come until the field is there, says where in it the
value stands, and from then on only watches, in a few bytes, that the field does not come
again: parsers differ on which of the two counts, so a check made on one could be passed with
the other.
"""

from __future__ import annotations

import enum
import re

from extproc.errors import BadRequest

MOST_HEADER_BYTES = 16 * 1024
"""Of one part; an SDK's have 200."""
MOST_PARTS = 1_000
"""Fields of an SDK come to 20. Each costs a look, and lines that only begin like a
boundary, which no content may have (RFC 2046 5.1.1), cost the same."""
MOST_VALUE_BYTES = 1024
"""Of the field that is looked for: a name."""

_BOUNDARY = re.compile(r'(?i);\s*boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;,"]{1,70}))')
_DISPOSITION = re.compile(rb"(?im)^content-disposition[ \t]*:[ \t]*form-data\b(.*)$")
_NAME = re.compile(rb'(?i);[ \t]*name[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_ODD_NAME = re.compile(rb"(?i);[ \t]*name\*")
_FILE = re.compile(rb"(?i);[ \t]*filename\*?[ \t]*=")


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a form's content-type names.

    Raises:
        BadRequest: it names none.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise BadRequest(
            "The content-type of a form must name its boundary.", code="invalid_form"
        )
    return (found[1] or found[2]).encode()


class _In(enum.Enum):
    PREAMBLE = enum.auto()
    HEADERS = enum.auto()
    CONTENT = enum.auto()
    EPILOGUE = enum.auto()


class FieldFinder:
    """Looks for one field in a form that comes in pieces of any size."""

    def __init__(self, boundary: bytes, field: str) -> None:
        self.value: str | None = None
        """What the field says, once it is known."""
        self.span = (0, 0)
        """Where the value stands in all that has come."""
        self.over = False
        """The form has ended."""
        self._delimiter = b"\r\n--" + boundary
        self._field = field.encode()
        self._name = field
        # The first delimiter has no line before it.
        self._tail = b"\r\n"
        self._offset = -2
        self._parts = 0
        self._state = _In.PREAMBLE
        self._wanted = False
        """The part whose content comes is the field."""

    def feed(self, data: bytes) -> None:
        """Read more of the form.

        Raises:
            BadRequest: it is no form, or has the field twice, or as a file.
        """
        self._tail += data
        while self._step():
            pass
        if self._state is _In.CONTENT and self._wanted:
            self._check_value(len(self._tail) - len(self._delimiter))
        elif self._state is _In.HEADERS:
            self._check_headers(len(self._tail))
        elif self._state is not _In.EPILOGUE:
            self._forget()

    def close(self) -> None:
        """Say that nothing more comes.

        Raises:
            BadRequest: the form is cut.
        """
        if not self.over:
            raise self._wrong("it ends before its last boundary.")

    def _step(self) -> bool:
        """Go over one boundary or one part's headers, if it is there."""
        match self._state:
            case _In.EPILOGUE:
                self._drop(len(self._tail))
                return False
            case _In.HEADERS:
                return self._read_headers()
            case _In.PREAMBLE | _In.CONTENT:
                return self._read_content()

    def _read_content(self) -> bool:
        at = self._tail.find(self._delimiter)
        end = at + len(self._delimiter)
        if at < 0 or len(self._tail) < end + 2:
            return False
        after = self._tail[end : end + 2]
        if after == b"--":
            self._end_part(at)
            self.over = True
            self._state = _In.EPILOGUE
            self._drop(end + 2)
            return True
        # RFC 2046 allows blanks between the boundary and its line's end.
        if after[:1] in b" \t":
            line = self._tail.find(b"\r\n", end)
            if line < 0:
                return False
            if self._tail[end:line].strip(b" \t"):
                raise self._wrong("something stands behind a boundary.")
            end = line
        elif after != b"\r\n":
            # A longer word that begins like the boundary: content.
            if self._wanted:
                raise self._wrong(f"'{self._name}' has a boundary in it.")
            self._count()
            self._drop(at + 2)
            return True
        self._end_part(at)
        self._count()
        self._state = _In.HEADERS
        # The line's end stays: a part without headers begins with a blank line.
        self._drop(end)
        return True

    def _count(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise self._wrong(f"it has more than {MOST_PARTS} parts.")

    def _end_part(self, at: int) -> None:
        if not self._wanted:
            return
        self._check_value(at)
        try:
            self.value = self._tail[:at].decode()
        except UnicodeDecodeError:
            raise self._wrong(f"'{self._name}' is not UTF-8.") from None
        self.span = (self._offset, self._offset + at)
        self._wanted = False

    def _read_headers(self) -> bool:
        at = self._tail.find(b"\r\n\r\n")
        if at < 0:
            return False
        self._check_headers(at)
        self._wanted = self._is_wanted(self._tail[2:at].replace(b"\r\n", b"\n"))
        self._state = _In.CONTENT
        # An empty content has its delimiter's line end here already.
        self._drop(at + 2 if not self._wanted else at + 4)
        return True

    def _is_wanted(self, headers: bytes) -> bool:
        said = _DISPOSITION.search(headers)
        if said is None:
            return False
        if _ODD_NAME.search(said[1]):
            raise self._wrong("a name in RFC 5987's spelling is not supported.")
        name = _NAME.search(said[1])
        if name is None or (name[1] or name[2] or b"") != self._field:
            return False
        if self.value is not None:
            raise BadRequest(
                f"The form has the field '{self._name}' more than once.",
                param=self._name,
                code="duplicate_key",
            )
        if _FILE.search(said[1]):
            raise self._wrong(f"'{self._name}' is a file.")
        return True

    def _check_value(self, size: int) -> None:
        if size > MOST_VALUE_BYTES:
            raise self._wrong(f"'{self._name}' is too long.")

    def _check_headers(self, size: int) -> None:
        if size > MOST_HEADER_BYTES:
            raise self._wrong("the headers of a part are too long.")

    def _forget(self) -> None:
        """Keep of a content that nobody asked for what may begin a boundary."""
        at = self._tail.find(self._delimiter)
        if at < 0:
            at = max(0, len(self._tail) - len(self._delimiter) + 1)
        elif len(self._tail) - at > MOST_HEADER_BYTES:
            raise self._wrong("the line of a boundary is too long.")
        self._drop(at)

    def _drop(self, size: int) -> None:
        self._offset += size
        self._tail = self._tail[size:]

    def _wrong(self, why: str) -> BadRequest:
        return BadRequest(f"The form cannot be read: {why}", code="invalid_form")
