r"""A stream of OpenAI's completions, chat or legacy, to clients who speak it: its bytes pass.

They are the provider's own to the last byte, with one exception: where we asked for
usage and the client did not, the chunk that brings it (``"choices": []`` with a
``usage`` object) is left out. A whole event is never held back; an incomplete one at the
end of a read waits for its rest: it may have to be left out, or never come, and what we say
of that begins on a line of its own.

Frames are cut, not parsed: a few searches say whether one of them can be of interest.
JSON writes a quote inside a string as ``\"``, so ``"usage":`` with both of its quotes
bare is a key, whatever the model says.
"""

from __future__ import annotations

import re

import msgspec

from extproc.errors import GatewayError, TruncatedStream
from extproc.formats.base import Overview
from extproc.formats.held_event import HeldEvent
from extproc.formats.openai_errors import error_of
from extproc.formats.openai_usage import Usage as WireUsage, read_usage
from extproc.framing.sse import cut_frames, parse_frames
from extproc.usage import Usage

_MODEL_FRAMES = 4
"""Frames that are parsed to learn the model: Azure's first one (the verdict on the
prompt) has none."""

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_ERROR = re.compile(rb'"error"\s*:\s*[^\sn]')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_DONE = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\]")
_NO_CHOICES = re.compile(rb"\[\s*\]")

_NOTHING = (msgspec.Raw(), msgspec.Raw(b"null"))
"""A member that is absent, and one that is null."""


class _Glance(msgspec.Struct, frozen=True):
    """What is read of a chunk that passes untouched."""

    model: str | None = None
    choices: msgspec.Raw = msgspec.Raw()
    usage: WireUsage | None = None
    error: msgspec.Raw = msgspec.Raw()


class _FinishOnly(msgspec.Struct, frozen=True):
    """Why a choice ended."""

    finish_reason: str | None = None


class _Whole(msgspec.Struct, frozen=True):
    """What is read of a whole answer that passes untouched."""

    model: str | None = None
    usage: WireUsage | None = None
    choices: list[_FinishOnly] = []


_GLANCE = msgspec.json.Decoder(_Glance)
_WHOLE = msgspec.json.Decoder(_Whole)
_ANYTHING = msgspec.json.Decoder()


def overview(body: bytes) -> Overview:
    """Read model, usage and finish of an answer; what cannot be read is None."""
    try:
        said = _WHOLE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Overview()
    return Overview(
        model=said.model,
        usage=read_usage(said.usage),
        finish=said.choices[0].finish_reason if said.choices else None,
    )


class ChunkPassage:
    """See the module's docstring; the interface is `formats.base.Passage`."""

    __slots__ = (
        "_frames_to_name", "_held", "_over", "_show_usage", "_swallow_lf", "error",
        "model", "usage",
    )  # fmt: skip

    def __init__(self, show_usage: bool) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.error: GatewayError | None = None
        self._show_usage = show_usage
        self._frames_to_name = _MODEL_FRAMES
        self._over = False
        """A finish_reason, ``[DONE]`` or an error was seen."""
        self._held = HeldEvent()
        self._swallow_lf = False
        """The bytes so far end with a frame that was left out and ended in CR: an LF
        that comes next is a part of it."""

    def feed(self, data: bytes) -> bytes:
        """Return what of `data`, and of what was held, may pass now."""
        if self._swallow_lf and data:
            self._swallow_lf = False
            data = data.removeprefix(b"\n")
        whole = self._held.cut(data)
        passing = b""
        if whole:
            has_usage = self._look(whole)
            hides = has_usage and not self._show_usage
            passing = self._without_usage(whole) if hides else whole
            if self._held.passed:
                passing = self._held.fresh(passing)
        return passing + self._held.early(data) if self._held.size else passing

    def close(self) -> bytes:
        """Return the rest: an event without its empty line, as some servers end.

        Raises:
            TruncatedStream: nothing said that the answer is whole. What is held then is
                a part of an event that no client could read, and is dropped, so that
                the error event that follows begins on a line of its own.
        """
        tail = self._held.rest()
        has_usage = bool(tail.strip()) and self._look(tail + b"\n\n")
        if not self._over:
            raise TruncatedStream("the provider's stream ended in the middle")
        hides = has_usage and not self._show_usage
        return self._held.fresh(self._without_usage(tail) if hides else tail)

    def _look(self, frames: bytes) -> bool:
        """Read what `frames` say; return whether one of them has a usage object."""
        has_usage = _USAGE.search(frames) is not None
        if not self._over and (
            _FINISH.search(frames) is not None
            or (frames.find(b"[DONE]") >= 0 and _DONE.search(frames) is not None)
        ):
            self._over = True
        if (
            has_usage
            or (self.model is None and self._frames_to_name)
            or (frames.find(b'"error"') >= 0 and _ERROR.search(frames) is not None)
        ):
            for frame in parse_frames(frames):
                self._read(frame.data)
        return has_usage

    def _read(self, chunk: bytes) -> None:
        if self.model is None and self._frames_to_name:
            self._frames_to_name -= 1
        elif _USAGE.search(chunk) is None and _ERROR.search(chunk) is None:
            return
        try:
            said = _GLANCE.decode(chunk)
            if said.error not in _NOTHING:
                self.error = error_of(502, {"error": _ANYTHING.decode(said.error)})
                self._over = True
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # passes as it is: the client's to judge
        self.model = self.model or said.model or None
        self.usage = read_usage(said.usage) or self.usage

    def _without_usage(self, whole: bytes) -> bytes:
        """Return `whole` without the chunks that bring nothing but usage.

        Of its first frame a part may have passed already: then it stays.
        """
        kept = []
        for i, frame in enumerate(cut_frames(whole)):
            left_out = (i or not self._held.passed) and _brings_only_usage(frame)
            # An LF before it is the end of the frame before, cut behind its CR.
            kept.append(frame[: frame.startswith(b"\n")] if left_out else frame)
            self._swallow_lf = bool(left_out) and frame.endswith(b"\r")
        return b"".join(kept)


def _brings_only_usage(frame: bytes) -> bool:
    if _USAGE.search(frame) is None:
        return False
    for event in parse_frames(frame + b"\n\n"):
        try:
            said = _GLANCE.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        if said.usage is not None and _NO_CHOICES.fullmatch(said.choices):
            return True
    return False
