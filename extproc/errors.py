"""Every deliberate error, who is at fault, and the status that the client sees.

    GatewayError
    ├── ClientError                 the request is at fault
    │   ├── BadRequest              400  not JSON, wrong type, a field that cannot be kept
    │   ├── Unauthenticated         401  no key, or a key that nobody has
    │   ├── BudgetReached           402  no money is left for this
    │   ├── Forbidden               403  a key that may not do this
    │   ├── NotFound                404  unknown model, unknown URL
    │   ├── RequestTimeout          408  the body did not arrive in time
    │   ├── SessionExpired          408  a realtime session has lasted long enough
    │   ├── BodyTooLarge            413
    │   ├── UnsupportedMediaType    415  content-type or content-encoding
    │   └── LimitReached            429  a limit on requests, tokens, or at once
    ├── UpstreamError               the provider is at fault; keeps its status
    │   ├── UpstreamUnreachable     503  no connection, no name, reset before an answer
    │   ├── UpstreamTimeout         504  silent for too long
    │   ├── UpstreamLimited         429  every target said when to come back
    │   └── BadUpstreamAnswer       502  an answer that its own format forbids
    │       ├── ProtocolViolation        an event that may not come here
    │       └── TruncatedStream          the stream ended before its last event
    └── GatewayFault                     we are at fault
        ├── Overloaded              503  we cannot serve this now
        └── OutOfTurn               500  Envoy or we broke the order of events: a bug

Any other exception out of the core is a bug. A format writes these in its client's
dialect (``ClientFormat.write_error``); nothing else ever makes an error body.
"""

from __future__ import annotations

from typing import Final

from extproc.redact import SECRETS, Redactor

_SECRETS: Final = Redactor(SECRETS)

ACCOUNT_REFUSED: Final = "upstream_auth_error"
"""The code of an error where a provider refused the gateway's own account."""

MOST_WORD: Final = 200
"""Characters of a type, code or param that a provider says; all known have under 60."""


class GatewayError(Exception):
    """An error that a client is told of.

    ``type``, ``code`` and ``param`` are OpenAI's words
    (https://platform.openai.com/docs/guides/error-codes); other dialects derive theirs
    from the status.
    """

    status: int = 500
    type: str = "api_error"
    code: str | None = None
    inner: object = None
    """What Azure says beneath it (``innererror``), such as what its content filter found:
    JSON with nothing in it but words for the caller."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,  # noqa: A002  OpenAI's word
        code: str | None = None,
        param: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = self.status if status is None else status
        self.type = self.type if type is None else type
        self.code = self.code if code is None else code
        self.param = param
        self.retry_after = retry_after
        """The provider's own ``retry-after`` value, kept as it was spelled."""


class ClientError(GatewayError):
    """The request is at fault."""

    status = 400
    type = "invalid_request_error"


class BadRequest(ClientError):
    """The request cannot be read, or asks for what cannot be kept."""


class Unauthenticated(ClientError):
    """No key was given, or one that nobody has."""

    status = 401
    code = "invalid_api_key"


class Forbidden(ClientError):
    """The key is known and may not do this."""

    status = 403
    type = "permission_error"


class NotFound(ClientError):
    """The model or URL does not exist, as far as this caller may know."""

    status = 404


class RequestTimeout(ClientError):
    """The request did not arrive whole in time."""

    status = 408
    code = "request_timeout"


class SessionExpired(ClientError):
    """A realtime session has lasted as long as one may."""

    status = 408
    code = "session_expired"


class BodyTooLarge(ClientError):
    """The body, or what it decompresses to, is over the limit."""

    status = 413
    code = "request_too_large"


class UnsupportedMediaType(ClientError):
    """The content-type or content-encoding is not one that we read."""

    status = 415
    code = "unsupported_media_type"


class BudgetReached(ClientError):
    """A budget has not enough left. Not a 429: the SDKs would ask again at once."""

    status = 402
    type = "insufficient_quota"
    code = "insufficient_quota"


class LimitReached(ClientError):
    """A limit of ours is reached; `retry_after` says when it no longer is."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"


class UpstreamError(GatewayError):
    """The provider answered with an error, or failed to answer.

    Providers repeat keys that they refuse: no word of theirs has a secret in it.
    """

    status = 502

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,  # noqa: A002  OpenAI's word
        code: str | None = None,
        param: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        super().__init__(
            _SECRETS.text(message),
            status=status if status is None or 400 <= status < 600 else 502,
            type=_word(type),
            code=_word(code),
            param=_word(param),
            retry_after=retry_after,
        )


def _word(said: str | None) -> str | None:
    return said and _SECRETS.text(said)[:MOST_WORD]


class UpstreamUnreachable(UpstreamError):
    """No target of the chain could be reached."""

    status = 503
    code = "upstream_unreachable"


class UpstreamTimeout(UpstreamError):
    """The provider stayed silent for longer than the configuration allows."""

    status = 504
    code = "upstream_timeout"


class UpstreamLimited(UpstreamError):
    """Every target has said when to come back, and that is not yet."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class BadUpstreamAnswer(UpstreamError):
    """The provider's answer breaks its own format."""

    code = "bad_upstream_answer"


class ProtocolViolation(BadUpstreamAnswer):
    """An upstream event came where its format does not allow it, or cannot be read."""


class TruncatedStream(BadUpstreamAnswer):
    """The upstream stream ended before its last event."""

    code = "upstream_truncated"


class GatewayFault(GatewayError):
    """We are at fault."""


class Overloaded(GatewayFault):
    """The gateway cannot serve this now."""

    status = 503
    type = "service_unavailable"
    code = "gateway_unavailable"


class OutOfTurn(GatewayFault):
    """An event came where it may not: Envoy's bug, or ours."""

    code = "internal_error"
