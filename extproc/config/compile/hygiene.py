"""Which headers nobody on the other side gets: a provider of its client, a client of its provider."""

from __future__ import annotations

from envoy_data_plane.envoy.config.common.mutation_rules import v3 as rules
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.config.values import CREDENTIAL_HEADERS
from extproc.providers import PROVIDERS

TRACE_HEADERS = ("traceparent", "tracestate")
"""They pass where ``telemetry.traces.to_providers`` says so."""

NOT_FOR_PROVIDERS = (
    # Who the caller is and how it came here.
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-client-cert",
    "x-real-ip",
    "true-client-ip",
    # A browser's: Anthropic refuses a request with an origin, and it is not from one.
    "origin",
    "referer",
    # The caller's traces are the caller's.
    *TRACE_HEADERS,
    "baggage",
    # Would bill another organization than the credential's.
    "openai-organization",
    "openai-project",
)
"""Request headers that no provider gets.

Not ``x-request-id``: it is a random number that Envoy made, and Envoy reads it from this
very map again when it puts it on the client's answer.
"""

NOT_FOR_PROVIDERS_PREFIXES = (
    "x-envoy-",
    "x-gw-",
    "x-extproc-",
    # The client SDK's version and platform: untrue for a request that we wrote.
    "x-stainless-",
    # A browser's; sec-websocket-… is the handshake of a realtime session.
    "sec-ch-",
    "sec-fetch-",
    "sec-gpc",
    "cf-",
)

NOT_FOR_CLIENTS = (
    # The gateway's own domain has its own cookies and transport policy.
    "set-cookie",
    "strict-transport-security",
    "alt-svc",
    "nel",
    "report-to",
    "reporting-endpoints",
    "via",
    "server",
    # What a browser would do to the gateway's domain, or where it would go.
    "clear-site-data",
    "content-security-policy",
    "location",
    "proxy-authenticate",
    "refresh",
    "service-worker-allowed",
    "sourcemap",
    "www-authenticate",
    # What a proxy in front of the gateway would send in the answer's place: its own files.
    "x-accel-redirect",
    "x-lighttpd-send-file",
    "x-sendfile",
    # The end of a gRPC call, which this is not.
    "grpc-message",
    "grpc-status",
    # Which account serves is not the caller's business.
    "openai-organization",
    "openai-project",
    "anthropic-organization-id",
)
"""Response headers of a provider that no client gets."""

NOT_FOR_CLIENTS_PREFIXES = (
    # Envoy obeys some of these in an answer: x-envoy-ratelimited forbids the retry, and
    # x-envoy-immediate-health-check-fail takes the host out.
    "x-envoy-",
    "x-gw-",
    "x-extproc-",
    "cf-",
    "access-control-",
)

LIMITS_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")
"""What a provider says of the account's limits, which are not the caller's. Taken off
last, when Lua has read how long to wait."""


def credential_headers() -> list[str]:
    """Return every header that could hold a credential, a client's or a provider's."""
    own = [provider.credential_header for provider in PROVIDERS.values()]
    return list(dict.fromkeys((*CREDENTIAL_HEADERS, *own)))


def drops(
    names: tuple[str, ...], prefixes: tuple[str, ...]
) -> list[rules.HeaderMutation]:
    """Return the mutations that remove headers by name and by prefix."""
    return [
        *(rules.HeaderMutation(remove=name) for name in names),
        *(
            rules.HeaderMutation(
                remove_on_match=rules.HeaderMutationRemoveOnMatch(
                    key_matcher=matcher.StringMatcher(prefix=prefix)
                )
            )
            for prefix in prefixes
        ),
    ]
