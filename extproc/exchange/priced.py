"""What an answer cost, in the ``usage`` of the answer itself, for a client that asked.

It asks with the header `COST_HEADER`; without it no byte of an answer changes. ``cost`` is
dollars, an extension of every client format that OpenRouter's clients know by this name
(https://openrouter.ai/docs/use-cases/usage-accounting). It is added wherever the usage of
the whole answer is told, and nowhere else: a stream whose client did not ask for its usage
has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from extproc.errors import ClientError, GatewayError
from extproc.exchange.streams import Stream, Translation
from extproc.framing.members import Members, patch
from extproc.framing.sse import MAX_FRAME, split_frames
from extproc.pricing import show
from extproc.usage import Usage

COST_HEADER: Final = "x-extproc-include-cost"
"""``true``: tell the cost in ``usage`` too."""

# JSON writes a quote inside a string as \", so this is a key, whatever the model says.
_USAGE: Final = re.compile(rb'"usage"\s*:\s*\{(?=\s*")')
_USAGE_BEGINS: Final = re.compile(rb'\{(?=\s*")')
_DATA: Final = re.compile(rb"^(data: ?)(\{.*\})(\r?)$", re.MULTILINE)
"""An event's JSON, which every provider writes on one line."""
_MEMBERS: Final = msgspec.json.Decoder(Members)

Costs = Callable[[Usage | None], int | None]
"""Usage to nano-dollars; None: nobody knows."""


def with_cost(body: bytes, nanos: int | None) -> bytes:
    """Return `body` with the cost in the usage of the whole answer, if it tells one.

    That is a member of the body, or of its ``response``. A tool's argument or a schema may
    have the same name, and the ``message`` that Anthropic begins with has its usage so far.
    """
    if nanos is None or _USAGE.search(body) is None:
        return body
    try:
        members = _MEMBERS.decode(body)
        name = "usage" if "usage" in members else "response"
        old = bytes(members.get(name, b"null"))
        if name == "response":
            new = with_cost(old, nanos) if old.startswith(b"{") else old
        else:
            said = b'"cost":%b,' % show(nanos).encode()
            new = _USAGE_BEGINS.sub(lambda found: found[0] + said, old, count=1)
        return body if new == old else patch(body, members, {name: new})
    except (msgspec.MsgspecError, UnicodeDecodeError, ClientError):
        return body  # it passes as it came, whatever it is


class Priced:
    """A stream whose usage has its cost in it; all else is the other stream's."""

    __slots__ = ("_costs", "_held", "_size", "_stream")

    def __init__(self, stream: Stream, costs: Costs) -> None:
        self._stream = stream
        self._costs = costs
        self._held: list[bytes] = []
        """An event that is not whole yet, as it came: its usage cannot be changed later."""
        self._size = 0

    @property
    def usage(self) -> Usage | None:
        """See `Stream.usage`."""
        return self._stream.usage

    @property
    def model(self) -> str | None:
        """See `Stream.model`."""
        return self._stream.model

    @property
    def error(self) -> GatewayError | None:
        """See `Stream.error`."""
        return self._stream.error

    @property
    def failure(self) -> GatewayError | None:
        """See `Stream.failure`."""
        return self._stream.failure

    @property
    def over(self) -> bool:
        """See `Stream.over`."""
        return self._stream.over

    @property
    def produced(self) -> int:
        """See `Stream.produced`."""
        return self._stream.produced

    @property
    def unsaid(self) -> tuple[str, ...]:
        """See `Stream.unsaid`."""
        return self._stream.unsaid

    def feed(self, data: bytes) -> bytes:
        """See `Stream.feed`."""
        data = self._stream.feed(data)
        if not data:
            return b""
        # Only two bytes before `data` can be a part of an empty line that ends in it: a
        # long event is not searched again with each of its reads.
        edge = b"".join(self._held[-2:])[-2:]
        self._held.append(data)
        self._size += len(data)
        if not split_frames(edge + data)[0] and self._size <= MAX_FRAME:
            return b""
        whole, tail = split_frames(self._rest())
        if len(tail) > MAX_FRAME:
            whole, tail = whole + tail, b""
        self._held, self._size = [tail], len(tail)
        return self._tell(whole, self._stream.usage)

    def close(self) -> bytes:
        """See `Stream.close`."""
        rest = self._stream.close()
        return self._tell(self._rest() + rest, self._stream.usage)

    def fail(self, error: GatewayError) -> bytes:
        """See `Stream.fail`; a part of an event that no client could read is dropped."""
        self._rest()
        return self._stream.fail(error)

    def cut(self, usage: Usage) -> bytes:
        """See `Translation.cut`."""
        assert isinstance(self._stream, Translation)  # noqa: S101  only it is cut
        return self._tell(self._stream.cut(usage), usage)

    def _rest(self) -> bytes:
        """Return what is held, and hold it no longer."""
        rest = b"".join(self._held)
        self._held, self._size = [], 0
        return rest

    def _tell(self, frames: bytes, usage: Usage | None) -> bytes:
        if _USAGE.search(frames) is None:
            return frames
        nanos = self._costs(usage)
        return _DATA.sub(
            lambda line: line[1] + with_cost(line[2], nanos) + line[3], frames
        )
