"""How the admin API is asked and answers: who asks, JSON in, JSON and CSV out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, Query, Request
from fastapi.responses import Response, StreamingResponse

from extproc.admin import spending
from extproc.admin.access import Action, Actor, Doorkeeper
from extproc.admin.bearers import Bearers
from extproc.admin.directory import Directory
from extproc.admin.errors import Invalid, Unknown
from extproc.db.database import Database
from extproc.errors import GatewayError
from extproc.policy.admit import authenticate, credential
from extproc.runtime import Runtime
from extproc.tokens import HEADER

MAX_BODY_BYTES: Final = 16 << 20
"""An import of 50,000 keys."""

_CREDENTIALS: Final = {"authorization", "x-api-key"}

_ZERO: Final = "There is a character with the code 0, which no database takes."

Limit = Annotated[int, Query(ge=1, le=1000)]


class Admin:
    """What the routes share.

    Args:
        directory: the entries.
        database: the books.
        runtime: returns what the data path serves now; None before the first.
        clock: Unix seconds.
        bearers: verifies tokens; None: keys alone open the API.
    """

    def __init__(
        self,
        directory: Directory,
        database: Database,
        *,
        runtime: Callable[[], Runtime | None],
        clock: Callable[[], float],
        bearers: Bearers | None = None,
    ) -> None:
        self.directory = directory
        self.database = database
        self._runtime = runtime
        self.clock = clock
        self._bearers = bearers
        self._doorkeeper = Doorkeeper(clock)

    def actor(self, request: Request) -> Actor:
        """Return who asks.

        Raises:
            Unknown: the key is nobody's, or not good now.
            TooMany: this address has tried too many.
        """
        address = request.client.host if request.client else ""
        self._doorkeeper.admit(address)
        runtime = self._runtime()
        if runtime is None:
            raise Unknown("There is no configuration yet.")
        headers = {
            **request.headers,
            ":path": request.url.path,
            # Nobody stands between: what a caller says of itself is not believed.
            "x-forwarded-for": ",".join([address] * (runtime.trusted_hops + 1)),
        }
        headers.pop(HEADER, None)
        if (payload := self._verified(headers)) is not None:
            headers[HEADER] = payload
        try:
            grant = authenticate(runtime, headers, at=self.clock())
        except GatewayError as error:
            # Who shows no key does not try to guess one.
            if error.status == 401 and _CREDENTIALS & headers.keys():
                self._doorkeeper.refused(address)
            raise Unknown(str(error)) from None
        return Actor(grant.id, grant.role)

    def _verified(self, headers: dict[str, str]) -> str | None:
        """Return the payload of the token in `headers`, if there is a good one."""
        token = credential(headers)
        if self._bearers is None or token.count(".") != 2:
            return None
        return self._bearers.payload(token)


def allowed(admin: Admin, action: Action) -> Any:  # noqa: ANN401  FastAPI's own type
    """Return what a route depends on, so that only who may do `action` gets there."""
    return Depends(Check(admin, action))


class Check:
    """Lets in who may do `action`, which the schema says of each operation."""

    def __init__(self, admin: Admin, action: Action) -> None:
        self._admin = admin
        self.action: Final = action

    def __call__(self, request: Request) -> Actor:
        """Return who asks.

        Raises:
            AdminError: they may not.
        """
        actor = self._admin.actor(request)
        actor.must(self.action)
        query = request.scope["query_string"]
        if "\0" in request.url.path or b"%00" in query or b"\0" in query:
            raise Invalid(_ZERO)
        return actor


def json(content: object, status: int = 200) -> Response:
    """Answer with `content`; nothing of the admin API is to be kept by a cache."""
    return Response(
        spending.encoder.encode(content),
        status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


async def body(request: Request) -> Any:  # noqa: ANN401  any JSON
    """Read a JSON body.

    Raises:
        Invalid: it is none, or too large.
    """
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY_BYTES:
            raise Invalid(f"The body is over the limit of {MAX_BODY_BYTES} bytes.")
    try:
        content = msgspec.json.decode(bytes(data) or b"{}")
        if b"\\u0000" in data and _has_zero(content):
            raise Invalid(_ZERO)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Invalid(f"The body is not valid JSON: {exc}.") from None
    except RecursionError:
        raise Invalid("The body is nested too deeply.") from None
    return content


def _has_zero(content: object) -> bool:
    match content:
        case str():
            return "\0" in content
        case list():
            return any(map(_has_zero, content))
        case dict():
            return any(map(_has_zero, (*content, *content.values())))
        case _:
            return False


async def object_body(request: Request) -> dict[str, Any]:
    """Read a body that is a JSON object.

    Raises:
        Invalid: it is something else.
    """
    content = await body(request)
    if not isinstance(content, dict):
        raise Invalid("The body must be a JSON object.")
    return content


JsonObject = Annotated[dict[str, Any], Depends(object_body)]
"""Behind the actor in a route's parameters, in whose order they are looked at: what anybody
says is not read, since 16 MB of JSON can be 400 MB of objects."""


def csv(name: str, lines: Iterable[str]) -> Response:
    """Answer with a CSV file, as it is made."""
    return StreamingResponse(
        lines,
        media_type="text/csv; charset=utf-8",
        headers={
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "no-store",
        },
    )
