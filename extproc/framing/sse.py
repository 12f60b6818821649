r"""Server-sent events: bytes of any split in, whole frames out, and back.

The format is https://html.spec.whatwg.org/multipage/server-sent-events.html: lines end
in LF, CRLF or CR, an empty line ends a frame, ``data`` lines join with LF, a line that
starts with a colon is a comment. ``id`` and ``retry`` mean nothing to an LLM stream and
are left out.
"""

from __future__ import annotations

import re

import msgspec

from extproc.errors import ProtocolViolation

MAX_FRAME = 16 * 1024 * 1024
"""One frame's most bytes. The largest that occurs carries a base64 picture or audio of a
few MiB; without a limit a peer that never ends its line takes all our memory."""

_BOUNDARY = re.compile(rb"(?>\r\n|\n|\r)(?:\r\n|\n|\r)")
"""An empty line, in every mix of the three line ends. Where a read ends between the CR and
the LF of the second line end, the LF is left to open the next frame: an empty line more,
which means nothing."""

_LINE = re.compile(rb"\r\n|\n|\r")


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One server-sent event."""

    name: str
    """The ``event`` field, empty when there was none."""
    data: bytes


class SSEDecoder:
    """Cut a byte stream into frames."""

    __slots__ = ("_after", "_before", "_from", "_name", "_tail", "_to")

    def __init__(self) -> None:
        self._tail = b""
        self._expect("", b"\n")

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes.

        Raises:
            ProtocolViolation: a frame grew over `MAX_FRAME`.
        """
        start, end = self._from, self._to
        if (
            not self._tail
            and data[:start] == self._before
            and data[end:] == self._after
            # Not `in`: it first asks whether what it looks for is a number, and that it is
            # none is an error, made and thrown away at a tenth of a chunk's cost.
            and (line := data[start:end]).find(b"\n") < 0
            and line.find(b"\r") < 0
        ):
            # What nearly every read is: one frame, and written as the one before it.
            return [Frame(self._name, line)]
        whole, self._tail = split_frames(self._tail + data if self._tail else data)
        if len(self._tail) > MAX_FRAME:
            raise ProtocolViolation(f"a stream event is over {MAX_FRAME} bytes")
        frames = parse_frames(whole)
        if frames:
            self._expect(frames[-1].name, b"\r\n" if whole[-4::2] == b"\r\r" else b"\n")
        return frames

    def _expect(self, name: str, line_end: bytes) -> None:
        """Note how the last frame was written; the next will be written so too."""
        self._name = name
        self._after = 2 * line_end
        self._before = b"data: "
        if name:
            self._before = b"event: %b%bdata: " % (name.encode(), line_end)
        self._from, self._to = len(self._before), -len(self._after)

    def close(self) -> list[Frame]:
        """Return the last frame of a stream that ended without its empty line.

        The standard drops it; providers that close early after their last line are
        common enough that we read it.
        """
        tail, self._tail = self._tail, b""
        return parse_frames(tail + b"\n\n") if tail.strip() else []


def split_frames(data: bytes) -> tuple[bytes, bytes]:
    """Cut `data` behind its last whole frame: the frames, and the rest to keep."""
    # The common provider writes LF only, and rfind is a memrchr.
    if data.find(b"\r") < 0:
        if data[-2:] == b"\n\n":
            return data, b""
        end = data.rfind(b"\n\n") + 2
        return (data[:end], data[end:]) if end > 1 else (b"", data)
    end = 0
    for match in _BOUNDARY.finditer(data):
        end = match.end()
    return data[:end], data[end:]


def cut_frames(data: bytes) -> list[bytes]:
    """Cut `data` into its frames, byte for byte, each with its empty line."""
    frames = []
    start = 0
    for match in _BOUNDARY.finditer(data):
        frames.append(data[start : match.end()])
        start = match.end()
    if start < len(data):
        frames.append(data[start:])
    return frames


def parse_frames(data: bytes) -> list[Frame]:
    """Read the frames of `data`, which ends behind an empty line."""
    if data.find(b"\r") >= 0:
        return _parse_lines(_LINE.split(data))
    frames: list[Frame] = []
    start, size = 0, len(data)
    # A frame as every provider writes it: perhaps a name, then one line of data.
    while start < size:
        name, at = "", start
        if data.startswith(b"event: ", at):
            end = data.find(b"\n", at)
            name = data[at + 7 : end].strip().decode("utf-8", "replace")
            at = end + 1
        end = data.find(b"\n\n", at)
        text = data[at + 6 : end]
        if not data.startswith(b"data: ", at) or text.find(b"\n") >= 0:
            return frames + _parse_lines(data[start:].split(b"\n"))
        frames.append(Frame(name, text))
        start = end + 2
    return frames


def _parse_lines(all_lines: list[bytes]) -> list[Frame]:
    """Read the frames that lines make up, whatever stands in them."""
    frames = []
    name = ""
    lines: list[bytes] = []
    for line in all_lines:
        if not line:
            if lines:
                frames.append(Frame(name, b"\n".join(lines)))
            name, lines = "", []
        elif line.startswith(b"data:"):
            lines.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
        elif line == b"data":
            lines.append(b"")
    return frames


def encode_frame(data: bytes, name: str = "") -> bytes:
    """Write one frame; `data` is one line of JSON."""
    if name:
        return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
    return b"data: %s\n\n" % data
