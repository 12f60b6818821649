"""What ``gateway.yaml`` may say, and what it says when it is silent.

Every model is strict, frozen and refuses keys that it does not know. Times are seconds
(``90`` or ``"90s"``, ``"2m"``), sizes bytes (``1048576`` or ``"32MiB"``). What depends on
more than one place of the file is checked in `extproc.config.load`.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_validator,
)

from extproc.config.endpoint import split_address
from extproc.config.issuers import IssuerConfig
from extproc.config.models import ModelConfig, RoutingConfig, TargetConfig
from extproc.config.prices import PriceConfig
from extproc.config.providers import ProviderConfig
from extproc.config.telemetry import TelemetryConfig
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
    Address,
    ByteCount,
    CertificatePair,
    Credential,
    Seconds,
    Section,
    Text,
    Whole,
    read_seconds,
)
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


class Listen(Section):
    """Where applications connect."""

    address: Address = "127.0.0.1:8080"
    """Port 0 takes a free one."""
    tls: CertificatePair | None = None
    """The gateway's own certificate."""
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


SPARE_FILES: Final = 1_000
"""What Envoy opens beside its clients' connections and those to their providers."""


class LimitsConfig(Section):
    """What the gateway takes on; each has its reason in ``envoy/README.md``."""

    connections: Annotated[Whole, Field(ge=1, le=1_000_000)] = 20_000
    new_connections_per_second: Annotated[Whole, Field(ge=1, le=1_000_000)] = 2_000
    address_requests_per_minute: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = (
        None
    )
    """Of any one client address, whatever its key; as many at once after a minute's rest.
    In each of Envoy's processes; an office behind one address is one."""
    body_bytes: Annotated[ByteCount, Field(ge=1024, le=1 << 30)] = 32 << 20
    """Of a request."""
    held_bytes: Annotated[ByteCount, Field(ge=1 << 20, le=1 << 40)] = 512 << 20
    """Of all requests whose bodies a worker holds at once; a longer one is held alone."""
    upload_bytes: Annotated[ByteCount, Field(ge=1024, le=1 << 40)] = 512 << 20
    """Of a file, or a form with one, which streams through: OpenAI's own limit."""
    answer_bytes: Annotated[ByteCount, Field(ge=1024, le=1 << 30)] = 64 << 20
    """Of an answer that must be read whole to be translated."""
    memory_bytes: Annotated[ByteCount, Field(ge=64 << 20)] = 2 << 30
    """Of Envoy's heap; at 98 % it refuses requests."""

    def shortage(self, files: int) -> str | None:
        """Say what an Envoy that may open so many files cannot do; None: it can."""
        needed = 2 * self.connections + SPARE_FILES
        if files >= needed:
            return None
        fit = max(1, (files - SPARE_FILES) // 2)
        return (
            f"limits.connections is {self.connections}, for which Envoy needs {needed} "
            f"open files, and {files} are allowed: raise the hard limit (ulimit -Hn), or "
            f"set limits.connections to {fit}"
        )


class TimeoutsConfig(Section):
    """How long each step may take."""

    request: Seconds = 60.0
    """Until the request's body is here."""
    upload: Seconds = 3600.0
    """Until a file, or a form with one, is through: 512 MiB at 1.2 Mbit/s."""
    first_byte: Seconds = 120.0
    """Until the answer's headers, each attempt."""
    idle: Seconds = 600.0
    """Silence in the middle of an answer."""
    total: Seconds = 3600.0
    """Of an attempt, from when it is sent until its answer's end."""
    last_bytes: Seconds = 5.0
    """A client's standstill at the end of an answer that its connection ends with. TCP sends
    again what was lost after 0.2, 0.6, 1.4 and 3 s."""
    drain: Annotated[float, BeforeValidator(read_seconds), Field(ge=0, le=86_400)] = (
        30.0
    )
    """For open requests, when the gateway is told to stop."""


class RealtimeConfig(Section):
    """Realtime sessions (WebSockets)."""

    lifetime: Seconds = 3600.0
    """Of a session, after which it is closed: OpenAI's own limit."""


def _realtime(value: object) -> object:
    match value:
        case True | "true":
            return {}
        case False | "false":
            return None
        case _:
            return value


class StoredConfig(Section):
    """What providers keep and find by an id: files, batches and the like."""

    provider: Text | None = None
    """Who is asked where a request names no provider (``x-extproc-provider``). None: the
    first of the file that keeps anything."""


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
    jwt: dict[Name, IssuerConfig] = Field(default_factory=dict)
    """Issuers of tokens that are keys too, by any name."""
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
    telemetry: TelemetryConfig = TelemetryConfig()
    stored: StoredConfig = StoredConfig()
    realtime: Annotated[RealtimeConfig | None, BeforeValidator(_realtime)] = None
    """``true``, or more of it: ``/v1/realtime`` takes WebSockets."""


def unlisted(name: str, model: ModelConfig) -> list[str]:
    """Return the names in ``listed`` that the glob `name` does not serve."""
    pattern = glob_pattern(name)
    return [listed for listed in model.listed if not pattern.match(listed)]
