"""Azure's managed identities: who the machine, or the container, is itself.

A virtual machine's instance metadata
(https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token),
or what App Service, Functions and Container Apps say in the environment
(https://learn.microsoft.com/azure/app-service/overview-managed-identity). Both are asked in
the clear, on the machine itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import httpx
import msgspec

from extproc.server import outgoing
from extproc.server.tokens.token import Token, TokenRefused, refused, sendable

INSTANCE: Final = "http://169.254.169.254/metadata/identity/oauth2/token"


class _Given(msgspec.Struct):
    access_token: str
    expires_in: float | str | None = None
    expires_on: float | str | None = None
    """Unix seconds: what App Service says instead."""


@dataclasses.dataclass(frozen=True, slots=True)
class ManagedIdentity:
    """Asks for a token of the machine's own identity, or of one of several."""

    endpoint: str
    version: str
    """Of the endpoint's API."""
    header: tuple[str, str] = dataclasses.field(repr=False)
    """Tells the endpoint that it is no browser led here that asks."""
    resource: str
    """What the token is for."""
    client_id: str | None = None
    """None: the one that the system has assigned."""

    async def fetch(self, http: httpx.AsyncClient, now: float) -> Token:
        """See `Source.fetch`."""
        asked = {"api-version": self.version, "resource": self.resource}
        if self.client_id is not None:
            asked["client_id"] = self.client_id
        answer = await outgoing.ask(
            http, "GET", self.endpoint, params=asked, headers=dict((self.header,))
        )
        if answer.status_code != 200:
            raise refused(answer)
        try:
            given = msgspec.json.decode(answer.content, type=_Given)
            seconds = float(
                float(given.expires_on or 0) - now
                if given.expires_in is None
                else given.expires_in
            )
        except (msgspec.MsgspecError, ValueError):
            raise TokenRefused("the managed identity's answer has no token") from None
        if not (seconds > 0 and sendable(given.access_token)):
            raise TokenRefused("the managed identity's token is of no use")
        return Token(given.access_token, seconds)


def managed_identity(
    scope: str, client_id: str | None, environ: Mapping[str, str]
) -> ManagedIdentity:
    """Return whom to ask for a token for `scope`, as Azure's own SDKs find it."""
    resource = scope.removesuffix("/.default")
    endpoint, secret = environ.get("IDENTITY_ENDPOINT"), environ.get("IDENTITY_HEADER")
    if endpoint and secret:
        header = ("x-identity-header", secret)
        return ManagedIdentity(endpoint, "2019-08-01", header, resource, client_id)
    host = environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST")
    there = f"{host.rstrip('/')}/metadata/identity/oauth2/token" if host else INSTANCE
    header = ("metadata", "true")
    return ManagedIdentity(there, "2018-02-01", header, resource, client_id)
