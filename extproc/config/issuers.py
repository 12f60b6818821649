"""Who else may say who somebody is: issuers of JWTs, as ``gateway.yaml`` names them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from extproc.config.endpoint import Endpoint, parse_endpoint
from extproc.config.tenancy import KeyHolder, Name
from extproc.config.values import Seconds, Section, Text
from extproc.identity import Claims, Grant, Issuer, Role


def _url(value: str) -> str:
    there = parse_endpoint(value)
    if not (there.tls or there.is_loopback):
        raise ValueError("must be https://: who changes the keys can be anybody")
    return value


class ClaimsConfig(Section):
    """Where a token says what; ``a.b`` is the ``b`` inside of ``a``."""

    user: Text = "sub"
    team: Text | None = None
    organization: Text | None = None
    role: Text | None = None

    def claims(self) -> Claims:
        """Return it as the data path knows it."""
        return Claims(self.user, self.team, self.organization, self.role)


class IssuerConfig(Section):
    """One issuer, and what its tokens are good for."""

    issuer: Text
    """The ``iss`` claim, to the letter."""
    audiences: Annotated[tuple[Text, ...], Field(min_length=1)]
    """One of them must be in ``aud``: a token for another application is no key here."""
    jwks_uri: Annotated[str, AfterValidator(_url)] | None = None
    """Where its keys are; Envoy fetches them."""
    refresh: Seconds = 300.0
    """How old they may be: an issuer announces a new key days before it is used, and a
    stolen one should be gone within minutes."""
    jwks_file: Path | None = None
    """The keys themselves (JSON), instead."""
    ca_file: Path | None = None
    """PEM bundle to verify `jwks_uri`'s server with; None: the public authorities."""
    claims: ClaimsConfig = ClaimsConfig()
    teams: dict[Text, Name] = Field(default_factory=dict)
    """What the claim says to our name of the team; without any, its own name is ours."""
    roles: dict[Text, Role] = Field(default_factory=dict)
    """What the claim says to a role; what is not here is a ``member``."""
    grant: KeyHolder = KeyHolder()
    """What a token may do; its limits are each user's own."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Where its keys are; None when they are in a file."""
        return parse_endpoint(self.jwks_uri) if self.jwks_uri else None

    def compiled(self, name: str) -> Issuer:
        """Return it as the data path knows it."""
        holder = self.grant
        return Issuer(
            name=name,
            issuer=self.issuer,
            claims=self.claims.claims(),
            teams=self.teams,
            roles=self.roles,
            grant=Grant(
                id=name,
                sha256="",
                models=holder.models,
                organization=holder.organization,
                team=holder.team,
                user=holder.user,
                role=holder.role,
                not_before=holder.not_before,
                expires=holder.expires,
                blocked=holder.blocked,
                endpoints=holder.endpoints,
                providers=holder.providers,
                addresses=holder.addresses,
                metadata=holder.metadata,
                tags=holder.tags,
                allowance=holder.allowance,
                priority=holder.priority,
                private=holder.private,
                cut_off=holder.cut_off,
            ),
        )

    @model_validator(mode="after")
    def _one_of(self) -> IssuerConfig:
        if (self.jwks_uri is None) == (self.jwks_file is None):
            raise ValueError("needs either jwks_uri or jwks_file, and not both")
        return self
