"""An answer that Envoy makes itself before the request is whole: too large, too slow.

It is in the client's dialect already (``local_reply_config``) and passes as it is. It
has to be passed piece by piece: in full-duplex mode leaving now would lose its body.
"""

from __future__ import annotations

from typing import final

from extproc.errors import ClientError, GatewayError, OutOfTurn
from extproc.exchange import events
from extproc.exchange.commands import (
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    Command,
)
from extproc.exchange.response import DONE, PASSING
from extproc.exchange.tally import Tally

LOCAL = "local_reply"
"""The operation of an exchange that began with the answer. No request has come here, so
Envoy's access log is what counts it: see `extproc.telemetry.confirm`."""


@final
class LocalReply:
    """Passes one of Envoy's own answers; has the face of a response half."""

    def __init__(self, event: events.ResponseHeaders, tally: Tally) -> None:
        tally.status = event.status
        if tally.request_id is None:
            tally.operation = LOCAL
        self.state = PASSING
        self.error: GatewayError | None = ClientError(
            "Envoy answered before the request was whole.",
            status=event.status,
            code=event.details or None,
        )

    def receive(self, event: events.Event) -> list[Command]:
        """Pass what came.

        Raises:
            OutOfTurn: this is no part of an answer.
        """
        match event:
            case events.ResponseHeaders(end=end):
                self.state = DONE if end else PASSING
                return [AnswerHeaders()]
            case events.ResponseBody(data, end):
                self.state = DONE if end else PASSING
                return [AnswerBody(data, end)]
            case events.ResponseTrailers():
                self.state = DONE
                return [AnswerTrailers()]
            case _:
                raise OutOfTurn(f"{type(event).__name__} inside Envoy's own answer")

    plain = False
    held = announced = 0
    """As those of `ResponseHalf`."""

    def weight(self, event: events.RequestBody | events.ResponseBody) -> int:  # noqa: ARG002
        """Return that nothing has to be read."""
        return 0

    def fail(self, error: GatewayError) -> list[Command]:
        """End the answer where it stands; there is no more to be said."""
        self.error = self.error or error
        self.state = DONE
        return [AnswerBody(b"", end=True)]

    def abandon(self) -> None:
        """Note nothing: no provider was asked."""
