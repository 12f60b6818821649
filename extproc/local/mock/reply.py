"""What a provider hands to the server: a whole reply, or a stream of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from extproc.local.mock.directives import Conduct

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One whole HTTP request; header names are lower case."""

    method: str
    path: str
    """With the query."""
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first value of a header, if it is there."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def route(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    headers: Headers = ()
    content_type: str = "application/json"
    conduct: Conduct = field(default_factory=Conduct)


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One server-sent event; `name` is None when the provider names none."""

    payload: bytes
    name: str | None = None
    framed: bool = False
    """The payload is all of it: a message of another framing than SSE."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer told event by event."""

    events: Iterable[SseEvent]
    headers: Headers = ()
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    conduct: Conduct = field(default_factory=Conduct)


class Provider(Protocol):
    """One provider's API, whole: paths, checks, errors, answers."""

    name: str

    def owns(self, request: Request) -> bool:
        """Tell whether the request is this provider's to answer."""
        ...

    def respond(self, request: Request) -> Reply | Stream:
        """Answer the request; never raises for anything that a client sends."""
        ...


class Refusal(Exception):
    """The request is refused: the provider's error, before it is written down."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str | None = "invalid_request_error",  # noqa: A002
        code: str | None = None,
        param: str | None = None,
        headers: Headers = (),
        more: Mapping[str, object] | None = None,
    ) -> None:
        """`more` is what else stands in the error, by name."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.headers = headers
        self.more = more or {}
