"""What a route is made of: how a request goes through the sidecar to a provider."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as ext_proc
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google.protobuf import Any

from extproc.config.compile import wire
from extproc.config.compile.replies import (
    MESSAGES_ROUTE,
    Cause,
    anthropic_body,
    openai_body,
)
from extproc.config.schema import Config
from extproc.config.times import longest_first_byte, longest_silence, longest_total
from extproc.runtime import MAX_ATTEMPTS

NO_CLUSTER = "none"
"""A cluster without endpoints."""

UPLOAD_LIMIT = "upload_limit"
"""The filter that stands in `body_size_limit`'s place where files stream through."""

PASSING_BUFFER_BYTES = 64 * 1024
"""Of a body that streams through: what is held while a connection is made."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How much of a request and its answer the sidecar sees, and how often it is made."""

    mode: ext_proc.ProcessingMode | None = None
    """None: all of both."""
    upload: bool = False
    """It may have a file in it, and streams through."""
    once: bool = False
    """It may not be made twice: retried only where no connection was made."""
    upgrade: bool = False
    """It becomes a WebSocket."""


def _headers_only(*, answer: bool = False) -> ext_proc.ProcessingMode:
    """Return the mode that shows no body; but the `answer`, if that is wanted."""
    header, body = (
        ext_proc.ProcessingModeHeaderSendMode,
        ext_proc.ProcessingModeBodySendMode,
    )
    return ext_proc.ProcessingMode(
        request_header_mode=header.SEND,
        request_body_mode=body.NONE,
        request_trailer_mode=header.SKIP,
        response_header_mode=header.SEND,
        response_body_mode=body.FULL_DUPLEX_STREAMED if answer else body.NONE,
        response_trailer_mode=header.SEND if answer else header.SKIP,
    )


def _one_way() -> ext_proc.ProcessingMode:
    """Return the mode of a WebSocket: what its server says is seen, and can be ended."""
    header, body = (
        ext_proc.ProcessingModeHeaderSendMode,
        ext_proc.ProcessingModeBodySendMode,
    )
    return ext_proc.ProcessingMode(
        request_header_mode=header.SEND,
        request_body_mode=body.NONE,
        request_trailer_mode=header.SKIP,
        response_header_mode=header.SEND,
        response_body_mode=body.FULL_DUPLEX_STREAMED,
        response_trailer_mode=header.SEND,
    )


WHOLE = Way()
ONCE = Way(once=True)
FORM = Way(upload=True, once=True)
UNSEEN = Way(mode=_headers_only(), upload=True, once=True)
ANSWERED = Way(mode=_headers_only(answer=True), upload=True, once=True)
SOCKET = Way(mode=_one_way(), once=True, upgrade=True)


def match(
    path: str,
    *,
    prefix: bool = False,
    below: bool = False,
    method: str | None = None,
    headers: Sequence[route.HeaderMatcher] = (),
) -> route.RouteMatch:
    """Return the match of a path; of a prefix; or of a path with all `below` it."""
    wanted = list(headers)
    if method is not None:
        exact = matcher.StringMatcher(exact=method)
        wanted.append(route.HeaderMatcher(name=":method", string_match=exact))
    return route.RouteMatch(
        path=path if not (prefix or below) else None,
        prefix=path if prefix else None,
        path_separated_prefix=path if below else None,
        headers=wanted,
    )


def longer_than(size: int) -> route.HeaderMatcher:
    """Return the match of a request that says its body is longer than this."""
    return route.HeaderMatcher(
        name="content-length",
        range_match=envoy_type.Int64Range(start=size + 1, end=2**63 - 1),
    )


def wrong_method(name: str, where: route.RouteMatch, method: str) -> route.Route:
    """Return the route of every other method on a URL."""
    refusal = Cause(
        "",
        f"This URL takes {method} only.",
        "invalid_request_error",
        "method_not_allowed",
    )
    body = anthropic_body if name == MESSAGES_ROUTE else openai_body
    return direct(f"{name}-method", where, 405, body(refusal), allow=method)


def sidecar(
    config: Config, name: str, match: route.RouteMatch, way: Way = WHOLE
) -> route.Route:
    """Return a route that the sidecar answers, or names the attempts for."""
    attempts = MAX_ATTEMPTS * longest_first_byte(config)
    silence = longest_silence(config) + 10
    if way.upgrade and config.realtime is not None:
        # Who listens is silent for as long as it likes.
        silence = config.realtime.lifetime + 10
    filters = {"ext_proc": _on(way.mode)}
    if way.upload:
        filters |= {"body_size_limit": _off(), UPLOAD_LIMIT: _enabled()}
    return route.Route(
        name=name,
        match=match,
        route=route.RouteAction(
            inline_cluster_specifier_plugin=_attempt_clusters(),
            # Would count from the request's end; what may be how long is said below.
            timeout=wire.seconds(0),
            # Retries do not count as activity on the client's stream: all attempts must
            # fit. 60 s is a margin for connecting, pauses and the body's way here.
            idle_timeout=wire.seconds(
                max(silence, attempts + config.timeouts.request) + 60
            ),
            max_stream_duration=route.RouteActionMaxStreamDuration(
                max_stream_duration=wire.seconds(_longest(config, way))
            ),
            retry_policy=_retry_connecting(attempts, silence)
            if way.once
            else _retries(config, silence),
            upgrade_configs=[route.RouteActionUpgradeConfig(upgrade_type="websocket")]
            if way.upgrade
            else [],
        ),
        # What passes is not held for a retry: a connection that fails took none of it.
        request_body_buffer_limit=PASSING_BUFFER_BYTES if way.upload else None,
        response_headers_to_add=_told(name),
        # The filters are off, or on, where a route does not say otherwise.
        typed_per_filter_config={
            f"envoy.filters.http.{filter_name}": wire.pack(config_)
            for filter_name, config_ in filters.items()
        },
    )


def _longest(config: Config, way: Way) -> float:
    """Return the seconds after which Envoy ends whatever the sidecar has not ended.

    The sidecar's own timer is ahead, for what it reads; what passes unseen has this one.
    """
    if way.upgrade and config.realtime is not None:
        return config.realtime.lifetime + 60
    times = config.timeouts
    arrival = times.upload if way.upload else times.request
    waiting = (MAX_ATTEMPTS - 1) * longest_first_byte(config)
    return arrival + waiting + longest_total(config) + 60


def _on(mode: ext_proc.ProcessingMode | None) -> route.FilterConfig:
    overrides = ext_proc.ExtProcOverrides(processing_mode=mode)
    return route.FilterConfig(
        config=wire.pack(ext_proc.ExtProcPerRoute(overrides=overrides))
    )


def _off() -> route.FilterConfig:
    return route.FilterConfig(disabled=True)


def _enabled() -> route.FilterConfig:
    return route.FilterConfig(config=wire.empty())


def upload_limit(config: Config) -> Any:
    """Return the filter that stops a body which turns out to be too long an upload."""
    return wire.newer(
        "envoy.extensions.filters.http.body_size_limit.v3.BodySizeLimit",
        max_request_bytes=config.limits.upload_bytes,
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


def _retry_connecting(attempts: float, silence: float) -> route.RetryPolicy:
    """Return the retries of what may not be done twice: nothing has been sent yet.

    The one that is made has the time of all `attempts`: a picture takes minutes.
    """
    return route.RetryPolicy(
        retry_on="connect-failure,refused-stream,reset-before-request",
        num_retries=0,
        refresh_cluster_on_retry=True,
        retry_back_off=route.RetryPolicyRetryBackOff(
            base_interval=wire.seconds(0.025), max_interval=wire.seconds(0.25)
        ),
        per_try_timeout=wire.seconds(attempts),
        per_try_idle_timeout=wire.seconds(max(attempts + 10, silence)),
    )


def direct(
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
