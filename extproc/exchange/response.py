"""The response half: the provider's answer, read, translated where needed, metered.

    HEADERS ─┬─▶ STREAMING   SSE: events as they come
             ├─▶ COLLECTING  JSON and errors: the header reply waits for the body
             └─▶ PASSING     too large to read and not ours to change
                      └────▶ DONE

Once the headers are answered the sidecar must stay to the end: in full-duplex mode what
it has not passed on is lost.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import msgspec

from extproc.errors import (
    BadUpstreamAnswer,
    GatewayError,
    OutOfTurn,
    TruncatedStream,
    UpstreamError,
)
from extproc.exchange import events
from extproc.exchange.account import Account
from extproc.exchange.arrival import (
    AnswerDecoder,
    content_coding,
    is_json,
    local_reply,
    read_failed,
    refuse_redirect,
)
from extproc.exchange.commands import (
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    Command,
    Headers,
)
from extproc.exchange.instead import LENGTH_AND_CODING, tell
from extproc.exchange.priced import Priced, with_cost
from extproc.exchange.render import Leg
from extproc.exchange.reported import reported
from extproc.exchange.request import JSON, RequestHalf, Step
from extproc.exchange.retry import advice
from extproc.exchange.streams import NOTHING, Stream, Translation, begin, reader_of
from extproc.exchange.tally import Tally
from extproc.exchange.whole import pass_on, translate
from extproc.formats.base import WriterContext
from extproc.framing.base import SSE
from extproc.policy.estimate import answer_tokens
from extproc.runtime import Limits

SHORT_ANSWER = 2 << 20
"""Bytes of an answer of unknown length that need no more room than twice as much."""


class State(enum.IntEnum):  # the hash of a plain Enum is Python code
    """Where the response half stands."""

    HEADERS = enum.auto()
    STREAMING = enum.auto()
    COLLECTING = enum.auto()
    PASSING = enum.auto()
    DONE = enum.auto()


# A name of the module is found at once, one of an enum through its class's class.
HEADERS, STREAMING, COLLECTING, PASSING, DONE = State


class ResponseHalf:
    """Reads one answer and writes the client's."""

    __slots__ = (
        "_account", "_bodiless", "_body", "_decoder", "_headers", "_limits", "_request", "_size",
        "_stream", "_tally", "_unsaid", "error", "leg", "state",
    )  # fmt: skip

    def __init__(
        self, request: RequestHalf, tally: Tally, limits: Limits, account: Account
    ) -> None:
        self._request = request
        self._tally = tally
        self._limits = limits
        self._account = account
        self.state = HEADERS
        self.error: GatewayError | None = None
        """What went wrong, told to the client already or about to be."""
        self.leg: Leg = request.legs[0]
        """The attempt that answers; the first one's until it is known."""
        self._headers: Mapping[str, str] = {}
        self._bodiless = True
        """No body of an answer is on its way: it has none, or has not even begun."""
        self._decoder: AnswerDecoder | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._stream: Stream = NOTHING
        self._unsaid: tuple[str, ...] = ()
        """What of the answer its client cannot be told."""

    @property
    def produced(self) -> int:
        """Output tokens as far as they were seen, where nobody counted them."""
        if self._stream.produced or self.error is not None:
            return self._stream.produced
        return answer_tokens(self._size)

    @property
    def held(self) -> int:
        """Bytes of an answer that has to be whole, as they came."""
        return self._size if self.state is COLLECTING else 0

    @property
    def announced(self) -> int:
        """Bytes that it may come to: as its headers say, else twice what has come."""
        length = self._headers.get("content-length", "")
        known = length.isdecimal() and self._decoder is None
        most = int(length) if known else 2 * max(self._size, SHORT_ANSWER)
        return min(most, self._limits.max_answer_bytes)

    def receive(self, event: events.Event) -> list[Command]:
        """Return what `event` leads to.

        Raises:
            GatewayError: the answer cannot be given; `fail` says what to send instead.
            OutOfTurn: the event may not come here.
        """
        step = self.STEPS.get((self.state, type(event)))
        if step is None:
            raise OutOfTurn(f"{type(event).__name__} while {self.state.name}")
        return step(self, event)

    @property
    def plain(self) -> bool:
        """Whether a piece of the body is for its stream alone, or only kept for now."""
        if self.state is COLLECTING:
            return True
        asked = self._decoder or self._request.capture or self._account.watches
        return self.state is STREAMING and not asked

    def take(self, data: bytes) -> bytes | list[Command]:
        """Return the client's bytes for a piece of a `plain` body, or what else follows."""
        if self.state is STREAMING:
            self._tally.answer_bytes += len(data)
            stream = self._stream
            out = stream.feed(data)
            return self._end_stream(out) if stream.over else out
        if self.state is COLLECTING:
            return self._keep(data)
        return self.receive(events.ResponseBody(data, end=False))  # given up meanwhile

    def weight(self, event: events.RequestBody | events.ResponseBody) -> int:
        """Return how many bytes `event` makes us read: all of them at the end.

        What is compressed may be a hundred times as long as it looks.
        """
        growth = 100 if self._decoder else 1
        if self.state is STREAMING:
            return growth * len(event.data)
        return growth * (self._size + len(event.data)) if event.end else 0

    def fail(self, error: GatewayError) -> list[Command]:
        """End the answer with `error`, in the client's dialect.

        Ending before the provider does resets it.
        """
        self.error = error
        if self._tally.provider is None:
            self._note_leg()
        state, self.state = self.state, DONE
        if state in {HEADERS, COLLECTING}:
            self._tally.status = error.status
            retry = advice(
                error.retry_after,
                self._headers.get("retry-after"),
                wall=self._tally.started,
                code=error.code,
            )
            headers: Headers = (*JSON, *self._report(), *retry)
            if isinstance(error, UpstreamError):
                # Envoy says so only of an answer that has come from there.
                name = self.leg.target.spec.provider
                headers = (*headers, ("x-extproc-provider", name))
            body = self._request.operation.format.write_error(error)
            return tell(error, body, headers, bodiless=self._bodiless)
        if state is STREAMING:
            self.abandon()
            return [AnswerBody(self._stream.fail(error), end=True)]
        # What passes unread cannot be told apart from what we would say.
        return [AnswerBody(b"", end=True)] if state is PASSING else []

    def _on_headers(self, event: events.ResponseHeaders) -> list[Command]:
        self._note_headers(event)
        leg = self.leg
        if leg.unread:
            return self._pass_unread(event)
        status, coding = event.status, content_coding(event)
        framing = leg.target.provider.framing
        kind = event.headers.get("content-type", "")
        streamed = status == 200 and kind.startswith(framing.content_type)
        if coding:
            limit = None if streamed else self._limits.max_answer_bytes
            self._decoder = AnswerDecoder(coding, limit=limit)
        if streamed:
            return self._begin_stream(end=event.end)
        if leg.format.opaque and status < 300 and not is_json(kind):
            self._tally.estimated = True
            self.state = DONE if event.end else PASSING
            return [AnswerHeaders(set_headers=self._report())]
        self.state = COLLECTING
        return self._answer() if event.end else []

    def _note_headers(self, event: events.ResponseHeaders) -> None:
        """Note whose answer it is; raise what says that it is nobody's."""
        self._headers = event.headers
        self._bodiless = event.end or self._request.legs[0].unread
        tally = self._tally
        tally.attempts, tally.attempts_at = event.attempts, event.attempts_at
        tally.status = event.status
        if event.failed:
            tally.failed_attempts = read_failed(self._request.legs, event.failed)
        self._note_leg()
        if self.leg.dropped:
            tally.dropped = self.leg.dropped
        if event.details != "via_upstream":
            raise local_reply(event)

    def _note_leg(self) -> None:
        """Note whom the record is of."""
        tally, leg, target = self._tally, self.leg, self.leg.target
        tally.cluster = target.spec.cluster
        tally.provider = target.provider.name
        tally.request_model = leg.model
        if leg.translated:
            tally.translated = True

    def _pass_unread(self, event: events.ResponseHeaders) -> list[Command]:
        """Let an answer go of which nothing but the headers comes here."""
        refuse_redirect(self.leg, event.status)
        self.state = DONE
        if event.status >= 400:
            error = self.leg.format.read_error(event.status, b"")
            kind = event.headers.get("content-type", "")
            # Of our own account, or in no dialect of a client's.
            if error.status != event.status or not is_json(kind):
                self.state, self._bodiless = HEADERS, True
                raise error
            self.error = error
        return [AnswerHeaders(set_headers=self._report())]

    def _begin_stream(self, *, end: bool) -> list[Command]:
        if end:
            raise TruncatedStream("The provider's stream is empty.")
        leg, framing = self.leg, self.leg.target.provider.framing
        # A stream that may be cut must be ours to write: only then can we end it well.
        written = leg.translated or self._account.cuts
        self._stream = begin(
            leg, self._request.operation.format, self._context(), written=written
        )
        if self._request.capture is not None:
            self._request.capture.listen(framing.decoder(), reader_of(leg))
        if self._account.tells_cost:
            self._stream = Priced(self._stream, partial(self._account.cost, leg))
        self.state = STREAMING
        # A passage takes another framing off, too.
        new = written or framing is not SSE
        kind = (("content-type", SSE.content_type),) if new else ()
        return [
            AnswerHeaders(
                set_headers=(*kind, *self._report()),
                delete_headers=LENGTH_AND_CODING if self._decoder else (),
            )
        ]

    def _on_stream(self, event: events.ResponseBody) -> list[Command]:
        stream = self._stream
        self._tally.answer_bytes += len(event.data)
        data = self._decoder.feed(event.data) if self._decoder else event.data
        if self._request.capture is not None:
            self._request.capture.feed(data)
        out = stream.feed(data)
        if not event.end and not stream.over:
            account = self._account
            if account.cut and isinstance(stream, Translation | Priced):
                return self._cut(stream, out)
            if account.watches:
                more = account.watch(self.leg, stream.produced)
                if more is not None:
                    return [AnswerBody(out, end=False), more]
            return [AnswerBody(out, end=False)]
        return self._end_stream(out)

    def _cut(self, stream: Translation | Priced, out: bytes) -> list[Command]:
        """End the answer here, in the client's own words; the provider is reset."""
        usage = self._account.produced(stream.usage, stream.produced)
        out += stream.cut(usage)
        self._tally.usage = usage
        self._tally.response_model = stream.model
        self._tally.estimated = True
        self.state = DONE
        return [AnswerBody(out, end=True)]

    def abandon(self) -> None:
        """Note what had been produced when the client left or the upstream broke off."""
        if self.state is HEADERS:
            self._note_leg()  # the first, as far as anybody knows
        self._tally.estimated = True
        self._tally.usage = self._stream.usage
        self._tally.response_model = self._stream.model

    def _end_stream(self, out: bytes, *, end: bool = True) -> list[Command]:
        stream = self._stream
        failure = stream.failure
        if not stream.over:
            try:
                out += stream.close()
            except GatewayError as error:
                failure = error
        if failure is not None:
            out += stream.fail(failure)
        self.error = failure or stream.error
        self._tally.usage = stream.usage
        self._tally.response_model = stream.model
        self._tally.estimated = stream.usage is None
        self._tally.dropped += stream.unsaid
        self.state = DONE
        return [AnswerBody(out, end=end)] if out or end else []

    def _on_stream_trailers(self, event: events.ResponseTrailers) -> list[Command]:  # noqa: ARG002
        return [*self._end_stream(b"", end=False), AnswerTrailers()]

    def _on_body(self, event: events.ResponseBody) -> list[Command]:
        end = event.end
        given_up = self._keep(event.data, end=end)
        return self._answer() if end and not given_up else given_up

    def _keep(self, data: bytes, *, end: bool = False) -> list[Command]:
        self._body.append(data)
        self._tally.answer_bytes += len(data)
        self._size = size = self._size + len(data)
        if size > self._limits.max_answer_bytes:
            return self._give_up(end=end)
        return []

    def _on_body_trailers(self, event: events.ResponseTrailers) -> list[Command]:  # noqa: ARG002
        return self._answer(trailers=True)

    def _give_up(self, *, end: bool) -> list[Command]:
        """Stop holding an answer that is too large to read."""
        if self.leg.translated or self._tally.status >= 300:
            raise BadUpstreamAnswer("The provider's answer is too large to be read.")
        self._tally.estimated = True
        self.state = DONE if end else PASSING
        held, self._body = b"".join(self._body), []
        return [
            AnswerHeaders(set_headers=self._report()),
            AnswerBody(held, end=end),
        ]

    def _on_passing(self, event: events.ResponseBody) -> list[Command]:
        self._tally.answer_bytes += len(event.data)
        if event.end:
            self.state = DONE
        return [AnswerBody(event.data, end=event.end)]

    def _on_passing_trailers(self, event: events.ResponseTrailers) -> list[Command]:  # noqa: ARG002
        self.state = DONE
        return [AnswerTrailers()]

    def _answer(self, *, trailers: bool = False) -> list[Command]:
        """Answer what has been collected."""
        leg, tally = self.leg, self._tally
        raw = b"".join(self._body)
        self._body.clear()
        body = self._decoder.feed(raw) if self._decoder else raw
        if tally.status >= 300:
            refuse_redirect(leg, tally.status)
            if tally.status >= 400:
                raise leg.format.read_error(tally.status, body)
        if leg.translated:
            whole = translate(
                body,
                leg,
                self._request.operation.format,
                self._context(),
                self._headers,
            )
        else:
            whole = pass_on(raw, body, leg)
        if self._request.capture is not None:
            self._request.capture.read(leg, body)
        tally.usage, tally.response_model = whole.usage, whole.model
        if whole.usage is None:
            tally.estimated = True
        if whole.unsaid:
            self._unsaid = whole.unsaid
            tally.dropped += whole.unsaid
        if self._account.tells_cost:
            plain = whole.body if whole.changed else body
            priced = with_cost(plain, self._account.cost(leg, whole.usage))
            whole = msgspec.structs.replace(whole, body=priced, changed=True)
        said = JSON + self._report() if leg.translated else self._report()
        gone = LENGTH_AND_CODING if whole.changed else ()
        head = AnswerHeaders(None, said, gone)
        self.state = DONE
        if trailers:
            return [head, AnswerBody(whole.body, end=False), AnswerTrailers()]
        return [head, AnswerBody(whole.body, end=True)]

    def _report(self) -> Headers:
        """Tell the client what could not be kept, and what a whole answer costs."""
        costs = self._account.report(self.leg, self._tally.usage)
        if not (self.leg.dropped or self._unsaid):
            return costs
        dropped = (*self.leg.dropped, *self._unsaid)
        return (("x-extproc-dropped", reported(dropped)), *costs)

    def _context(self) -> WriterContext:
        return WriterContext(
            id=self._tally.id,
            created=int(self._tally.started),
            model=self.leg.model,
            include_usage=self.leg.show_usage,
            kept=self.leg.kept,
        )

    STEPS: ClassVar[Mapping[tuple[State, type], Step]] = {
        (HEADERS, events.ResponseHeaders): _on_headers,
        (STREAMING, events.ResponseBody): _on_stream,
        (STREAMING, events.ResponseTrailers): _on_stream_trailers,
        (COLLECTING, events.ResponseBody): _on_body,
        (COLLECTING, events.ResponseTrailers): _on_body_trailers,
        (PASSING, events.ResponseBody): _on_passing,
        (PASSING, events.ResponseTrailers): _on_passing_trailers,
    }
