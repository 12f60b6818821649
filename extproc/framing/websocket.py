"""WebSocket frames, as a server sends them: messages out of bytes, whatever way these are cut.

https://www.rfc-editor.org/rfc/rfc6455#section-5. The bytes themselves pass on as they come;
this only reads along, and knows at any time whether a frame of its own could stand behind
them. Masked frames (a client's) and compressed ones break the agreement: no extension was
offered.
"""

from __future__ import annotations

import enum
import struct

from extproc.errors import ProtocolViolation

MAX_KEPT: int = 1 << 20
"""Bytes of a message from which on it is not kept. An event that tells usage has a few KiB;
audio comes in pieces of some tens."""

MOST_CONTROL: int = 125
"""Bytes of a control frame's payload (section 5.5)."""

_FIN, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_CONTROL = 0x8


class Opcode(enum.IntEnum):
    """What a frame is."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_CONTROLS = frozenset(_FIN | kind for kind in (Opcode.CLOSE, Opcode.PING, Opcode.PONG))
"""With the FIN bit: a control comes whole."""


class MessageReader:
    """Reads the text messages out of one direction of a connection."""

    __slots__ = ("_head", "_keeps", "_kept", "_left", "_opcode", "_open", "closed")

    def __init__(self) -> None:
        self._head = b""
        """Of a frame, as far as it has come."""
        self._left = 0
        """Payload of the frame under way that is still to come."""
        self._opcode = 0
        """Of the frame under way, with its FIN bit."""
        self._open = False
        """Whether more fragments of the message under way are to come."""
        self._kept = bytearray()
        self._keeps = False
        """Whether the message under way is text, and short enough so far."""
        self.closed = False
        """Whether the sender has said that it says no more."""

    @property
    def between_frames(self) -> bool:
        """Whether what has come ends with a whole frame."""
        return not self._left and not self._head

    @property
    def between_messages(self) -> bool:
        """Whether it ends with a whole message too: fragments let only controls between."""
        return self.between_frames and not self._open

    def feed(self, data: bytes) -> list[bytes]:
        """Return the text messages that `data` completes.

        Raises:
            ProtocolViolation: a server may not send this.
        """
        messages: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if self._left:
                taken = min(self._left, end - at)
                self._take(data[at : at + taken])
                at, self._left = at + taken, self._left - taken
            else:
                at = self._begin(data, at)
                if self._head:
                    break
            if not self._left:
                self._finish(messages)
        return messages

    def _begin(self, data: bytes, at: int) -> int:
        """Read a frame's head; return where its payload begins."""
        head = self._head + data[at : at + 10 - len(self._head)]
        size = _head_size(head)
        if len(head) < size:
            self._head = head
            return len(data)
        at += size - len(self._head)
        self._head = b""
        self._opcode, length = head[0], head[1]
        if length == 126:
            (length,) = struct.unpack_from(">H", head, 2)
        elif length == 127:
            (length,) = struct.unpack_from(">Q", head, 2)
        self._left = length
        if length >> 63:
            raise ProtocolViolation(
                "A WebSocket frame has more bytes than there can be."
            )
        if self._opcode & _CONTROL:
            self._begin_control()
        else:
            self._begin_data()
        return at

    def _begin_control(self) -> None:
        if self._opcode not in _CONTROLS or self._left > MOST_CONTROL:
            raise ProtocolViolation("A WebSocket control frame is not one that exists.")

    def _begin_data(self) -> None:
        kind = self._opcode & 0xF
        # Or what we read as a message were not what the client reads as one.
        if kind > Opcode.BINARY or (kind == Opcode.CONTINUATION) != self._open:
            raise ProtocolViolation("A WebSocket message is not in order.")
        self._open = not self._opcode & _FIN
        if kind != Opcode.CONTINUATION:
            self._kept.clear()
            self._keeps = kind == Opcode.TEXT

    def _take(self, payload: bytes) -> None:
        if not self._keeps or self._opcode & _CONTROL:
            return
        if len(self._kept) + len(payload) > MAX_KEPT:
            self._keeps = False
            self._kept.clear()
        else:
            self._kept += payload

    def _finish(self, messages: list[bytes]) -> None:
        kind = self._opcode & 0xF
        if kind == Opcode.CLOSE:
            self.closed = True
        if kind & _CONTROL or not self._opcode & _FIN or not self._keeps:
            return
        self._keeps = False
        messages.append(bytes(self._kept))
        self._kept.clear()


def _head_size(head: bytes) -> int:
    """Return how long the head is that begins like this.

    Raises:
        ProtocolViolation: nothing of a server's begins like this.
    """
    if head[0] & _RESERVED:
        raise ProtocolViolation("A WebSocket frame has an extension's bits set.")
    if len(head) < 2:
        return 2
    if head[1] & _MASKED:
        raise ProtocolViolation("A WebSocket server's frame is masked.")
    return {126: 4, 127: 10}.get(head[1], 2)


def text_frame(text: bytes) -> bytes:
    """Write a text message, as a server does."""
    size = len(text)
    if size < 126:
        return bytes((_FIN | Opcode.TEXT, size)) + text
    if size < 1 << 16:
        return struct.pack(">BBH", _FIN | Opcode.TEXT, 126, size) + text
    return struct.pack(">BBQ", _FIN | Opcode.TEXT, 127, size) + text


def close_frame(code: int, reason: str) -> bytes:
    """Write the last frame, as a server does; of the reason, what fits.

    https://www.rfc-editor.org/rfc/rfc6455#section-7.4
    """
    fitting = reason.encode()[:123].decode(errors="ignore").encode()
    said = struct.pack(">H", code) + fitting
    return bytes((_FIN | Opcode.CLOSE, len(said))) + said
