"""Who the gateway is to a cloud, where that is more than a key.

What is said of Azure and Google makes control fetch tokens (`extproc.server.tokens`);
what is said of AWS makes Envoy sign requests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from extproc.config.endpoint import parse_endpoint
from extproc.config.values import Credential, Section, Switch, Text


def _authority(value: str) -> str:
    there = parse_endpoint(value)
    if not (there.tls or there.is_loopback):
        raise ValueError("must begin with https://: a secret is sent there")
    return value.rstrip("/")


Authority = Annotated[str, AfterValidator(_authority)]


class EntraConfig(Section):
    """An application registered with Microsoft Entra ID, or the machine's own identity.

    https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow
    """

    tenant_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$")] | None = None
    client_id: Text | None = None
    client_secret: Credential | None = None
    federated_token_file: Path | None = None
    """Of a workload identity (AKS): a signed statement of the cluster in place of the
    secret, read again for each token."""
    managed_identity: Switch = False
    """The machine's, of a virtual machine, App Service or Container Apps; `client_id`
    names one that is not the system's own."""
    authority: Authority = "https://login.microsoftonline.com"
    """Another one in the clouds of governments and China."""
    scope: Text = "https://cognitiveservices.azure.com/.default"

    @model_validator(mode="after")
    def _one_of(self) -> EntraConfig:
        given = (self.client_secret, self.federated_token_file)
        said = sum(one is not None for one in given) + self.managed_identity
        if said != 1:
            raise ValueError(
                "needs either client_secret, federated_token_file or managed_identity, "
                "and no two of them"
            )
        if self.managed_identity:
            if self.tenant_id is not None:
                raise ValueError("tenant_id is not said of a managed_identity")
        elif self.tenant_id is None or self.client_id is None:
            raise ValueError("tenant_id and client_id are missing")
        return self


class GoogleConfig(Section):
    """An identity in Google Cloud.

    https://cloud.google.com/docs/authentication/application-default-credentials
    """

    credentials_file: Path | None = None
    """JSON: a service account, a user, or a workload identity. None: the file that
    ``GOOGLE_APPLICATION_CREDENTIALS`` names, gcloud's own, or the metadata server."""
    scope: Text = "https://www.googleapis.com/auth/cloud-platform"


class AwsConfig(Section):
    """What to sign with; a role, where one is named, is assumed with it.

    https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
    """

    access_key_id: Annotated[str, Field(pattern=r"^\w{4,128}$")] | None = None
    secret_access_key: Credential | None = None
    session_token: Credential | None = None
    credentials_file: Path | None = None
    """In AWS's own format; read again after a rename in its folder."""
    profile: Annotated[str, Field(pattern=r"^[\w.@+-]{1,128}$")] = "default"
    """In `credentials_file`."""
    role_arn: (
        Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/\S+$")] | None
    ) = None
    external_id: Text | None = None
    web_identity_token_file: Path | None = None
    """Of a workload identity (IRSA); with `role_arn`, in place of anything else here."""

    @model_validator(mode="after")
    def _one_of(self) -> AwsConfig:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        sources = (
            self.access_key_id,
            self.credentials_file,
            self.web_identity_token_file,
        )
        if sum(source is not None for source in sources) > 1:
            raise ValueError(
                "has several of access_key_id, credentials_file and "
                "web_identity_token_file: say one"
            )
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token goes with access_key_id")
        if self.web_identity_token_file is not None and self.role_arn is None:
            raise ValueError("web_identity_token_file needs a role_arn")
        return self


Identity = EntraConfig | GoogleConfig
"""Whom control fetches tokens for."""
