"""Local replies: every error that Envoy makes itself, in the client's own dialect.

One row a cause, first match wins. A client never sees Envoy's text ("upstream connect
error or disconnect/reset before headers…"); operators find it in the access log as
``%RESPONSE_CODE_DETAILS%``. What the sidecar (``gw_…``) and our own direct responses say
passes untouched.
"""

from __future__ import annotations

import dataclasses

import msgspec
from envoy_data_plane.envoy.config.accesslog import v3 as accesslog
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel import v3 as cel
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import (
    v3 as hcm,
)

from extproc.config.compile import wire
from extproc.config.schema import Config

MESSAGES_ROUTE = "messages"
"""The name of the routes whose clients speak Anthropic's dialect."""

_UNTOUCHED = (
    'response.code_details == "direct_response" || '
    'response.code_details.startsWith("gw_")'
)

_IS_ANTHROPIC = (
    # By route, and not only by path: the path of a request that has been rendered for
    # Anthropic is theirs, whatever its client speaks. Without a route there was no
    # rendering either.
    f'(xds.route_name == "{MESSAGES_ROUTE}" || '
    '(!has(xds.route_name) && request.url_path.startsWith("/v1/messages")))'
)


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """Why Envoy answered by itself, and what the client is told."""

    when: str
    """CEL over the response so far."""
    message: str
    type: str = "api_error"
    code: str | None = None
    anthropic: str = "api_error"
    """``error.type`` of https://docs.anthropic.com/en/api/errors."""
    status: int | None = None
    """None keeps Envoy's."""


_REQUEST = "invalid_request_error"
_UNAVAILABLE = "The gateway cannot serve this request now. Try again in a moment."


def causes(config: Config) -> tuple[Cause, ...]:
    """Return the rows, the narrow ones first."""
    return (
        Cause(
            'response.code_details == "upgrade_failed"',
            "WebSocket and other upgrades are not served here: send a plain request.",
            _REQUEST,
            "upgrade_not_supported",
            _REQUEST,
            status=426,
        ),
        Cause(
            'response.code_details == "low_version"',
            "This HTTP version is not served: use HTTP/1.1 or HTTP/2.",
            _REQUEST,
            "http_version_not_supported",
            _REQUEST,
        ),
        Cause(
            # The SDS file is not there (yet): our fault and not the caller's key.
            'response.code_details.startsWith("failed_to_inject_credential")',
            _UNAVAILABLE,
            "service_unavailable",
            "gateway_unavailable",
            "api_error",
            status=503,
        ),
        Cause(
            "response.code == 413",
            f"The request body is larger than {config.limits.body_bytes} bytes.",
            _REQUEST,
            "request_too_large",
            "request_too_large",
        ),
        Cause(
            "response.code == 408",
            "The request did not arrive whole in time.",
            _REQUEST,
            "request_timeout",
            _REQUEST,
        ),
        Cause(
            "response.code == 431",
            "The request headers are too large.",
            _REQUEST,
            "headers_too_large",
            _REQUEST,
        ),
        Cause(
            "response.code == 429",
            "Too many requests at once. Try again in a moment.",
            "rate_limit_error",
            "rate_limit_exceeded",
            "rate_limit_error",
        ),
        Cause(
            "response.code == 404",
            "Unknown URL.",
            _REQUEST,
            "unknown_url",
            "not_found_error",
        ),
        Cause(
            "response.code >= 400 && response.code < 500",
            "The request is not well-formed HTTP, or its path or headers are not "
            "acceptable.",
            _REQUEST,
            "malformed_request",
            _REQUEST,
        ),
        Cause(
            "response.code == 504",
            "The provider did not answer in time.",
            code="upstream_timeout",
            anthropic="timeout_error",
        ),
        Cause(
            'response.code == 502 || response.code_details.contains("protocol_error")',
            "The provider's answer could not be read.",
            code="bad_upstream_answer",
            status=502,
        ),
        Cause(
            # The router's words for: no attempt brought an answer.
            'response.code_details.startsWith("upstream_reset")',
            "The provider could not be reached.",
            code="upstream_unreachable",
        ),
        Cause(
            # The sidecar is away, or named no provider, or Envoy is overloaded.
            "response.code == 503 || "
            'response.code_details.startsWith("ext_proc_error")',
            _UNAVAILABLE,
            "service_unavailable",
            "gateway_unavailable",
            "api_error",
            status=503,
        ),
        Cause(
            "response.code >= 500",
            "The gateway failed to serve this request.",
            code="internal_error",
        ),
    )


def local_replies(config: Config) -> hcm.LocalReplyConfig:
    """Compile the mappers."""
    mappers = [_mapper(_UNTOUCHED, "%LOCAL_REPLY_BODY%")]
    for cause in causes(config):
        shapes = (
            (f"({cause.when}) && {_IS_ANTHROPIC}", anthropic_body(cause)),
            (cause.when, openai_body(cause)),
        )
        mappers += [
            # A % begins one of Envoy's substitutions.
            _mapper(when, body.replace("%", "%%"), cause.status)
            for when, body in shapes
        ]
    return hcm.LocalReplyConfig(mappers=mappers)


def openai_body(cause: Cause) -> str:
    """Write the error as https://platform.openai.com/docs/guides/error-codes has it."""
    error = {
        "message": cause.message,
        "type": cause.type,
        "param": None,
        "code": cause.code,
    }
    return msgspec.json.encode({"error": error}).decode()


def anthropic_body(cause: Cause) -> str:
    """Write the error as https://docs.anthropic.com/en/api/errors has it."""
    error = {"type": cause.anthropic, "message": cause.message}
    return msgspec.json.encode({"type": "error", "error": error}).decode()


def _mapper(when: str, text: str, status: int | None = None) -> hcm.ResponseMapper:
    return hcm.ResponseMapper(
        filter=accesslog.AccessLogFilter(
            extension_filter=accesslog.ExtensionFilter(
                name="envoy.access_loggers.extension_filters.cel",
                typed_config=wire.pack(cel.ExpressionFilter(expression=when)),
            )
        ),
        status_code=status,
        # For a request that was refused before it had one; else Envoy puts the request's
        # own in its place.
        headers_to_add=[
            core.HeaderValueOption(
                header=core.HeaderValue(key="x-request-id", value="%UNIQUE_ID%"),
                append_action=core.HeaderValueOptionHeaderAppendAction.ADD_IF_ABSENT,
            )
        ],
        body_format_override=core.SubstitutionFormatString(
            text_format_source=core.DataSource(inline_string=text),
            content_type="application/json",
        ),
    )
