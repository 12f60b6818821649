"""The request half: from the first header to a route, or to our own answer.

    HEADERS ─┬─▶ BODY ──┬─▶ ROUTED
             │          └─▶ ADMITTING ──▶ ROUTED    what has limits waits for the store
             ├─▶ FORM       a form: passes once its model is known
             └─▶ ROUTED     what passes by its headers alone

Authenticated by its headers alone, so that nobody without a key makes us hold 32 MiB;
answered only when the whole body is here, so that Envoy can replay it on another worker
as long as we have said nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from extproc.errors import (
    BadRequest,
    BodyTooLarge,
    OutOfTurn,
    Overloaded,
    RequestTimeout,
    UnsupportedMediaType,
)
from extproc.exchange import events
from extproc.exchange.account import Account
from extproc.exchange.arm import arm
from extproc.exchange.arrival import is_json
from extproc.exchange.commands import Command, Reserve, Respond, Route
from extproc.exchange.content import Capture
from extproc.exchange.dispatch import Dispatch, longest_first_byte
from extproc.exchange.form import Form
from extproc.exchange.forward import Asker, forward, realtime, with_key
from extproc.exchange.operations import (
    FORM,
    READY,
    REALTIME,
    RENDERED,
    UNKNOWN,
    Kind,
    Operation,
    find_operation,
    list_models,
    show_model,
    unknown_url,
)
from extproc.exchange.render import Asked, Leg, bare, render
from extproc.exchange.slip import write_slip
from extproc.exchange.stated import read_model, read_stream
from extproc.exchange.tally import Tally
from extproc.formats.base import CHAT
from extproc.framing.encoding import ContentDecoder
from extproc.framing.members import read_members
from extproc.policy.admit import authenticate
from extproc.routing.pick import MOST_NAME, pick
from extproc.runtime import NOBODY, Grant, Runtime

Step = Callable[[Any, Any], list[Command]]
"""A method of a half, and the event that its key in the table names."""

_JSON = "application/json"
JSON = (("content-type", _JSON),)

LITTLE = 64 * 1024
"""Bytes of a body that may be held until its answer is over."""

CROWDED_SECONDS = "1"
"""After which one asks again that there was no room for: others take no longer."""


class State(enum.IntEnum):  # the hash of a plain Enum is Python code
    """Where the request half stands."""

    HEADERS = enum.auto()
    BODY = enum.auto()
    ADMITTING = enum.auto()
    FORM = enum.auto()
    ROUTED = enum.auto()


# To ask an enum for a member by its name is ten times as slow as this.
_HEADERS, _BODY, _ADMITTING, _FORM, _ROUTED = State


class RequestHalf(msgspec.Struct, eq=False):
    """Reads one client request."""

    _runtime: Runtime
    _tally: Tally
    _dispatch: Dispatch
    _account: Account
    state: State = _HEADERS
    operation: Operation = UNKNOWN
    grant: Grant = NOBODY
    """Who asks; `NOBODY` until that is known."""
    headers: Mapping[str, str] = {}
    """The client's, with its key where keys usually are."""
    stream: bool = False
    legs: tuple[Leg, ...] = ()
    _decoder: ContentDecoder | None = None
    _body: list[bytes] = []
    _size: int = 0
    _held: int = 0
    _form: Form | None = None
    capture: Capture | None = None
    """Hears what is said, where that is kept."""

    @property
    def held(self) -> int:
        """Bytes of the body that are here, decompressed."""
        return self._held if self._form is None else self._form.held

    @property
    def announced(self) -> int:
        """Bytes that the body may come to, by what its headers say."""
        length = self.headers.get("content-length", "")
        if length.isdecimal() and self._decoder is None:
            return int(length)
        return self._runtime.limits.max_body_bytes

    def receive(self, event: events.Event) -> list[Command]:
        """Return what `event` leads to.

        Raises:
            ClientError: the request is at fault; the exchange answers it.
            OutOfTurn: the event may not come here.
        """
        step = self.STEPS.get((self.state, type(event)))
        if step is None:
            raise OutOfTurn(f"{type(event).__name__} while {self.state.name}")
        return step(self, event)

    @property
    def collects(self) -> bool:
        """Whether more of the body is for now only kept."""
        return self.state is _BODY and self._decoder is None

    def take(self, data: bytes) -> list[Command]:
        """Keep a piece of the body, not its last, while it `collects`.

        Raises:
            BodyTooLarge: it is too much.
        """
        self._size += len(data)
        if self._size > self._runtime.limits.max_body_bytes:
            raise _too_large(self._runtime.limits.max_body_bytes)
        self._body.append(data)
        self._held += len(data)
        return []

    def weight(self, event: events.RequestBody | events.ResponseBody) -> int:
        """Return how many bytes `event` makes us read: all of them at the end.

        What is compressed may be a hundred times as long as it looks.
        """
        size = 100 * len(event.data) if self._decoder else 0
        return size + self._size + len(event.data) if event.end else size

    def _on_headers(self, event: events.RequestHeaders) -> list[Command]:
        headers, runtime, tally = event.headers, self._runtime, self._tally
        method, path = headers.get(":method", ""), headers.get(":path", "")
        self.operation = operation = find_operation(method, path, headers)
        tally.operation = operation.name
        tally.trace(headers)
        kind = operation.kind
        if kind is READY:
            return [Respond(200, b'{"status":"ready"}', JSON, "gw_ready")]
        if kind is REALTIME:
            headers = with_key(headers)
        self.headers = headers
        self.grant = grant = authenticate(runtime, headers, at=tally.started)
        tally.belong(grant)
        if kind is RENDERED or kind is FORM:
            self._dispatch.enter(grant)
            self._expect_body(headers, operation, end=event.end)
            return []
        match kind:
            case Kind.MODELS | Kind.MODEL:
                return [self._tell_models(operation)]
            case Kind.UNKNOWN:
                raise unknown_url(method, path)
            case Kind.FORWARDED:
                return self._depart(forward(self._asker()))
            case Kind.REALTIME:
                return self._depart(realtime(self._asker()))

    def _tell_models(self, operation: Operation) -> Respond:
        runtime, form = self._runtime, operation.format
        if operation.kind is Kind.MODELS:
            body = form.write_models(list_models(runtime, self.grant))
        else:
            model = show_model(runtime, self.grant, operation.argument)
            body = form.write_model(model)
        return Respond(200, body, JSON, "gw_models")

    def _asker(self) -> Asker:
        return Asker(
            self._runtime, self.grant, self.operation, self.headers, self._dispatch,
            self._account, self._tally,
        )  # fmt: skip

    def _depart(self, leg: Leg) -> list[Command]:
        # Twice the same: where the connection fails, nothing has been done yet.
        self.legs = (leg, leg)
        return self._claim()

    def _on_form(self, event: events.RequestBody) -> list[Command]:
        form = self._form
        assert form is not None, "a form was expected"  # noqa: S101  for mypy
        commands = form.receive(event)
        if form.legs and not self.legs:
            self.legs = form.legs
            return self._claim()
        return commands

    def _expect_body(
        self, headers: Mapping[str, str], operation: Operation, *, end: bool
    ) -> None:
        if end:
            raise BadRequest(
                "The request has no body; send a "
                f"{'form' if operation.kind is FORM else 'JSON object'}."
            )
        if operation.kind is FORM:
            self._form = Form(self._asker())
            self.state = _FORM
            return
        self.state = _BODY
        kind = headers.get("content-type", _JSON)
        if kind != _JSON and not is_json(kind):
            raise UnsupportedMediaType(
                f"The content-type {kind.partition(';')[0][:100]!r} is not supported; "
                "send application/json."
            )
        length = headers.get("content-length", "")
        limit = self._runtime.limits.max_body_bytes
        if length.isdecimal() and int(length) > limit:
            raise _too_large(limit)
        if "content-encoding" in headers:
            coding = headers["content-encoding"]
            if coding.strip().lower() != "identity":
                self._decoder = ContentDecoder(coding, limit=limit)

    def _on_body(self, event: events.RequestBody) -> list[Command]:
        data, decoder = event.data, self._decoder
        self._size += len(data)
        if self._size > self._runtime.limits.max_body_bytes:
            raise _too_large(self._runtime.limits.max_body_bytes)
        if decoder is not None:
            data = decoder.feed(data)
        self._held += len(data)
        if not event.end:
            self._body.append(data)
            return []
        if decoder is not None:
            decoder.close()
        self._tally.request_bytes = self._size
        if self._body:
            data = b"".join((*self._body, data)) if data else b"".join(self._body)
            self._body = []
        return self._route(data)

    def _on_trailers(self, event: events.RequestTrailers) -> list[Command]:
        raise BadRequest(f"{type(event).__name__[7:]} on a request are not supported.")

    def _on_expired(self, event: events.Expired) -> list[Command]:
        if event.crowded:
            raise crowded()
        raise RequestTimeout("The request's body did not arrive in time.")

    def _route(self, body: bytes) -> list[Command]:
        runtime, tally, grant = self._runtime, self._tally, self.grant
        operation = self.operation
        members = read_members(body)
        name = read_model(members, default=operation.format.default_model)
        self.stream = stream = read_stream(members)
        tally.original_model = name[:MOST_NAME]
        tally.streamed = stream
        if runtime.content_size:
            self._listen(body)
        model = pick(runtime, grant, name)
        asked = Asked(operation, self.headers, body, members, name, stream)
        asked = self._account.open(asked, grant, model)
        chosen = self._dispatch.choose(asked, model, grant)
        tally.virtual_model = chosen.model.name
        most = runtime.limits.max_body_bytes
        self.legs = render(asked, chosen, max_bytes=most, tally=tally)
        return self._claim()

    def _listen(self, body: bytes) -> None:
        form = self.operation.format
        if form.operation == CHAT and not self.grant.private:
            self.capture = Capture(self._runtime.content_size, form.name, body)

    def _claim(self) -> list[Command]:
        admission = self._account.claim(self.legs)
        if admission is not None:
            self.state = _ADMITTING
            return [Reserve(admission)]
        return self._stand_by()

    def _stand_by(self) -> list[Command]:
        """Reserve for what stands by, one after the other; then send."""
        if len(self.legs) > 1:
            admission = self._account.claim_next(self.legs, self._dispatch.likely)
            if admission is not None:
                self.state = _ADMITTING
                return [Reserve(admission)]
        legs = self.legs
        tally, account = self._tally, self._account
        self._dispatch.send(legs)
        first_byte = longest_first_byte(legs, self._runtime.limits.attempt_seconds)
        slip = write_slip(tally, legs, account.admission)
        route = Route(tally.id, arm(legs), first_byte, account.headers, slip)
        if self._held > LITTLE:
            self._forget()
        if self._form is not None:
            self.state = _FORM
            return [route, self._form.release()]
        self.state = _ROUTED
        return [route]

    def _on_admitted(self, event: events.Admitted) -> list[Command]:
        self._account.admitted(event)
        return self._stand_by()

    def _on_denied(self, event: events.Denied) -> list[Command]:
        left = self._account.spared(event, self.legs)
        if not left:
            raise self._account.denied(event)
        again = left[0] is not self.legs[0]
        self.legs = left
        return self._claim() if again else self._stand_by()

    def _on_silence(self, event: events.Expired) -> list[Command]:  # noqa: ARG002
        raise Overloaded("Limits and budgets could not be checked in time; try again.")

    def _forget(self) -> None:
        """Hold no long body while its answer comes, which may take minutes."""
        self._account.forget()
        if self._dispatch.plan is not None:
            self._dispatch.plan.demand.forget()
        self.legs = tuple(bare(leg) for leg in self.legs)

    STEPS: ClassVar[Mapping[tuple[State, type], Step]] = {
        (State.HEADERS, events.RequestHeaders): _on_headers,
        (State.BODY, events.RequestBody): _on_body,
        (State.HEADERS, events.Expired): _on_expired,
        (State.BODY, events.Expired): _on_expired,
        (State.BODY, events.RequestTrailers): _on_trailers,
        (State.ADMITTING, events.RequestBody): _on_form,
        (State.ADMITTING, events.Admitted): _on_admitted,
        (State.ADMITTING, events.Denied): _on_denied,
        (State.ADMITTING, events.Expired): _on_silence,
        (State.FORM, events.RequestBody): _on_form,
        (State.FORM, events.RequestTrailers): _on_trailers,
        (State.FORM, events.Expired): _on_expired,
    }


def crowded() -> Overloaded:
    """Return what is said where there is no room for a body, or for an answer."""
    return Overloaded(
        "The gateway holds as many large bodies as it can; try again in a moment.",
        retry_after=CROWDED_SECONDS,
    )


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is over the limit of {limit} bytes.")
