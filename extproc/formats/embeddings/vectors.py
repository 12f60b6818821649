"""The two spellings of a vector: a JSON array, and packed float32 in base64.

OpenAI's base64 is little-endian float32, whatever the machine. Every provider computes in
float32 or less, so that nothing is lost on the way there; on the way back each number is
written with the digits that read as the same float32.
"""

from __future__ import annotations

import base64
import binascii
import struct

import msgspec

from extproc.embeddings import Encoding, Packed, Vector
from extproc.errors import ProtocolViolation

_NUMBERS = msgspec.json.Decoder(list[float])
_encode = msgspec.json.Encoder().encode


def spell(vector: Vector, encoding: Encoding) -> msgspec.Raw:
    """Return `vector` as JSON: an array, or a string of base64.

    Raises:
        ProtocolViolation: it is no vector, or a number does not fit into float32.
    """
    if encoding == "float":
        if isinstance(vector, Packed):
            return msgspec.Raw(_encode(unpack(vector.data)))
        if bytes(memoryview(vector)[:1]) != b"[":
            raise ProtocolViolation("The provider's embedding is not an array.")
        return vector
    packed = vector.data if isinstance(vector, Packed) else pack(vector)
    return msgspec.Raw(b'"' + base64.b64encode(packed) + b'"')


def pack(vector: msgspec.Raw) -> bytes:
    """Pack a JSON array.

    Raises:
        ProtocolViolation: see `spell`.
    """
    try:
        numbers = _NUMBERS.decode(vector)
        return struct.pack(f"<{len(numbers)}f", *numbers)
    except (msgspec.MsgspecError, OverflowError) as exc:
        raise ProtocolViolation(f"cannot read an embedding: {exc}") from None


def unpack(packed: bytes) -> list[float]:
    """Return the numbers of packed float32.

    Raises:
        ProtocolViolation: its length is no multiple of four.
    """
    if len(packed) % 4:
        raise ProtocolViolation("cannot read an embedding: its base64 is cut")
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def read(vector: msgspec.Raw) -> Vector:
    """Return what a provider said, which may be either spelling.

    Raises:
        ProtocolViolation: a string that is not base64.
    """
    if bytes(memoryview(vector)[:1]) != b'"':
        return vector
    try:
        text = msgspec.json.decode(vector, type=str)
        return Packed(base64.b64decode(text, validate=True))
    except (msgspec.MsgspecError, binascii.Error) as exc:
        raise ProtocolViolation(f"cannot read an embedding: {exc}") from None
