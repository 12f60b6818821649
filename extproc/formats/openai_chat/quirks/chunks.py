"""Kinds of manners that show in answers, whole or in chunks.

A kind has the bytes by which a chunk that concerns it is told from the others: those pass
unread. In a chunk that is changed, all values but the one that is keep their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from extproc.errors import UpstreamError
from extproc.formats.openai_chat.finish import FAILED, failure
from extproc.formats.openai_chat.quirks.draft import (
    Object,
    raw,
    read_objects,
    read_text,
)
from extproc.formats.openai_errors import error_of
from extproc.formats.openai_usage import Usage as WireUsage, read_usage
from extproc.usage import Usage

_OBJECT = msgspec.json.Decoder(Object)
_USAGE = msgspec.json.Decoder(WireUsage)
_encode = msgspec.json.Encoder().encode

DONE = b"[DONE]"


class ChunkKind(Protocol):
    """One kind, for the length of one stream."""

    @property
    def marks(self) -> tuple[bytes, ...]:
        """A payload without any of these is none of its business."""

    @property
    def usage(self) -> Usage | None:
        """What it has seen of the usage and not yet passed on."""

    def change(self, payload: bytes) -> Iterable[bytes]:
        """Return what takes the payload's place."""

    def close(self) -> Iterable[bytes]:
        """Return the payloads due at the end of a stream."""


def read_object(value: msgspec.Raw | bytes | None) -> Object | None:
    """Return the members of the object that `value` is, or None when it is none."""
    if value is None:
        return None
    try:
        return _OBJECT.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


Edit = Callable[[int, Object], bool]
"""(index of the choice, its message or delta) -> whether it was changed in place."""


def edit_choices(payload: bytes, member: str, edit: Edit) -> bytes:
    """Return `payload` with `edit` made to the `member` of every choice."""
    chunk = read_object(payload)
    choices = read_objects(chunk.get("choices")) if chunk else None
    if not chunk or not choices:
        return payload
    changed = False
    for place, choice in enumerate(choices):
        said = read_object(choice.get(member))
        if said is not None and edit(_index(choice, place), said):
            choice[member] = raw(said)
            changed = True
    if not changed:
        return payload
    chunk["choices"] = raw(choices)
    return _encode(chunk)


def _index(choice: Object, place: int) -> int:
    value = bytes(choice.get("index", b""))
    return int(value) if value.isdigit() and len(value) <= 18 else place


class Edited:
    """A kind that edits what choices say, the same in deltas and in whole messages."""

    usage: Usage | None = None

    def __init__(self, marks: tuple[bytes, ...], edit: Edit) -> None:
        self.marks = marks
        self._edit = edit

    def change(self, payload: bytes) -> Iterable[bytes]:
        """See `ChunkKind.change`."""
        return (edit_choices(payload, "delta", self._edit),)

    def close(self) -> Iterable[bytes]:
        """See `ChunkKind.close`."""
        return ()


# ---------------------------------------------------------------- tool calls


def tool_index() -> ChunkKind:
    """Number the tool calls of a stream, which clients put together by it."""
    ids: dict[int, list[str]] = {}

    def edit(choice: int, delta: Object) -> bool:
        calls = read_objects(delta.get("tool_calls"))
        if not calls:
            return False
        known = ids.setdefault(choice, [])
        changed = False
        for place, call in enumerate(calls):
            given = bytes(call.get("index", b"null"))
            if given != b"null":
                continue
            call_id = read_text(call.get("id"))
            if call_id and call_id in known:
                index = known.index(call_id)
            elif call_id or _names_a_function(call) or not known:
                index = len(known)
                known.append(call_id or f"#{index}")
            else:
                index = len(known) - 1
            calls[place] = {**call, "index": raw(index)}
            changed = True
        if changed:
            delta["tool_calls"] = raw(calls)
        return changed

    return Edited((b'"tool_calls"',), edit)


def _names_a_function(call: Object) -> bool:
    function = read_object(call.get("function"))
    return bool(function and read_text(function.get("name")))


class CallsFinish:
    """Says ``tool_calls`` where a stream that has called ends in ``stop``."""

    marks = (b'"tool_calls"', b'"stop"')
    usage: Usage | None = None

    def __init__(self) -> None:
        self._called: set[int] = set()

    def change(self, payload: bytes) -> Iterable[bytes]:
        """See `ChunkKind.change`."""
        chunk = read_object(payload)
        choices = read_objects(chunk.get("choices")) if chunk else None
        if not chunk or not choices:
            return (payload,)
        changed = False
        for place, choice in enumerate(choices):
            index = _index(choice, place)
            delta = read_object(choice.get("delta"))
            if delta and read_objects(delta.get("tool_calls")):
                self._called.add(index)
            ended = read_text(choice.get("finish_reason")) == "stop"
            if ended and index in self._called:
                choice["finish_reason"] = raw("tool_calls")
                changed = True
        if not changed:
            return (payload,)
        chunk["choices"] = raw(choices)
        return (_encode(chunk),)

    def close(self) -> Iterable[bytes]:
        """See `ChunkKind.close`."""
        return ()


# ---------------------------------------------------------------- reasoning


def name_reasoning(_: int, said: Object) -> bool:
    """Say ``reasoning`` a second time, as the ``reasoning_content`` of all the others."""
    thought = said.get("reasoning")
    if "reasoning_content" in said or read_text(thought) is None:
        return False
    assert thought is not None  # noqa: S101  read_text of nothing is None
    said["reasoning_content"] = thought
    return True


def string_arguments(_: int, said: Object) -> bool:
    """Write the arguments of calls as OpenAI does, in a string."""
    calls = read_objects(said.get("tool_calls"))
    changed = False
    for call in calls or ():
        function = read_object(call.get("function"))
        if function and read_object(function.get("arguments")) is not None:
            function["arguments"] = raw(bytes(function["arguments"]).decode())
            call["function"] = raw(function)
            changed = True
    if changed:
        said["tool_calls"] = raw(calls)
    return changed


# ---------------------------------------------------------------- usage


class UsageOnce:
    """Keeps the usage back until the stream's end, and says it once, by itself."""

    def __init__(self, holder: str | None = None) -> None:
        """Make one.

        Args:
            holder: the member that has the usage in it; None: the chunk itself, where it
                is then left out of all chunks.
        """
        self._holder = holder
        # Bare quotes: inside a string JSON writes \", so this is a key.
        self.marks: tuple[bytes, ...] = (f'"{holder or "usage"}"'.encode(), DONE)
        self._held: Object | None = None
        """The chunk that had it last."""

    @property
    def usage(self) -> Usage | None:
        """See `ChunkKind.usage`."""
        if self._held is None:
            return None
        try:
            return read_usage(_USAGE.decode(self._held["usage"]))
        except msgspec.MsgspecError:
            return None

    def change(self, payload: bytes) -> Iterable[bytes]:
        """See `ChunkKind.change`."""
        if payload.startswith(DONE):
            return (*self.close(), payload)
        chunk = read_object(payload)
        if chunk is None:
            return (payload,)
        if self._holder is not None:
            return (self._look(chunk, payload),)
        usage = chunk.pop("usage", None)
        if usage is None:
            return (payload,)
        if read_object(usage) is not None:
            self._held = {**chunk, "usage": usage}
        if read_objects(chunk.get("choices")) == [] and "error" not in chunk:
            return ()
        return (_encode(chunk),)

    def _look(self, chunk: Object, payload: bytes) -> bytes:
        """Note the usage in the holder, unless the chunk has it in its own place."""
        holder = read_object(chunk.get(self._holder or ""))
        usage = holder.get("usage") if holder else None
        if usage is not None and read_object(usage) and "usage" not in chunk:
            self._held = {**chunk, "usage": usage}
            self._held.pop(self._holder or "", None)
        return payload

    def close(self) -> Iterable[bytes]:
        """See `ChunkKind.close`."""
        held, self._held = self._held, None
        if held is None:
            return ()
        held["choices"] = raw([])
        return (_encode(held),)


# ---------------------------------------------------------------- errors in answers


class _BaseResp(msgspec.Struct):
    status_code: int = 0
    status_msg: str = ""


class _WithBaseResp(msgspec.Struct):
    base_resp: _BaseResp | None = None


_BASE_RESP = msgspec.json.Decoder(_WithBaseResp)

BASE_RESP_STATUS = {
    1001: 504, 1002: 429, 1004: 401, 1008: 402, 1026: 400, 1039: 429, 1041: 429,
    2013: 400, 2049: 401,
}  # fmt: skip
"""MiniMax's codes: https://platform.minimax.io/docs/api-reference/errorcode. What is not
here is a fault of theirs."""


def base_resp_error(payload: bytes) -> UpstreamError | None:
    """Return the error that a ``base_resp`` says, in an answer with status 200."""
    try:
        said = _BASE_RESP.decode(payload).base_resp
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if said is None or said.status_code == 0:
        return None
    status = BASE_RESP_STATUS.get(said.status_code, 502)
    return error_of(status, {"error": {"message": said.status_msg}})


class BaseResp:
    """An error where a chunk should be: told as this format tells errors."""

    marks = (b'"base_resp"',)
    usage: Usage | None = None

    def change(self, payload: bytes) -> Iterable[bytes]:
        """See `ChunkKind.change`."""
        error = base_resp_error(payload)
        if error is None:
            return (payload,)
        return (_encode({"error": {"message": error.message, "type": error.type}}),)

    def close(self) -> Iterable[bytes]:
        """See `ChunkKind.close`."""
        return ()


class FailedFinish:
    """A choice that ended because the model failed: told as this format tells errors."""

    marks = (b'"error"',)
    usage: Usage | None = None

    def change(self, payload: bytes) -> Iterable[bytes]:
        """See `ChunkKind.change`."""
        chunk = read_object(payload)
        choices = read_objects(chunk.get("choices")) if chunk else None
        reasons = [read_text(choice.get("finish_reason")) for choice in choices or ()]
        if FAILED not in reasons:
            return (payload,)
        error = failure()
        return (_encode({"error": {"message": error.message, "type": "server_error"}}),)

    def close(self) -> Iterable[bytes]:
        """See `ChunkKind.close`."""
        return ()
