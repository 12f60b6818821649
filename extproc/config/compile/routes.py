"""The route table (RDS): which URLs exist, and how one request becomes attempts.

Providers are not in it: the sidecar names their clusters in metadata, so adding one
changes clusters and secrets only.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as ext_proc
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.config.compile import wire
from extproc.config.compile.replies import (
    MESSAGES_ROUTE,
    Cause,
    anthropic_body,
    openai_body,
)
from extproc.config.schema import Config
from extproc.policy.headers import NAMES
from extproc.runtime import MAX_ATTEMPTS

ROUTES = "gateway"
"""The name of the route configuration."""

RENDERING_GROWTH = 2
"""How much larger than the largest request a rendering may be. Formats differ in names and
nesting, which is nothing in a large body; the bulk (text, base64) keeps its size."""

NO_CLUSTER = "none"
"""A cluster without endpoints."""

_UNKNOWN_URL = Cause(
    "",
    "Unknown URL. This gateway serves POST /v1/chat/completions, POST /v1/responses, "
    "POST /v1/messages, GET /v1/models and GET /v1/models/{model}.",
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
                    *_refusals(config),
                    _live(),
                    _sidecar(config, "ready", "/health/ready", "GET"),
                    *_served(config, "chat", "/v1/chat/completions", "POST"),
                    *_served(config, "completions", "/v1/completions", "POST"),
                    *_served(config, "responses", "/v1/responses", "POST"),
                    *_served(config, "count", "/v1/responses/input_tokens", "POST"),
                    *_served(config, "embeddings", "/v1/embeddings", "POST"),
                    *_served(config, "rerank", "/v1/rerank", "POST"),
                    *_served(config, "rerank", "/v2/rerank", "POST"),
                    *_served(config, MESSAGES_ROUTE, "/v1/messages", "POST"),
                    *_served(
                        config, MESSAGES_ROUTE, "/v1/messages/count_tokens", "POST"
                    ),
                    *_served(config, "models", "/v1/models", "GET"),
                    *_served(config, "model", "/v1/models/", "GET", prefix=True),
                    _direct(
                        MESSAGES_ROUTE,
                        route.RouteMatch(path_separated_prefix="/v1/messages"),
                        404,
                        anthropic_body(_UNKNOWN_URL),
                    ),
                    _direct(
                        "unknown",
                        route.RouteMatch(prefix="/"),
                        404,
                        openai_body(_UNKNOWN_URL),
                    ),
                ],
            )
        ],
    )


def longest_first_byte(config: Config) -> float:
    """Return the most seconds that any attempt may take to its answer's headers."""
    return max(
        config.timeouts.first_byte,
        *(
            target.timeouts.first_byte or 0
            for model in config.models.values()
            for target in model.targets
        ),
    )


def _limit_header(name: str) -> core.HeaderValueOption:
    """Return a header that is left out where the sidecar has not given it a value."""
    return core.HeaderValueOption(
        header=core.HeaderValue(key=name, value=f"%DYNAMIC_METADATA(gw.rl:{name})%"),
        append_action=core.HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _served(
    config: Config, name: str, path: str, method: str, *, prefix: bool = False
) -> list[route.Route]:
    """Return a URL's route, and that of all other methods on it."""
    refusal = Cause(
        "",
        f"This URL takes {method} only.",
        "invalid_request_error",
        "method_not_allowed",
    )
    return [
        _sidecar(config, name, path, method, prefix=prefix),
        _direct(
            f"{name}-method",
            _match(path, prefix=prefix),
            405,
            (anthropic_body if name == MESSAGES_ROUTE else openai_body)(refusal),
            allow=method,
        ),
    ]


def _match(path: str, *, prefix: bool, method: str | None = None) -> route.RouteMatch:
    return route.RouteMatch(
        path=None if prefix else path,
        prefix=path if prefix else None,
        headers=[]
        if method is None
        else [
            route.HeaderMatcher(
                name=":method", string_match=matcher.StringMatcher(exact=method)
            )
        ],
    )


def _sidecar(
    config: Config, name: str, path: str, method: str, *, prefix: bool = False
) -> route.Route:
    """Return a route that the sidecar answers, or names the attempts for."""
    longest = longest_first_byte(config)
    attempts = MAX_ATTEMPTS * longest
    silence = max(config.timeouts.idle, longest) + 10
    return route.Route(
        name=name,
        match=_match(path, prefix=prefix, method=method),
        route=route.RouteAction(
            inline_cluster_specifier_plugin=_attempt_clusters(),
            # An answer may take as long as it likes; silence may not.
            timeout=wire.seconds(0),
            # Retries do not count as activity on the client's stream: all attempts must
            # fit. 60 s is a margin for connecting, pauses and the body's way here.
            idle_timeout=wire.seconds(
                max(silence, attempts + config.timeouts.request) + 60
            ),
            retry_policy=_retries(config, silence),
        ),
        response_headers_to_add=_told(name),
        # The filter is off where a route does not turn it on.
        typed_per_filter_config={
            "envoy.filters.http.ext_proc": wire.pack(
                route.FilterConfig(
                    config=wire.pack(
                        ext_proc.ExtProcPerRoute(overrides=ext_proc.ExtProcOverrides())
                    )
                )
            )
        },
    )


def _told(name: str) -> list[core.HeaderValueOption]:
    """Return what every answer of a route says.

    Anthropic's SDKs show ``request-id``; where an answer has none, it is the gateway's.
    """
    if not name.startswith(MESSAGES_ROUTE):
        return []
    return [
        core.HeaderValueOption(
            header=core.HeaderValue(key="request-id", value="%REQ(X-REQUEST-ID)%"),
            append_action=core.HeaderValueOptionHeaderAppendAction.ADD_IF_ABSENT,
        )
    ]


def _attempt_clusters() -> route.ClusterSpecifierPlugin:
    """Return the specifier that takes attempt n to the n-th group of the metadata.

    Without metadata to the cluster that has no endpoints: it fails closed.
    """
    return route.ClusterSpecifierPlugin(
        extension=core.TypedExtensionConfig(
            name="envoy.router.cluster_specifier_plugin.priority_group",
            typed_config=wire.newer(
                "envoy.extensions.router.cluster_specifiers.priority_group.v3."
                "PriorityGroupClusterSpecifier",
                override_metadata_namespace="gw.pg",
                priority_groups=[
                    {
                        "name": NO_CLUSTER,
                        "clusters": [{"cluster_name": NO_CLUSTER, "weight": 1}],
                    }
                ],
            ),
        )
    )


def _retries(config: Config, silence: float) -> route.RetryPolicy:
    return route.RetryPolicy(
        # retriable-headers: an upstream filter may force the next attempt.
        retry_on="5xx,reset,connect-failure,refused-stream,retriable-status-codes,"
        "retriable-headers",
        retriable_status_codes=sorted({408, 429, *config.routing.retry.statuses}),
        retriable_headers=[route.HeaderMatcher(name="x-gw-retry", present_match=True)],
        # The sidecar says how many, in x-envoy-max-retries: one less than the chain.
        num_retries=0,
        refresh_cluster_on_retry=True,
        # The next attempt is another provider: nothing is gained by a long pause.
        retry_back_off=route.RetryPolicyRetryBackOff(
            base_interval=wire.seconds(0.025), max_interval=wire.seconds(0.25)
        ),
        # To the answer's headers only; the answer itself may take longer.
        per_try_timeout=wire.seconds(config.timeouts.first_byte),
        # Counts before the headers too, so it may not be shorter than the former. The
        # sidecar's own timer is 10 s ahead, and can still end a stream cleanly.
        per_try_idle_timeout=wire.seconds(silence),
    )


def _refusals(config: Config) -> list[route.Route]:
    """Return the routes of what Envoy refuses by itself, whatever its URL.

    It does so after routing. Here no route turns the sidecar on, which would be asked
    about the refusal, and without a sidecar the refusal would become a 503. The texts
    are those of `extproc.config.compile.replies`.
    """
    upgrade = route.HeaderMatcher(name="upgrade", present_match=True)
    too_large = route.HeaderMatcher(
        name="content-length",
        range_match=envoy_type.Int64Range(
            start=config.limits.body_bytes + 1, end=2**63 - 1
        ),
    )
    return [
        _direct(
            name,
            route.RouteMatch(
                path_separated_prefix="/v1/messages"
                if name == MESSAGES_ROUTE
                else None,
                prefix=None if name == MESSAGES_ROUTE else "/",
                headers=[header],
            ),
            status,
            "",
        )
        for header, status in ((upgrade, 426), (too_large, 413))
        for name in (MESSAGES_ROUTE, "refused")
    ]


def _live() -> route.Route:
    # Envoy alone answers: it lives. Whether it can serve is /health/ready.
    return _direct("live", _match("/health/live", prefix=False), 200, '{"status":"ok"}')


def _direct(
    name: str,
    match: route.RouteMatch,
    status: int,
    body: str,
    *,
    allow: str | None = None,
) -> route.Route:
    """Return a route that Envoy answers without asking the sidecar."""
    added = _told(name)
    if allow is not None:
        # RFC 9110 15.5.6: a 405 names the methods.
        added.append(
            core.HeaderValueOption(
                header=core.HeaderValue(key="allow", value=allow),
                append_action=core.HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
            )
        )
    return route.Route(
        name=name,
        match=match,
        direct_response=route.DirectResponseAction(
            status=status, body=core.DataSource(inline_string=body)
        ),
        response_headers_to_add=added,
    )
