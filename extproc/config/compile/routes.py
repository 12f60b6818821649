"""The route table (RDS): which URLs exist, and how one request becomes attempts.

Providers are not in it: the sidecar names their clusters in metadata, so adding one
changes clusters and secrets only.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.route import v3 as route

from extproc.config.compile.passing import (
    MADE_ONCE,
    realtime,
    stored_answers,
    uploads,
)
from extproc.config.compile.replies import (
    MESSAGES_ROUTE,
    Cause,
    anthropic_body,
    openai_body,
)
from extproc.config.compile.way import (
    ONCE,
    WHOLE,
    Way,
    direct,
    longer_than,
    match,
    sidecar,
    wrong_method,
)
from extproc.config.schema import Config
from extproc.formats import openai_endpoints
from extproc.policy.headers import NAMES

ROUTES = "gateway"
"""The name of the route configuration."""

RENDERING_GROWTH = 2
"""How much larger than the largest request a rendering may be. Formats differ in names and
nesting, which is nothing in a large body; the bulk (text, base64) keeps its size."""

_UNKNOWN_URL = Cause(
    "",
    "Unknown URL. This gateway serves OpenAI's API under /v1, POST /v1/messages of "
    "Anthropic's, and POST /v1/rerank.",
    "invalid_request_error",
    "unknown_url",
    "not_found_error",
)


def routes(config: Config) -> route.RouteConfiguration:
    """Compile the route table."""
    return route.RouteConfiguration(
        name=ROUTES,
        virtual_hosts=[
            route.VirtualHost(
                name="gateway",
                domains=["*"],
                # The router counts x-envoy-attempt-count up; Lua picks a rendering by it.
                include_request_attempt_count=True,
                # What the upstream Lua may set as an attempt's body (more is a 413), and
                # what a retry can be replayed from (more is no retry, without a word).
                # A rendering can be larger than the request that it was made of.
                request_body_buffer_limit=RENDERING_GROWTH * config.limits.body_bytes,
                # Set by our own upstream Lua to force or forbid a retry; nobody else's business.
                response_headers_to_remove=["x-gw-retry", "x-envoy-ratelimited"],
                # Whatever is answered: no message of the sidecar's is needed for it.
                response_headers_to_add=[_limit_header(name) for name in NAMES],
                routes=[
                    *realtime(config),
                    *_refusals("upgrade", 426),
                    *uploads(config),
                    *_refusals("too_large", 413, over=config.limits.body_bytes),
                    _live(),
                    sidecar(config, "ready", match("/health/ready", method="GET")),
                    *_served(config, "chat", "/v1/chat/completions"),
                    *_served(config, "completions", "/v1/completions"),
                    *_served(config, "responses", "/v1/responses"),
                    *_served(config, "count", "/v1/responses/input_tokens"),
                    *_served(config, "embeddings", "/v1/embeddings"),
                    *_served(config, "rerank", "/v1/rerank"),
                    *_served(config, "rerank", "/v2/rerank"),
                    *_served(config, MESSAGES_ROUTE, "/v1/messages"),
                    *_served(config, MESSAGES_ROUTE, "/v1/messages/count_tokens"),
                    *_served(config, "models", "/v1/models", "GET"),
                    *_served(config, "model", "/v1/models/", "GET", prefix=True),
                    *(
                        one
                        for endpoint in openai_endpoints.SENT_AS_JSON
                        for one in _served(
                            config,
                            endpoint.client.operation,
                            f"/v1{endpoint.path}",
                            way=ONCE if endpoint in MADE_ONCE else WHOLE,
                        )
                    ),
                    *stored_answers(config, openai_body(_UNKNOWN_URL)),
                    direct(
                        MESSAGES_ROUTE,
                        route.RouteMatch(path_separated_prefix="/v1/messages"),
                        404,
                        anthropic_body(_UNKNOWN_URL),
                    ),
                    direct(
                        "unknown",
                        route.RouteMatch(prefix="/"),
                        404,
                        openai_body(_UNKNOWN_URL),
                    ),
                ],
            )
        ],
    )


def _limit_header(name: str) -> core.HeaderValueOption:
    """Return a header that is left out where the sidecar has not given it a value."""
    return core.HeaderValueOption(
        header=core.HeaderValue(key=name, value=f"%DYNAMIC_METADATA(gw.rl:{name})%"),
        append_action=core.HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _served(
    config: Config,
    name: str,
    path: str,
    method: str = "POST",
    *,
    prefix: bool = False,
    way: Way = WHOLE,
) -> list[route.Route]:
    """Return a URL's route, and that of all other methods on it."""
    return [
        sidecar(config, name, match(path, prefix=prefix, method=method), way),
        wrong_method(name, match(path, prefix=prefix), method),
    ]


def _refusals(name: str, status: int, *, over: int | None = None) -> list[route.Route]:
    """Return the routes of what Envoy refuses by itself, whatever its URL.

    It does so after routing. Here no route turns the sidecar on, which would be asked
    about the refusal, and without a sidecar the refusal would become a 503. The texts
    are those of `extproc.config.compile.replies`.
    """
    header = (
        longer_than(over)
        if over is not None
        else route.HeaderMatcher(name=name, present_match=True)
    )
    return [
        direct(
            route_name,
            route.RouteMatch(
                path_separated_prefix="/v1/messages"
                if route_name == MESSAGES_ROUTE
                else None,
                prefix=None if route_name == MESSAGES_ROUTE else "/",
                headers=[header],
            ),
            status,
            "",
        )
        for route_name in (MESSAGES_ROUTE, "refused")
    ]


def _live() -> route.Route:
    # Envoy alone answers: it lives. Whether it can serve is /health/ready.
    return direct("live", match("/health/live"), 200, '{"status":"ok"}')
