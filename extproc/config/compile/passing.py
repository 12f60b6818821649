"""The routes of what passes: files and forms of any size, what is stored, WebSockets.

A file streams from the client to the provider; Envoy holds a few hundred KiB of it and the
sidecar none. What may not be done twice is only tried again where no connection was made.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.config.compile.replies import (
    MESSAGES_ROUTE,
    Cause,
    anthropic_body,
    openai_body,
)
from extproc.config.compile.way import (
    ANSWERED,
    FORM,
    SOCKET,
    UNSEEN,
    direct,
    longer_than,
    match,
    sidecar,
    wrong_method,
)
from extproc.config.schema import Config
from extproc.exchange.forward import RESULTS
from extproc.exchange.operations import (
    ANSWERS,
    BATCHES,
    KEPT,
    LISTED,
    REALTIME_PATH,
)
from extproc.formats import openai_endpoints
from extproc.formats.openai_endpoints import IMAGE_EDITS, IMAGES

MADE_ONCE = (IMAGES, IMAGE_EDITS)
"""Each is a picture that is paid for, and takes a minute to make."""


def realtime(config: Config) -> list[route.Route]:
    """Return the route of WebSockets, where they are wanted."""
    if not config.realtime:
        return []
    websocket = matcher.StringMatcher(exact="websocket", ignore_case=True)
    upgrade = route.HeaderMatcher(name="upgrade", string_match=websocket)
    return [
        sidecar(
            config,
            "realtime",
            match(REALTIME_PATH, method="GET", headers=[upgrade]),
            SOCKET,
        )
    ]


def uploads(config: Config) -> list[route.Route]:
    """Return the routes of what may have a file in its body."""
    routes = _too_long(config)
    for endpoint in openai_endpoints.FORMS:
        name, path = endpoint.client.operation, f"/v1{endpoint.path}"
        if endpoint in openai_endpoints.SENT_AS_JSON:
            # The same URL takes JSON too, and that is a request like any other.
            json = matcher.StringMatcher(prefix="application/json")
            form = route.HeaderMatcher(
                name="content-type", string_match=json, invert_match=True
            )
            where = match(path, method="POST", headers=[form])
            routes.append(sidecar(config, name, where, FORM))
        else:
            routes += [
                sidecar(config, name, match(path, method="POST"), FORM),
                wrong_method(name, match(path), "POST"),
            ]
    return [
        *routes,
        *(
            sidecar(config, "stored", match(f"/v1/{kept}", below=True), UNSEEN)
            for kept in KEPT
        ),
        sidecar(config, MESSAGES_ROUTE, _results(), UNSEEN),
        sidecar(config, MESSAGES_ROUTE, match(f"/v1/{BATCHES}", below=True), ANSWERED),
        sidecar(config, "stored", match(LISTED, method="GET"), UNSEEN),
        sidecar(
            config,
            "stored",
            match("/v1/models/", prefix=True, method="DELETE"),
            UNSEEN,
        ),
    ]


def _results() -> route.RouteMatch:
    """Return the match of the results of a batch, whose length nobody knows."""
    regex = matcher.RegexMatcher(regex=f"/v1/{BATCHES}/[^/]+{RESULTS}")
    return route.RouteMatch(safe_regex=regex)


def stored_answers(config: Config, unknown: str) -> list[route.Route]:
    """Return the routes of answers that a provider has stored; without an id: `unknown`."""
    routes = []
    for answers in ANSWERS:
        path = f"/v1/{answers}/"
        routes += [
            direct("unknown", match(path), 404, unknown),
            sidecar(config, "stored", match(path, prefix=True), UNSEEN),
        ]
    return routes


def _too_long(config: Config) -> list[route.Route]:
    """Return the refusals of what says that it is too long, wherever it goes."""
    limit = max(config.limits.upload_bytes, config.limits.body_bytes)
    refusal = Cause(
        "",
        f"The request body is larger than {limit} bytes.",
        "invalid_request_error",
        "request_too_large",
        "request_too_large",
    )
    header = longer_than(limit)
    return [
        direct(
            MESSAGES_ROUTE,
            match("/v1/messages", below=True, headers=[header]),
            413,
            anthropic_body(refusal),
        ),
        direct(
            "refused",
            match("/", prefix=True, headers=[header]),
            413,
            openai_body(refusal),
        ),
    ]
