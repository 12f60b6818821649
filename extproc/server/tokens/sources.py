"""Who gives tokens to an identity that ``gateway.yaml`` names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import httpx

from extproc.config.identities import EntraConfig, GoogleConfig, Identity
from extproc.server.tokens.google import GoogleFile, Metadata
from extproc.server.tokens.managed import managed_identity
from extproc.server.tokens.token import Source, Token, ask

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

GCLOUD_FILE = ".config/gcloud/application_default_credentials.json"
"""Under the home folder; what ``gcloud auth application-default login`` writes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entra:
    """Microsoft Entra ID, by the client credentials grant."""

    config: EntraConfig

    async def fetch(self, http: httpx.AsyncClient, now: float) -> Token:  # noqa: ARG002
        """See `Source.fetch`."""
        config = self.config
        form = {
            "grant_type": "client_credentials",
            "client_id": config.client_id or "",
            "scope": config.scope,
        }
        if config.client_secret is not None:
            form["client_secret"] = config.client_secret.get_secret_value()
        elif config.federated_token_file is not None:
            form["client_assertion_type"] = ASSERTION
            # The cluster writes a new one well before the old one ends.
            form["client_assertion"] = config.federated_token_file.read_text().strip()
        url = f"{config.authority}/{config.tenant_id}/oauth2/v2.0/token"
        return await ask(http, url, form)


def source_of(identity: Identity, environ: Mapping[str, str]) -> Source:
    """Return who gives tokens to `identity`; `environ` says where some of them are."""
    match identity:
        case EntraConfig(managed_identity=True):
            return managed_identity(identity.scope, identity.client_id, environ)
        case EntraConfig():
            return Entra(identity)
        case GoogleConfig():
            return _google(identity, environ)


def _google(config: GoogleConfig, environ: Mapping[str, str]) -> Source:
    """Look where Google's libraries do, in their order.

    https://cloud.google.com/docs/authentication/application-default-credentials
    """
    named = environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    gclouds = Path(environ.get("HOME", "/")) / GCLOUD_FILE
    if config.credentials_file is not None:
        return GoogleFile(config.credentials_file, config.scope)
    if named:
        return GoogleFile(Path(named), config.scope)
    if gclouds.is_file():
        return GoogleFile(gclouds, config.scope)
    host = environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    return Metadata(host, config.scope)
