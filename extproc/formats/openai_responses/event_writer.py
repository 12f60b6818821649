"""Canonical events in, the named events of a response's stream out.

https://platform.openai.com/docs/api-reference/responses-streaming. The order is the
SDK's: created, in progress; for each item added, its parts and their pieces, done; then
completed, incomplete or failed with the whole response, and nothing after it. Every event
has the next ``sequence_number``. This is the hot path of every translated stream: a piece
is its constant head, a number, its constant middle, the text and two brackets, joined.

An item is done when the next begins or the model has stopped, not at once: only then is
it known whether it is the one that was cut off, and text that follows text belongs to
the same message. The format makes us keep all that was said: the last event repeats it.

Reasoning is shown as a summary, which is where clients of this format look for it; its
proof is told with the item's end, see `envelope`. Left out, having no word here: the
sequence that a stop came from, and alternatives but the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from extproc import canonical
from extproc.errors import GatewayError
from extproc.formats.base import WriterContext
from extproc.formats.openai_responses import output
from extproc.formats.openai_responses.errors import failure_of, write_error_event
from extproc.formats.openai_responses.logprobs import read_tokens
from extproc.formats.openai_responses.output import OpenItem
from extproc.formats.openai_responses.parts import DELTAS, OpenPart, endings
from extproc.framing.sse import encode_frame
from extproc.usage import Usage

_encode: Callable[[object], bytes] = msgspec.json.Encoder().encode

KEEP_ALIVE = b": keep-alive\n"
"""A comment: every reader of server-sent events skips it. No empty line follows, which
openai-go before 3.43 took for the end of an event that cannot be read."""


class EventWriter:
    """See the module's docstring; the interface is `formats.base.StreamWriter`."""

    __slots__ = (
        "_context", "_created", "_ended", "_finish", "_items", "_last", "_model",
        "_next_index", "_number", "_output", "_parts", "_refused", "_started", "_tier",
        "_usage",
    )  # fmt: skip

    def __init__(self, context: WriterContext) -> None:
        self._context = context
        self._model = context.model
        self._created = context.created
        self._started = False
        self._ended = False
        self._number = 0
        """The sequence number of the next event."""
        self._next_index = 0
        self._items: list[OpenItem] = []
        """Those that are not done, in order."""
        self._last: OpenItem | None = None
        """The message to which text that comes next belongs."""
        self._parts: dict[int, OpenPart] = {}
        self._output: dict[int, msgspec.Raw] = {}
        """The items that are done, by their index."""
        self._usage: Usage | None = None
        self._tier: str | None = None
        self._finish: canonical.Finish = "stop"
        self._refused = False

    def write(self, events: Iterable[canonical.Event]) -> bytes:
        """Return the frames for `events`; nothing after the stream's end or failure."""
        out: list[bytes] = []
        for event in events:
            if self._ended:
                break
            if isinstance(event, canonical.Delta):
                out.append(self.say(event))
            else:
                self._write(event, out)
        return b"".join(out)

    def say(self, piece: canonical.Delta) -> bytes:
        """See `StreamWriter.say`."""
        text = piece.text
        if piece.choice or not (text or piece.logprobs):
            return b""
        part = self._parts[piece.index]
        if piece.logprobs is not None or not part.announced:
            return self._say_more(piece, part)
        part.texts.append(text)
        number, self._number = self._number, self._number + 1
        return b"%b%d%b%b}\n\n" % (part.head, number, part.middle, _encode(text))

    def _write(
        self,
        event: (
            canonical.Started
            | canonical.PartStarted
            | canonical.SignatureDelta
            | canonical.Cited
            | canonical.Searched
            | canonical.Unsaid
            | canonical.PartEnded
            | canonical.Finished
            | canonical.Reported
            | canonical.KeepAlive
            | canonical.Failed
            | canonical.Ended
        ),
        out: list[bytes],
    ) -> None:
        match event:
            case canonical.KeepAlive():
                out.append(KEEP_ALIVE)
            case canonical.Started():
                self._model = event.model or self._model
                self._created = event.created or self._created
                self._usage = event.usage or self._usage
                self._tier = event.service_tier
                self._start(out)
            case canonical.Reported(usage, tier):
                self._usage = usage
                self._tier = tier or self._tier
            case canonical.Ended():
                self._end(out)
            case canonical.Failed(error):
                self._fail(error, out)
            case canonical.Unsaid():
                pass
            case _:
                if not event.choice:
                    self._write_part(event, out)

    def _write_part(
        self,
        event: (
            canonical.PartStarted
            | canonical.SignatureDelta
            | canonical.Cited
            | canonical.Searched
            | canonical.PartEnded
            | canonical.Finished
        ),
        out: list[bytes],
    ) -> None:
        match event:
            case canonical.PartStarted():
                self._start_part(event, out)
            case canonical.SignatureDelta(index, signature):
                self._parts[index].item.signature = signature
            case canonical.Cited(index, citation):
                self._parts[index].cited += (citation,)
            case canonical.Searched(search):
                self._tell_search(search, out)
            case canonical.PartEnded(index):
                self._end_part(index, out)
            case canonical.Finished(finish):
                self._finish = finish
                self._close_items(out, last_status=self._outcome()[0])

    # ------------------------------------------------------------ the response

    def _event(self, kind: str, out: list[bytes], **members: Any) -> None:  # noqa: ANN401
        said = {"type": kind, "sequence_number": self._number, **members}
        self._number += 1
        out.append(encode_frame(_encode(said), kind))

    def _response(self, status: str, **members: Any) -> output.Json:  # noqa: ANN401
        return output.response(
            self._context, status, model=self._model, created=self._created,
            service_tier=self._tier, **members,
        )  # fmt: skip

    def _start(self, out: list[bytes]) -> None:
        if not self._started:
            self._started = True
            begun = self._response("in_progress")
            self._event("response.created", out, response=begun)
            self._event("response.in_progress", out, response=begun)

    def _end(self, out: list[bytes]) -> None:
        self._start(out)
        status, reason = self._outcome()
        self._close_items(out, last_status=status)
        self._ended = True
        said = {"output": self._done_items(), "usage": self._usage, "reason": reason}
        self._event(f"response.{status}", out, response=self._response(status, **said))

    def _outcome(self) -> tuple[str, str | None]:
        """Return the status of the response, and why it is incomplete if it is."""
        reason = output.incomplete_reason(self._finish, refused=self._refused)
        return ("completed" if reason is None else "incomplete"), reason

    def _fail(self, error: GatewayError, out: list[bytes]) -> None:
        self._start(out)
        self._close_items(out)
        self._ended = True
        out.append(write_error_event(error, self._number))
        self._number += 1
        whole = self._response(
            "failed",
            output=self._done_items(),
            usage=self._usage,
            error=failure_of(error),
        )
        self._event("response.failed", out, response=whole)

    def _done_items(self) -> list[msgspec.Raw]:
        return [self._output[index] for index in sorted(self._output)]

    # ------------------------------------------------------------ items

    def _begin_item(self, kind: canonical.PartKind, prefix: str) -> OpenItem:
        index, self._next_index = self._next_index, self._next_index + 1
        item = OpenItem(output.item_id(prefix, self._context, index), index, kind)
        self._items.append(item)
        return item

    def _add_item(self, item: OpenItem, out: list[bytes]) -> None:
        said = item.said("in_progress")
        said.pop("encrypted_content", None)
        self._event(
            "response.output_item.added", out, output_index=item.index, item=said
        )

    def _close_items(
        self,
        out: list[bytes],
        keep: OpenItem | None = None,
        last_status: str = "completed",
    ) -> None:
        """Say that the items are done whose parts are over, but for `keep`."""
        closed = [item for item in self._items if item is not keep and not item.open]
        for item in closed:
            self._items.remove(item)
            last = item.index == self._next_index - 1
            self._close_item(item, last_status if last else "completed", out)

    def _close_item(self, item: OpenItem, status: str, out: list[bytes]) -> None:
        self._finish_item(item.index, item.said(status), out)
        if item.call is not None and item.signature:
            signed = self._begin_item("reasoning", "rs")
            self._items.remove(signed)
            self._add_item(signed, out)
            proof = output.signature_item(signed.id, item.call.id, item.signature)
            self._finish_item(signed.index, proof, out)

    def _finish_item(self, index: int, said: output.Json, out: list[bytes]) -> None:
        raw = self._output[index] = msgspec.Raw(_encode(said))
        self._event("response.output_item.done", out, output_index=index, item=raw)

    def _tell_search(self, search: canonical.Search, out: list[bytes]) -> None:
        """Tell of a search that is over, with all the steps that it has here."""
        self._close_items(out)
        index, self._next_index = self._next_index, self._next_index + 1
        id_ = output.item_id("ws", self._context, index)
        said = output.search_item(id_, search)
        begun = {**said, "status": "in_progress"}
        self._event("response.output_item.added", out, output_index=index, item=begun)
        for step in ("in_progress", "searching", "completed"):
            name = f"response.web_search_call.{step}"
            self._event(name, out, output_index=index, item_id=id_)
        self._finish_item(index, said, out)
        self._last = None

    # ------------------------------------------------------------ parts

    def _start_part(self, event: canonical.PartStarted, out: list[bytes]) -> None:
        message = event.kind in {"text", "refusal"}
        self._close_items(out, keep=self._last if message else None)
        if event.kind == "tool_call":
            part = self._start_call(event, out)
        elif event.kind == "reasoning":
            part = self._start_reasoning(event, out)
        else:
            part = self._start_text(event.kind, out)
        self._last = part.item if message else None
        part.item.open += 1
        self._parts[event.index] = part

    def _start_text(self, kind: canonical.PartKind, out: list[bytes]) -> OpenPart:
        self._refused = self._refused or kind == "refusal"
        item = self._last
        if item is None:
            item = self._begin_item("text", "msg")
            self._add_item(item, out)
        place = len(item.content)
        item.content.append(msgspec.Raw())
        empty = output.refusal_part("") if kind == "refusal" else output.text_part("")
        self._event(
            "response.content_part.added",
            out,
            item_id=item.id,
            output_index=item.index,
            content_index=place,
            part=empty,
        )
        logprobs = b"" if kind == "refusal" else b'"logprobs":[],'
        middle = b'"content_index":%d,%b"delta":' % (place, logprobs)
        return OpenPart.begin(item, kind, middle, place)

    def _start_reasoning(
        self, event: canonical.PartStarted, out: list[bytes]
    ) -> OpenPart:
        item = self._begin_item("reasoning", "rs")
        item.encrypted = event.encrypted
        item.id = output.thought(
            item.id, canonical.Reasoning(encrypted=event.encrypted)
        )[0]
        self._add_item(item, out)
        part = OpenPart.begin(item, "reasoning", b'"summary_index":0,"delta":')
        part.announced = False
        return part

    def _start_call(self, event: canonical.PartStarted, out: list[bytes]) -> OpenPart:
        item = self._begin_item("tool_call", "ctc" if event.custom else "fc")
        item.call = event
        self._add_item(item, out)
        return OpenPart.begin(item, "tool_call", b'"delta":')

    def _say_more(self, piece: canonical.Delta, part: OpenPart) -> bytes:
        """Write a piece that begins a summary, or one with its log probabilities."""
        out: list[bytes] = []
        if not part.announced:
            self._announce(part, out)
        if piece.logprobs is None or part.kind != "text":
            # A refusal has no place for them; other parts have none.
            return b"".join(out) + self.say(canonical.Delta(piece.index, piece.text))
        tokens = read_tokens(piece.logprobs)
        part.tokens += tokens
        part.texts.append(piece.text)
        self._event(
            DELTAS["text"],
            out,
            item_id=part.item.id,
            output_index=part.item.index,
            content_index=part.place,
            logprobs=tokens,
            delta=piece.text,
        )
        return b"".join(out)

    def _announce(self, part: OpenPart, out: list[bytes]) -> None:
        part.announced = True
        self._event(
            "response.reasoning_summary_part.added",
            out,
            item_id=part.item.id,
            output_index=part.item.index,
            summary_index=0,
            part=output.summary_part(""),
        )

    def _end_part(self, index: int, out: list[bytes]) -> None:
        part = self._parts.pop(index)
        item = part.item
        item.open -= 1
        text = "".join(part.texts)
        if part.kind == "tool_call":
            self._end_call(item, part, text, out)
            return
        if part.kind == "reasoning":
            item.text = text
        for name, members in endings(part, text):
            at = {"item_id": item.id, "output_index": item.index}
            self._event(f"response.{name}", out, **at, **members)
            if name == "content_part.done":
                item.content[part.place] = msgspec.Raw(_encode(members["part"]))

    def _end_call(
        self, item: OpenItem, part: OpenPart, text: str, out: list[bytes]
    ) -> None:
        custom = item.call is not None and item.call.custom
        if not text and not custom:
            text = "{}"  # clients parse the arguments, and "" is not JSON
            out.append(b'%b%d%b"{}"}\n\n' % (part.head, self._number, part.middle))
            self._number += 1
        item.text = text
        name, word = (
            ("custom_tool_call_input", "input")
            if custom
            else ("function_call_arguments", "arguments")
        )
        self._event(
            f"response.{name}.done",
            out,
            item_id=item.id,
            output_index=item.index,
            **{word: text},
        )
