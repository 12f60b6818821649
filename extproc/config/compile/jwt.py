"""Tokens of other issuers: Envoy verifies them, the sidecar reads what they say.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/jwt_authn_filter
The filter's configuration comes from a file of its own (ECDS): another issuer is taken
while Envoy runs, and the listener stays as it is.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.cluster import v3 as cluster
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.extensions.filters.http.jwt_authn import v3 as jwt
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import (
    v3 as hcm,
)
from envoy_data_plane.google.protobuf import Empty

from extproc.config.compile import wire
from extproc.config.compile.clusters import fixed_cluster
from extproc.config.compile.layout import Layout
from extproc.config.file_names import FILTERS_FILE
from extproc.config.issuers import IssuerConfig
from extproc.config.schema import Config
from extproc.tokens import HEADER

FETCH_SECONDS = 5.0
RETRY_SECONDS = 5.0
"""After a fetch that failed; until one succeeds, its tokens are refused."""

_FILTER = "envoy.filters.http.jwt_authn"


def token_filter(layout: Layout) -> hcm.HttpFilter:
    """Compile the filter's place in the listener.

    Until Envoy has read its configuration, and should it refuse that, no token is good.
    """
    nothing = wire.pack(jwt.JwtAuthentication())
    return hcm.HttpFilter(
        name=_FILTER,
        config_discovery=core.ExtensionConfigSource(
            config_source=wire.watched(str(layout.xds), FILTERS_FILE),
            default_config=nothing,
            type_urls=[nothing.type_url],
        ),
    )


def token_rules(config: Config) -> core.TypedExtensionConfig:
    """Compile the filter's configuration; without issuers it does nothing.

    Raises:
        OSError: a file of an issuer's keys cannot be read.

    What is no token, or not a good one, goes on without `HEADER`: it may be a key, and if
    not, the sidecar says so in the client's own dialect.
    """
    one_of = [
        *(jwt.JwtRequirement(provider_name=name) for name in config.jwt),
        jwt.JwtRequirement(allow_missing_or_failed=Empty()),
    ]
    rule = jwt.RequirementRule(
        match=route.RouteMatch(prefix="/"),
        requires=jwt.JwtRequirement(
            requires_any=jwt.JwtRequirementOrList(requirements=one_of)
        ),
    )
    return core.TypedExtensionConfig(
        name=_FILTER,
        typed_config=wire.pack(
            jwt.JwtAuthentication(
                providers={
                    name: _issuer(name, issuer) for name, issuer in config.jwt.items()
                },
                rules=[rule] if config.jwt else [],
            )
        ),
    )


def token_clusters(config: Config, layout: Layout) -> list[cluster.Cluster]:
    """Compile the clusters of the servers that have the issuers' keys."""
    return [
        fixed_cluster(
            cluster_name(name), issuer.endpoint, issuer.ca_file or layout.ca_bundle
        )
        for name, issuer in config.jwt.items()
        if issuer.endpoint is not None
    ]


def cluster_name(name: str) -> str:
    """Return the cluster of an issuer; no provider's name has a colon."""
    return f"jwks:{name}"


def _issuer(name: str, issuer: IssuerConfig) -> jwt.JwtProvider:
    keys: dict[str, object]
    if issuer.jwks_uri is None:
        assert issuer.jwks_file is not None  # noqa: S101  `IssuerConfig` has one of them
        # In here, and not by its name: Envoy would not read it again.
        text = issuer.jwks_file.read_text()
        keys = {"local_jwks": core.DataSource(inline_string=text)}
    else:
        keys = {
            "remote_jwks": jwt.RemoteJwks(
                http_uri=core.HttpUri(
                    uri=issuer.jwks_uri,
                    cluster=cluster_name(name),
                    timeout=wire.seconds(FETCH_SECONDS),
                ),
                cache_duration=wire.seconds(issuer.refresh),
                # Before the first request needs them; the listener does not wait.
                async_fetch=jwt.JwksAsyncFetch(
                    fast_listener=True,
                    failed_refetch_duration=wire.seconds(RETRY_SECONDS),
                ),
            )
        }
    return jwt.JwtProvider(
        issuer=issuer.issuer,
        audiences=list(issuer.audiences),
        # A token without an end would be a key that nobody can take back.
        require_expiration=True,
        forward=False,
        forward_payload_header=HEADER,
        # Verifying RS256 costs some 30 µs; a client sends the same token for an hour.
        jwt_cache_config=jwt.JwtCacheConfig(jwt_cache_size=1_000),
        from_headers=[
            jwt.JwtHeader(name="authorization", value_prefix="Bearer "),
            jwt.JwtHeader(name="x-api-key"),
        ],
        **keys,  # type: ignore[arg-type]
    )
