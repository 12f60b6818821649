"""What ``gateway.yaml`` may say of one provider: who serves, who we are there, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from extproc.config.endpoint import Endpoint, aws_region, parse_endpoint
from extproc.config.identities import AwsConfig, EntraConfig, GoogleConfig, Identity
from extproc.config.proxies import Proxy
from extproc.config.values import (
    CertificatePair,
    Credential,
    Headers,
    Seconds,
    Section,
    Switch,
    Whole,
)
from extproc.formats.openai_chat.quirks import find_kind
from extproc.providers import PROVIDERS
from extproc.providers.base import Provider


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


class ProviderTimeouts(Section):
    """Times of one provider's connections."""

    connect: Seconds = 5.0
    """TCP and TLS. Far above any healthy handshake; with it three dead targets of a
    chain cost a client 15 s, not a minute."""
    keep_alive: Seconds = 60.0
    """How long an idle connection is kept. Below the idle limit of the load balancers in
    front of the providers (AWS: 350 s, Cloudflare: 400 s), so that we close first."""
    first_byte: Seconds | None = None
    """Until its answer's headers, where a target says nothing else. All attempts of a
    request have the longest time that a target of its chain has."""
    idle: Seconds | None = None
    """Silence in the middle of its answers, where a target says nothing else."""
    total: Seconds | None = None
    """From when a request is sent to it until its answer's end, where a target says
    nothing else."""


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
    entra: EntraConfig | None = None
    """Who we are to Azure, in place of a key."""
    google: GoogleConfig | None = None
    """Who we are to Google Cloud, in place of a key; unsaid, what its SDKs would find."""
    aws: AwsConfig | None = None
    """Who we are to AWS; unsaid, what its SDKs would find: environment, profile, web
    identity, container, instance."""
    base_url: Annotated[str, AfterValidator(_base_url)] | None = None
    """None: the type's own. With the version part of the path."""
    allow_plaintext: Switch = False
    """Whether ``http://`` may leave this machine: prompts and keys in the clear."""
    allow_private: Switch = False
    """Whether `base_url` may be an address of a private network. Without it a slip, or
    somebody who may write the file, cannot make Envoy ask machines that trust it."""
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")] = "us-east-1"
    """Of AWS: in the address where `base_url` does not say, and in signatures."""
    api_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    """Of Azure: addresses each deployment by its path, in this version of the API. None:
    the surface under ``/openai/v1``, which needs none."""
    project: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9:._-]{1,99}$")] | None = (
        None
    )
    """Of Google Cloud."""
    location: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")] = "global"
    """Of Google Cloud: a region, ``us``, ``eu`` or ``global``."""
    ca_file: Path | None = None
    """PEM bundle to verify the provider with; None: the public authorities."""
    client_certificate: CertificatePair | None = None
    """What we show a provider that asks for a certificate."""
    proxy: Proxy | None = None
    """A proxy that tunnels to the provider (HTTP CONNECT): its URL, or more of it."""
    http2: Switch | Literal["auto"] = False
    """``auto``: as the provider chooses in the TLS handshake."""
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
    def settings(self) -> dict[str, str]:
        """What the addresses of its kind leave to the configuration."""
        given = {
            "region": self.region,
            "api_version": self.api_version,
            "project": self.project,
            "location": self.location,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def path_settings(self) -> dict[str, str]:
        """Those that paths take, not the address alone."""
        kind = PROVIDERS[self.type]
        in_paths = kind.variant is not None or kind.missing("given")
        return self.settings if in_paths else {}

    @property
    def kind(self) -> Provider:
        """The `Provider` that `type` names, with our settings in its addresses."""
        return PROVIDERS[self.type].located(self.settings)

    @property
    def keeps(self) -> bool:
        """Whether it keeps anything that is found by its id."""
        return bool(self.kind.forward_path)

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""
        return parse_endpoint(self.base_url or self.kind.base_url)

    @property
    def has_key(self) -> bool:
        """Whether there is a key, or several."""
        return self.api_key is not None or bool(self.api_keys)

    @property
    def identity(self) -> Identity | None:
        """Who control fetches tokens for; None where there is a key, or none is needed."""
        if self.has_key:
            return None
        match self.kind.tokens:
            case "entra":
                return self.entra
            case "google":
                return self.google or (None if self.base_url else GoogleConfig())
            case _:
                return None

    @property
    def credential_place(self) -> tuple[str, str] | None:
        """The header in which Envoy puts the credential, and what stands before it there."""
        if self.identity is not None:
            return "authorization", "Bearer "
        if self.has_key:
            return self.kind.credential_header, self.kind.credential_prefix
        return None

    @property
    def signing_region(self) -> str:
        """The AWS region of signatures: that of the address, where it says one."""
        return aws_region(self.endpoint.host) or self.region

    @model_validator(mode="after")
    def _addressed(self) -> ProviderConfig:
        own = self.kind.base_url
        if self.base_url is None and (not own or "{" in own):
            raise ValueError(
                f"base_url is missing: {own or 'every account has its own'}"
            )
        if missing := self.kind.missing(self.base_url):
            raise ValueError(f"{missing[0]} is missing")
        there = self.endpoint
        if not (there.tls or there.is_loopback or self.allow_plaintext):
            raise ValueError(
                "base_url is http:// to another machine, where anybody on the way reads "
                "prompts and the key: use https://, or say allow_plaintext: true"
            )
        if there.is_private and not self.allow_private:
            raise ValueError(
                "base_url is an address of a private network, or one that only this "
                "machine's host answers: if that is meant, say allow_private: true"
            )
        if there.tls and there.host == "localhost" and self.ca_file is None:
            raise ValueError("https://localhost needs a ca_file: no public one has it")
        if self.http2 == "auto" and not there.tls:
            raise ValueError("http2: auto is agreed in TLS, which http:// has not")
        if self.client_certificate is not None and not there.tls:
            raise ValueError(
                "client_certificate is shown in TLS, which http:// has not"
            )
        if self.proxy is not None and not there.tls:
            raise ValueError(
                "proxy is for https:// only: a tunnel for plain text leaks"
            )
        return self

    @model_validator(mode="after")
    def _authenticated(self) -> ProviderConfig:
        kind = self.kind
        if self.api_key is not None and self.api_keys:
            raise ValueError("needs either api_key or api_keys, and not both")
        if len({key.get_secret_value() for key in self.api_keys}) < len(self.api_keys):
            raise ValueError("api_keys has the same key twice")
        for name, fits in (
            ("entra", kind.tokens == "entra"),
            ("google", kind.tokens == "google"),
            ("aws", bool(kind.aws_service)),
        ):
            if getattr(self, name) is None:
                continue
            if not fits:
                raise ValueError(f"a provider of type {self.type} has no {name}")
            if self.has_key:
                raise ValueError(f"api_key and {name} exclude each other")
        if (
            not self.has_key
            and self.identity is None
            and not kind.aws_service
            and not kind.keyless
            and (self.base_url is None or kind.tokens == "entra")
        ):
            other = f" (or {kind.tokens})" if kind.tokens else ""
            raise ValueError(
                f"api_key is missing (usually ${{{kind.key_variable}}}){other}"
            )
        if self.quirks is not None and kind.format.name != "openai_chat":
            raise ValueError("quirks are those of servers of OpenAI's chat API")
        return self
