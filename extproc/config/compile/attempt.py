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
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.config.compile import wire
from extproc.config.compile.layout import Layout
from extproc.config.compile.secrets import credential_source, proxy_source
from extproc.config.compile.signing import signature
from extproc.config.providers import ProviderConfig
from extproc.config.proxies import ProxyConfig
from extproc.config.values import CREDENTIAL_HEADERS
from extproc.providers import PROVIDERS

_LUA = """\
local credentials = { %(credentials)s }
local too_long = { %(too_long)s }
local forbidden = { %(forbidden)s }

local function has(text, words)
  for _, word in ipairs(words) do
    if text:find(word, 1, true) then return true end
  end
  return false
end

local function wait(hd)
  local ms = hd:get("retry-after-ms")
  if ms ~= nil then return "ms " .. ms end
  local said = hd:get("retry-after")
  if said ~= nil then return said end
  for _, what in ipairs({ "requests", "tokens" }) do
    if hd:get("x-ratelimit-remaining-" .. what) == "0" then
      return "reset " .. (hd:get("x-ratelimit-reset-" .. what) or "-")
    end
  end
  return "-"
end

function envoy_on_request(h)
  local hd, dm = h:headers(), h:streamInfo():dynamicMetadata()
  local n = hd:get("x-envoy-attempt-count") or "1"
  local t = dm:get("gw.t" .. n)
  if t ~= nil and has(t["flags"] or "", { "c" }) then
    local att = dm:get("gw.att")
    if att == nil or att["refused"] ~= tostring(tonumber(n) - 1) then
      h:respond({ [":status"] = "503" }, "")
      return
    end
  end
  dm:set("gw.att", "n", n)
  dm:set("gw.att", "t" .. n, h:timestamp())
  for _, k in ipairs(credentials) do hd:remove(k) end
  if t == nil then return end
  hd:replace(":path", t["path"])
  hd:replace(":authority", t["host"])
  for _, k in ipairs(t["del"] or {}) do hd:remove(k) end
  for k, v in pairs(t["set"] or {}) do hd:replace(k, v) end
  if t["body"] == nil then return end
  local b = h:body(true)
  if b ~= nil then b:setBytes(t["body"]) end
end

function envoy_on_response(h)
  local hd, dm = h:headers(), h:streamInfo():dynamicMetadata()
  local status = tonumber(hd:get(":status"))
  if status < 400 then return end
  local att = dm:get("gw.att")
  local n = att and att["n"] or "0"
  dm:set("gw.att", "a" .. n, status .. " " .. wait(hd))
  local t = dm:get("gw.t" .. n)
  local flags = t and t["flags"] or ""
  if flags == "" then return end
  if has(flags, { "k" }) and (status == 401 or status == 402 or status == 403) then
    hd:replace("x-gw-retry", "1")
    return
  end
  if has(flags, { "x", "p" }) and (status == 400 or status == 413 or status == 422) then
    local b = h:body()
    local text = b and b:getBytes(0, math.min(b:length(), 65536)):lower() or ""
    -- Waiting for the body has ended the life of what was held before.
    hd, dm = h:headers(), h:streamInfo():dynamicMetadata()
    if (has(flags, { "x" }) and has(text, too_long))
        or (has(flags, { "p" }) and has(text, forbidden)) then
      dm:set("gw.att", "refused", n)
      hd:replace("x-gw-retry", "1")
      return
    end
  end
  if has(flags, { "l" }) then hd:replace("x-envoy-ratelimited", "true") end
end
"""
"""The rendering of attempt n is the metadata ``gw.t<n>``: path, host, headers to delete
and to set, body (without one the client's own streams through), and the letters of
`extproc.exchange.arm`. What became of it is written to ``gw.att``: ``a<n>`` = ``429 20``
(or ``ms 1500`` or ``reset 6m0s``, see `extproc.routing.wait`), missing when there was no answer, and ``t<n>``, the Unix milliseconds of its beginning.

``x-gw-retry`` forces the next attempt, ``x-envoy-ratelimited`` forbids it; neither reaches
a client.
"""

TOO_LONG = (
    "context_length_exceeded",
    "maximum context length",
    "context window",
    "context limit",
    "prompt is too long",
    "input is too long",
    "exceeds the maximum number of tokens",
)
"""How providers say that a prompt does not fit, in lower case: OpenAI and Azure by code,
Anthropic, Bedrock and Gemini in words."""

FORBIDDEN = (
    "content_filter",
    "content_policy_violation",
    "content management policy",
    "responsibleaipolicyviolation",
    "content filtering policy",
    "usage policy",
)
"""How providers say that their filter refuses a prompt, in lower case: Azure by code, inner
code and in words, Anthropic and OpenAI in words."""

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

LONGEST_ID = 256
"""Characters of a provider's own id for a request that a client is told; theirs have 40."""

LIMITS_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")
"""What a provider says of the account's limits, which are not the caller's. Taken off
last, when Lua has read how long to wait."""


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


def credential_headers() -> list[str]:
    """Return every header that could hold a credential, a client's or a provider's."""
    own = [provider.credential_header for provider in PROVIDERS.values()]
    return list(dict.fromkeys((*CREDENTIAL_HEADERS, *own)))


def lua_source() -> str:
    """Return the Lua filter's text, the same for every cluster."""
    words = {
        "credentials": credential_headers(),
        "too_long": TOO_LONG,
        "forbidden": FORBIDDEN,
    }
    return _LUA % {
        name: ", ".join(f'"{word}"' for word in listed)
        for name, listed in words.items()
    }


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
                    response_mutations=drops((), LIMITS_PREFIXES)
                )
            )
        ),
    )


def _hygiene(name: str, provider: ProviderConfig, *, traced: bool) -> hcm.HttpFilter:
    passing = TRACE_HEADERS if traced else ()
    unwanted = tuple(one for one in NOT_FOR_PROVIDERS if one not in passing)
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
                        *drops(unwanted, NOT_FOR_PROVIDERS_PREFIXES),
                        *configured,
                    ],
                    response_mutations=[
                        *drops(
                            # Who repeats a key that it was sent.
                            (*NOT_FOR_CLIENTS, *credential_headers()),
                            NOT_FOR_CLIENTS_PREFIXES,
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
