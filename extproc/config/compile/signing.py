"""Signing requests as AWS wants it (SigV4): Envoy does it, behind everything that changes them.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html. With what, is the
configuration's to say; unsaid, Envoy looks where AWS's own SDKs do: environment, profile,
web identity (IRSA), container (ECS, EKS Pod Identity), instance (IMDS).
"""

from __future__ import annotations

from pathlib import Path

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.common.aws import v3 as aws
from envoy_data_plane.envoy.extensions.filters.http.aws_request_signing import (
    v3 as signing,
)
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import (
    v3 as hcm,
)
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.config.compile import wire
from extproc.config.compile.layout import Layout
from extproc.config.compile.secrets import aws_file
from extproc.config.identities import AwsConfig
from extproc.config.providers import ProviderConfig

SESSION = "extproc"
"""Names us in AWS's logs of whoever assumed a role."""


def signature(cluster: str, provider: ProviderConfig, layout: Layout) -> hcm.HttpFilter:
    """Compile the filter that signs for the cluster's provider."""
    said = provider.aws
    return wire.http_filter(
        "aws_request_signing",
        wire.pack(
            signing.AwsRequestSigning(
                service_name=provider.kind.aws_service,
                region=provider.signing_region,
                credential_provider=None
                if said is None
                else _credentials(said, layout.xds / aws_file(cluster)),
                # Envoy itself still changes these behind the signature.
                match_excluded_headers=[
                    matcher.StringMatcher(prefix="x-envoy-"),
                    matcher.StringMatcher(exact="x-request-id"),
                ],
            )
        ),
    )


def _credentials(said: AwsConfig, own_file: Path) -> aws.AwsCredentialProvider | None:
    """Return where the credentials are; None: where AWS's own SDKs would look."""
    if said.web_identity_token_file is not None:
        return aws.AwsCredentialProvider(
            custom_credential_provider_chain=True,
            assume_role_with_web_identity_provider=(
                aws.AssumeRoleWithWebIdentityCredentialProvider(
                    web_identity_token_data_source=_read(said.web_identity_token_file),
                    role_arn=said.role_arn or "",
                    role_session_name=SESSION,
                )
            ),
        )
    own = None
    if said.access_key_id is not None:
        own = _file(own_file, "default")
    elif said.credentials_file is not None:
        own = _file(said.credentials_file, said.profile)
    if said.role_arn is None:
        return own
    return aws.AwsCredentialProvider(
        custom_credential_provider_chain=True,
        assume_role_credential_provider=aws.AssumeRoleCredentialProvider(
            role_arn=said.role_arn,
            role_session_name=SESSION,
            external_id=said.external_id or "",
            credential_provider=own,
        ),
    )


def _file(path: Path, profile: str) -> aws.AwsCredentialProvider:
    return aws.AwsCredentialProvider(
        custom_credential_provider_chain=True,
        credentials_file_provider=aws.CredentialsFileCredentialProvider(
            credentials_data_source=_read(path), profile=profile
        ),
    )


def _read(path: Path) -> core.DataSource:
    return core.DataSource(
        filename=str(path),
        watched_directory=core.WatchedDirectory(path=str(path.parent)),
    )
