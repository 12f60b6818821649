"""What an operator is told, with the HTTP status that says it.

AdminError
├── Invalid        400  the request says something that cannot be
├── Unknown        401  nobody has this key
├── NotAllowed     403  the key's role may not do this
├── Missing        404  there is no such thing
├── InTheWay       409  it exists already, or something still needs it
├── TooMany        429  too many wrong keys from one address
└── NotReady       503  there is no configuration to say it of
"""

from __future__ import annotations

from typing import ClassVar


class AdminError(Exception):
    """Answered as ``{"error": {"message", "type", "param", "code"}}``, as OpenAI does."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class Invalid(AdminError):
    """The request says something that cannot be."""

    status = 400
    type = "invalid_request_error"


class Unknown(AdminError):
    """Nobody has this key."""

    status = 401
    type = "authentication_error"


class NotAllowed(AdminError):
    """The key's role may not do this."""

    status = 403
    type = "permission_error"


class Missing(AdminError):
    """There is no such thing."""

    status = 404
    type = "not_found_error"


class InTheWay(AdminError):
    """It exists already, or something still needs it."""

    status = 409
    type = "conflict_error"


class TooMany(AdminError):
    """Too many wrong keys from one address."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotReady(AdminError):
    """There is no configuration to say it of."""

    status = 503
