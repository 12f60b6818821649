"""A form with a file in it: held until its model is known, and from then on only passing.

    HELD ──the model, and a place for it──▶ SENT

Every official SDK sends the fields ahead of the files, so that hardly anything is ever held.
A form that has its model behind a file is held up to the limit that every other request has;
a longer one must be sent the other way round.
"""

from __future__ import annotations

from extproc.errors import BadRequest, BodyTooLarge, UnsupportedMediaType
from extproc.exchange import events
from extproc.exchange.commands import Command, RequestChunk
from extproc.exchange.forward import Asker, leg, own_headers
from extproc.exchange.render import Leg
from extproc.framing.multipart import FieldFinder, boundary_of


class Form:
    """Reads one form as far as it must."""

    def __init__(self, asker: Asker) -> None:
        """Begin.

        Raises:
            UnsupportedMediaType: it cannot be looked into.
            BadRequest: its boundary is not named.
        """
        headers = asker.headers
        coding = headers.get("content-encoding", "identity").strip().lower()
        if coding != "identity":
            raise UnsupportedMediaType("A form cannot be sent compressed.")
        self.legs: tuple[Leg, ...] = ()
        """Empty until the model is known."""
        self._finder = FieldFinder(
            boundary_of(headers.get("content-type", "")), "model"
        )
        self._held = bytearray()
        self._ended = False
        self._sent = False
        self._asker = asker

    def receive(self, event: events.RequestBody) -> list[Command]:
        """Take more of the form; return what of it goes on now.

        Raises:
            GatewayError: it cannot be read, or cannot go anywhere.
        """
        self._asker.tally.request_bytes += len(event.data)
        self._finder.feed(event.data)
        if event.end:
            self._finder.close()
        if self._sent:
            return [RequestChunk(event.data, event.end)]
        self._held += event.data
        self._ended = event.end
        if not self.legs:
            if self._finder.value is not None or event.end:
                self._decide()
            else:
                self._check_size()
        return []

    @property
    def held(self) -> int:
        """Bytes that wait for the model."""
        return len(self._held)

    def release(self) -> RequestChunk:
        """Return what was held; from now on all goes on at once."""
        self._sent = True
        held, self._held = bytes(self._held), bytearray()
        return RequestChunk(held, self._ended)

    def _check_size(self) -> None:
        limit = self._asker.runtime.limits.max_body_bytes
        if len(self._held) > limit:
            raise BodyTooLarge(
                f"The first {limit} bytes of the form do not name its model: send the "
                "field 'model' ahead of the file."
            )

    def _decide(self) -> None:
        asker = self._asker
        client = asker.operation.format
        name = self._finder.value or client.default_model
        if not name:
            raise BadRequest(
                "Missing required parameter: 'model'.",
                param="model",
                code="missing_required_parameter",
            )
        chosen = asker.choose(name)
        target = chosen.candidate.target
        model = target.request_model(name)
        dialect = target.dialect(client, model)
        grown = self._rename(name, model)
        length = asker.headers.get("content-length", "")
        size = (
            (("content-length", str(int(length) + grown)),)
            if length.isdecimal()
            else ()
        )
        one = leg(
            target,
            dialect.format,
            model=model,
            path=target.path(dialect, model, stream=False),
            set_headers=(*own_headers(target, asker.headers, read=True), *size),
            unread=False,
            chosen=chosen,
        )
        self.legs = (one, one)

    def _rename(self, asked: str, model: str) -> int:
        """Put the request model in the original's place; return how much longer it is."""
        if model == asked or self._finder.value is None:
            return 0
        start, end = self._finder.span
        spelled = model.encode()
        self._held[start:end] = spelled
        return len(spelled) - (end - start)
