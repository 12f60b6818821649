"""What happens to a request on its way to one provider: the upstream filter chain.

In this order, for the request: Lua puts this attempt's rendering in place and takes every credential off;
header_mutation drops what is nobody's business; credential_injector adds this provider's
own credential, which Python never sees. On the way back header_mutation drops what the
provider says to its direct callers, Lua notes how a failed attempt ended, and the first
filter, the last on this way, drops what is said of the account's limits.

The request's headers are one map, shared by all attempts: what an attempt set, the next
one still sees. Hence everything is overwritten or deleted, each time.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.common.mutation_rules import v3 as rules
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.filters.http.credential_injector import (
    v3 as injector,
)
from envoy_data_plane.envoy.extensions.filters.http.header_mutation import (
    v3 as mutation,
)
from envoy_data_plane.envoy.extensions.filters.http.upstream_codec import v3 as codec
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import (
    v3 as hcm,
)
from envoy_data_plane.envoy.extensions.http.injected_credentials.generic import (
    v3 as generic,
)
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls

from extproc.config.compile import hygiene, wire
from extproc.config.compile.layout import Layout
from extproc.config.compile.lua import lua_source
from extproc.config.compile.secrets import credential_source, proxy_source
from extproc.config.compile.signing import signature
from extproc.config.providers import ProviderConfig
from extproc.config.proxies import ProxyConfig

LONGEST_ID = 256
"""Characters of a provider's own id for a request that a client is told; theirs have 40."""


def upstream_filters(
    cluster: str,
    name: str,
    provider: ProviderConfig,
    layout: Layout,
    *,
    traced: bool = False,
) -> list[hcm.HttpFilter]:
    """Compile the upstream chain of one account at the provider `name`.

    `traced`: it is told of the trace.
    """
    chain = [_limits(), _rendering(), _hygiene(name, provider, traced=traced)]
    if provider.credential_place is not None:
        source = credential_source(layout, cluster, provider)
        chain.append(_credential(source, *provider.credential_place))
    elif provider.kind.aws_service:
        chain.append(signature(cluster, provider, layout))
    return [
        *chain,
        wire.http_filter("upstream_codec", wire.pack(codec.UpstreamCodec())),
    ]


def _rendering() -> hcm.HttpFilter:
    return wire.http_filter(
        "lua",
        wire.newer(
            "envoy.extensions.filters.http.lua.v3.Lua",
            # One VM a thread for all clusters, not one each.
            shared_vm_id="extproc",
            default_source_code={"inline_string": lua_source()},
        ),
    )


def _limits() -> hcm.HttpFilter:
    return wire.http_filter(
        "header_mutation",
        wire.pack(
            mutation.HeaderMutation(
                mutations=mutation.Mutations(
                    response_mutations=hygiene.drops((), hygiene.LIMITS_PREFIXES)
                )
            )
        ),
    )


def _hygiene(name: str, provider: ProviderConfig, *, traced: bool) -> hcm.HttpFilter:
    passing = hygiene.TRACE_HEADERS if traced else ()
    unwanted = tuple(one for one in hygiene.NOT_FOR_PROVIDERS if one not in passing)
    # First the drops, so that what we set survives them.
    configured = [_set(key, value) for key, value in sorted(provider.headers.items())]
    told = [_set("x-extproc-provider", name)]
    if provider.kind.request_id_header:
        # Before Envoy puts the gateway's own id in x-request-id's place.
        source = f"%RESP({provider.kind.request_id_header}):{LONGEST_ID}%"
        told.append(_set("x-upstream-request-id", source))
    return wire.http_filter(
        "header_mutation",
        wire.pack(
            mutation.HeaderMutation(
                mutations=mutation.Mutations(
                    request_mutations=[
                        *hygiene.drops(unwanted, hygiene.NOT_FOR_PROVIDERS_PREFIXES),
                        *configured,
                    ],
                    response_mutations=[
                        *hygiene.drops(
                            # Who repeats a key that it was sent.
                            (*hygiene.NOT_FOR_CLIENTS, *hygiene.credential_headers()),
                            hygiene.NOT_FOR_CLIENTS_PREFIXES,
                        ),
                        *told,
                    ],
                )
            )
        ),
    )


def _set(key: str, value: str) -> rules.HeaderMutation:
    return rules.HeaderMutation(
        append=core.HeaderValueOption(
            header=core.HeaderValue(key=key, value=value),
            append_action=core.HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
        )
    )


def proxy_filters(
    provider_name: str, proxy: ProxyConfig, layout: Layout
) -> list[hcm.HttpFilter]:
    """Compile what happens to a CONNECT on its way to the provider's proxy."""
    chain = [wire.http_filter("upstream_codec", wire.pack(codec.UpstreamCodec()))]
    if proxy.credential is None:
        return chain
    source = proxy_source(layout, provider_name, proxy)
    return [_credential(source, "proxy-authorization", "Basic "), *chain]


def _credential(
    source: tls.SdsSecretConfig, header: str, prefix: str
) -> hcm.HttpFilter:
    return wire.http_filter(
        "credential_injector",
        wire.pack(
            injector.CredentialInjector(
                # What the client called the header is gone already; a second lock.
                overwrite=True,
                credential=core.TypedExtensionConfig(
                    name="envoy.http.injected_credentials.generic",
                    typed_config=wire.pack(
                        generic.Generic(
                            credential=source,
                            header=header,
                            header_value_prefix=prefix,
                        )
                    ),
                ),
            )
        ),
    )
