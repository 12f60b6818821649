"""What ``gateway.yaml`` may say, and what it says when it is silent.

Every model is strict, frozen and refuses keys that it does not know. Times are seconds
(``90`` or ``"90s"``, ``"2m"``), sizes bytes (``1048576`` or ``"32MiB"``). What depends on
more than one place of the file is checked in `extproc.config.load`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_validator,
)

from extproc.config.endpoint import Endpoint, parse_endpoint, split_address
from extproc.config.models import ModelConfig, RoutingConfig, TargetConfig
from extproc.config.prices import PriceConfig
from extproc.config.tenancy import (
    AccountingConfig,
    Budgets,
    EndUserConfig,
    KeyHolder,
    Name,
    OrganizationConfig,
    RateLimits,
    TeamConfig,
    UserConfig,
)
from extproc.config.values import (
    CREDENTIAL_HEADERS,
    ByteCount,
    Credential,
    Headers,
    Seconds,
    Section,
    Switch,
    Text,
    Whole,
    read_seconds,
)
from extproc.formats.openai_chat.quirks import find_kind
from extproc.providers import PROVIDERS
from extproc.providers.base import Provider
from extproc.runtime import glob_pattern

__all__ = [
    "CREDENTIAL_HEADERS",
    "Config",
    "ModelConfig",
    "ProviderConfig",
    "TargetConfig",
]

RESERVED_NAMES = frozenset({"sidecar", "none"})
"""Envoy clusters of our own; a provider's cluster has the provider's name."""


def _address(value: str) -> str:
    split_address(value)
    return value


def _base_url(value: str) -> str:
    parse_endpoint(value)
    return value


def _type(value: str) -> str:
    if value not in PROVIDERS:
        raise ValueError("is not a type of provider: `extproc providers` lists them")
    return value


def _quirks(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if find_kind(name) is None:
            raise ValueError(f"{name!r} is not a kind of quirk: see docs/providers.md")
    if len(set(value)) < len(value):
        raise ValueError("names a kind twice")
    return value


Address = Annotated[str, AfterValidator(_address)]


class ListenerTls(Section):
    """The gateway's own certificate.

    Envoy reads both files, and reads them again after a rename in their folder.
    """

    certificate: Path
    """PEM, the whole chain."""
    key: Path
    """PEM."""


class Listen(Section):
    """Where applications connect."""

    address: Address = "127.0.0.1:8080"
    """Port 0 takes a free one."""
    tls: ListenerTls | None = None
    xff_num_trusted_hops: Annotated[Whole, Field(ge=0, le=10)] = 0
    """Proxies of ours in front, whose ``x-forwarded-for`` is believed."""

    @property
    def host(self) -> str:
        """The IP literal."""
        return split_address(self.address)[0]

    @property
    def port(self) -> int:
        """0 for a free one."""
        return split_address(self.address)[1]


class Control(Section):
    """Where operators connect."""

    address: Address = "127.0.0.1:8081"

    @property
    def host(self) -> str:
        """The IP literal."""
        return split_address(self.address)[0]

    @property
    def port(self) -> int:
        """0 for a free one."""
        return split_address(self.address)[1]


class ProviderTimeouts(Section):
    """Times of one provider's connections."""

    connect: Seconds = 5.0
    """TCP and TLS. Far above any healthy handshake; with it three dead targets of a
    chain cost a client 15 s, not a minute."""
    keep_alive: Seconds = 60.0
    """How long an idle connection is kept. Below the idle limit of the load balancers in
    front of the providers (AWS: 350 s, Cloudflare: 400 s), so that we close first."""


class ProbeConfig(Section):
    """Asking whether a provider is there, without a credential and at no cost.

    Any answer below 500 counts, a refusal too. A provider that stays silent or away is
    passed over at once, where a request would have had to wait for its timeout.
    """

    interval: Seconds = 30.0
    timeout: Seconds = 5.0
    path: Annotated[str, Field(pattern=r"^/[\x21-\x7e]*$")] | None = None
    """None: that of the base URL."""


class ProviderConfig(Section):
    """One account at one provider: one Envoy cluster."""

    type: Annotated[str, AfterValidator(_type)]
    """A key of `PROVIDERS`."""
    api_key: Credential | None = None
    api_keys: Annotated[tuple[Credential, ...], Field(max_length=64)] = ()
    """Several, in place of one: the load is spread over them, and one that is limited or
    refused is left alone."""
    base_url: Annotated[str, AfterValidator(_base_url)] | None = None
    """None: the type's own. With the version part of the path."""
    allow_plaintext: Switch = False
    """Whether ``http://`` may leave this machine: prompts and keys in the clear."""
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")] = "us-east-1"
    """Of AWS: in the address where `base_url` does not say, and in signatures."""
    ca_file: Path | None = None
    """PEM bundle to verify the provider with; None: the public authorities."""
    headers: Headers = Field(default_factory=dict)
    """Sent with every request. Not secret: Envoy's config dump shows them."""
    default_max_tokens: Annotated[Whole, Field(ge=1)] = 4096
    include_usage: Switch = True
    """Whether it understands ``stream_options.include_usage``."""
    responses: Switch = True
    """Whether a server of OpenAI's chat API has ``/responses`` too; where it has not,
    requests for it are translated to chat."""
    quirks: Annotated[tuple[str, ...], AfterValidator(_quirks)] | None = None
    """How a server of OpenAI's chat API differs from OpenAI's, in place of what its type
    is known for: the kinds in ``docs/providers.md``."""
    timeouts: ProviderTimeouts = ProviderTimeouts()
    probe: ProbeConfig | None = None
    """None: nothing is sent that no application asked for."""

    @property
    def kind(self) -> Provider:
        """The `Provider` that `type` names."""
        return PROVIDERS[self.type]

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""
        own = self.kind.base_url.replace("{region}", self.region)
        if self.base_url is None and "{" in own:
            raise ValueError(f"base_url is missing: {own}")
        return parse_endpoint(self.base_url or own)

    @model_validator(mode="after")
    def _encrypted(self) -> ProviderConfig:
        there = self.endpoint
        if not (there.tls or there.is_loopback or self.allow_plaintext):
            raise ValueError(
                "base_url is http:// to another machine, where anybody on the way reads "
                "prompts and the key: use https://, or say allow_plaintext: true"
            )
        if there.tls and there.host == "localhost" and self.ca_file is None:
            raise ValueError("https://localhost needs a ca_file: no public one has it")
        if self.api_key is not None and self.api_keys:
            raise ValueError("needs either api_key or api_keys, and not both")
        if len({key.get_secret_value() for key in self.api_keys}) < len(self.api_keys):
            raise ValueError("api_keys has the same key twice")
        kind = self.kind
        if not (
            self.api_key
            or self.api_keys
            or self.base_url
            or kind.aws_service
            or kind.keyless
        ):
            raise ValueError(f"api_key is missing (usually ${{{kind.key_variable}}})")
        return self

    @model_validator(mode="after")
    def _chat(self) -> ProviderConfig:
        if self.quirks is not None and self.kind.format.name != "openai_chat":
            raise ValueError("quirks are those of servers of OpenAI's chat API")
        return self


class KeyConfig(KeyHolder):
    """A key that applications may present."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Its name in logs and metrics."""
    key: Credential | None = None
    key_sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> KeyConfig:
        if (self.key is None) == (self.key_sha256 is None):
            raise ValueError("needs either key or key_sha256, and not both")
        return self


class LimitsConfig(Section):
    """What the gateway takes on; each has its reason in ``envoy/README.md``."""

    connections: Annotated[Whole, Field(ge=1, le=1_000_000)] = 20_000
    new_connections_per_second: Annotated[Whole, Field(ge=1, le=1_000_000)] = 2_000
    body_bytes: Annotated[ByteCount, Field(ge=1024, le=1 << 30)] = 32 << 20
    """Of a request."""
    answer_bytes: Annotated[ByteCount, Field(ge=1024, le=1 << 30)] = 64 << 20
    """Of an answer that must be read whole to be translated."""
    memory_bytes: Annotated[ByteCount, Field(ge=64 << 20)] = 2 << 30
    """Of Envoy's heap; at 98 % it refuses requests."""


class TimeoutsConfig(Section):
    """How long each step may take."""

    request: Seconds = 60.0
    """Until the request's body is here."""
    first_byte: Seconds = 120.0
    """Until the answer's headers, each attempt."""
    idle: Seconds = 600.0
    """Silence in the middle of an answer."""
    drain: Annotated[float, BeforeValidator(read_seconds), Field(ge=0, le=86_400)] = (
        30.0
    )
    """For open requests, when the gateway is told to stop."""


_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")


def _provider_name(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError("a provider's name has only a-z, 0-9, - and _ in it")
    if name in RESERVED_NAMES:
        raise ValueError("this name is taken by the gateway itself")
    return name


def _model_name(name: str) -> str:
    if not re.fullmatch(r"\S{1,256}", name):
        raise ValueError("a model's name is not empty and has no blank in it")
    return name


class Config(Section):
    """The whole file."""

    listen: Listen = Listen()
    control: Control = Control()
    workers: Annotated[Whole, Field(ge=1, le=64)] = 1
    providers: Annotated[
        dict[Annotated[str, AfterValidator(_provider_name)], ProviderConfig],
        Field(min_length=1),
    ]
    models: Annotated[
        dict[Annotated[str, AfterValidator(_model_name)], ModelConfig],
        Field(min_length=1),
    ]
    keys: tuple[KeyConfig, ...] = ()
    organizations: dict[Name, OrganizationConfig] = Field(default_factory=dict)
    teams: dict[Name, TeamConfig] = Field(default_factory=dict)
    users: dict[Name, UserConfig] = Field(default_factory=dict)
    end_users: dict[Text, EndUserConfig] = Field(default_factory=dict)
    """By name, or by glob: then each that it matches has the limits for itself."""
    rate_limits: RateLimits = RateLimits()
    """Of all requests together, as `concurrency` and `budgets`."""
    concurrency: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None
    budgets: Budgets = ()
    accounting: AccountingConfig = AccountingConfig()
    prices: dict[Text, PriceConfig] = Field(default_factory=dict)
    """Dollars for a million tokens, by model or ``provider/model``, either may be a glob;
    what is not here is as in ``genai-prices``."""
    limits: LimitsConfig = LimitsConfig()
    timeouts: TimeoutsConfig = TimeoutsConfig()
    routing: RoutingConfig = RoutingConfig()


def unlisted(name: str, model: ModelConfig) -> list[str]:
    """Return the names in ``listed`` that the glob `name` does not serve."""
    pattern = glob_pattern(name)
    return [listed for listed in model.listed if not pattern.match(listed)]
