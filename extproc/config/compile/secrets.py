"""Secret discovery: the only files with credentials in them (mode 0600).

Neither the bootstrap nor a cluster holds one, so no config dump can show it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import msgspec
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from pydantic import SecretStr

from extproc.config.accounts import accounts
from extproc.config.compile import wire
from extproc.config.compile.layout import Layout
from extproc.config.compile.tunnel import proxy_cluster_name
from extproc.config.identities import AwsConfig
from extproc.config.providers import ProviderConfig
from extproc.config.proxies import ProxyConfig
from extproc.config.schema import Config
from extproc.config.values import CertificatePair

LISTENER_SECRET = "listener"  # noqa: S105  a name


NO_TOKEN = "no-token-yet"  # noqa: S105  the opposite of one
"""Stands where control has not got a token yet. Envoy waits for a secret that is not
there, and would answer without asking anybody for one that is empty; this one makes the
provider refuse, which is told as what it is."""


def _place(account: ProviderConfig) -> str:
    """Return a digest of where a credential is sent.

    A change of both a provider's key and its address must not bring the new key to the
    old address, not for a moment: so the secret of another place has another name.
    """
    there = account.endpoint
    said = (
        there.tls,
        there.authority,
        there.path,
        account.proxy and account.proxy.url,
        account.credential_place,
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()[:8]


def secret_name(cluster: str, account: ProviderConfig) -> str:
    """Return the SDS name of a cluster's credential."""
    return f"credential-{cluster}-{_place(account)}"


def secret_file(cluster: str, account: ProviderConfig) -> str:
    """Return the file name of a cluster's credential.

    None can be the listener's: that one has a dot where these have a hyphen.
    """
    return f"sds-{cluster}-{_place(account)}.json"


def aws_file(cluster: str) -> str:
    """Return the file name of a cluster's AWS credentials, in AWS's own format."""
    return f"aws-{cluster}.ini"


LISTENER_FILE = "sds.listener.json"


def secret_files(config: Config, tokens: Mapping[str, str]) -> dict[str, bytes]:
    """Compile one file for each key or identity of a provider, and the listener's.

    `tokens` are those of identities, by cluster, as far as they are there.
    """
    files: dict[str, bytes] = {}
    for cluster, (_, account) in accounts(config).items():
        if account.api_key is not None:
            key = account.api_key.get_secret_value()
            files |= credential_file(cluster, account, key)
        elif account.identity is not None:
            token = tokens.get(cluster, NO_TOKEN)
            files |= credential_file(cluster, account, token)
        elif account.aws is not None and account.aws.access_key_id is not None:
            files[aws_file(cluster)] = _aws(account.aws)
    for name, provider in config.providers.items():
        if provider.proxy is not None and provider.proxy.credential is not None:
            files |= _proxy_file(name, provider.proxy, provider.proxy.credential)
    if config.listen.tls is not None:
        files[LISTENER_FILE] = wire.discovery([_certificate(config.listen.tls)])
    return files


def credential_file(
    cluster: str, account: ProviderConfig, credential: str
) -> dict[str, bytes]:
    """Compile the file of one credential, by its name."""
    name = secret_name(cluster, account)
    return {secret_file(cluster, account): _generic(name, credential)}


def _proxy_file(provider_name: str, proxy: ProxyConfig, said: str) -> dict[str, bytes]:
    name, file = _proxy_names(provider_name, proxy)
    return {file: _generic(name, base64.b64encode(said.encode()).decode())}


def _proxy_names(provider_name: str, proxy: ProxyConfig) -> tuple[str, str]:
    """Return the names of the secret and of its file; another place's are others."""
    place = hashlib.sha256(proxy.url.encode()).hexdigest()[:8]
    name = f"{proxy_cluster_name(provider_name)}-{place}"
    return f"credential-{name}", f"sds-{name}.json"


def _generic(name: str, credential: str) -> bytes:
    secret = tls.Secret(
        name=name,
        generic_secret=tls.GenericSecret(
            secret=core.DataSource(inline_string=credential)
        ),
    )
    return wire.discovery([secret])


def read_credential(content: bytes) -> str | None:
    """Return the credential in a file that `credential_file` made; None: there is none."""
    try:
        (resource,) = msgspec.json.decode(content)["resources"]
        found = resource["generic_secret"]["secret"]["inline_string"]
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError):
        return None
    return found if isinstance(found, str) and found != NO_TOKEN else None


def credential_source(
    layout: Layout, cluster: str, account: ProviderConfig
) -> tls.SdsSecretConfig:
    """Return where Envoy reads a cluster's credential, and reads it again."""
    return tls.SdsSecretConfig(
        name=secret_name(cluster, account),
        sds_config=wire.watched(str(layout.xds), secret_file(cluster, account)),
    )


def proxy_source(
    layout: Layout, provider_name: str, proxy: ProxyConfig
) -> tls.SdsSecretConfig:
    """Return where Envoy reads what it shows the provider's proxy."""
    name, file = _proxy_names(provider_name, proxy)
    return tls.SdsSecretConfig(
        name=name, sds_config=wire.watched(str(layout.xds), file)
    )


def certificate_source(layout: Layout) -> tls.SdsSecretConfig:
    """Return where Envoy reads the listener's certificate."""
    return tls.SdsSecretConfig(
        name=LISTENER_SECRET,
        sds_config=wire.watched(str(layout.xds), LISTENER_FILE),
    )


def _aws(account: AwsConfig) -> bytes:
    """Write AWS's own credentials file.

    https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
    """
    said = {
        "aws_access_key_id": account.access_key_id,
        "aws_secret_access_key": _told(account.secret_access_key),
        "aws_session_token": _told(account.session_token),
    }
    lines = [f"{name} = {value}" for name, value in said.items() if value]
    return "\n".join(("[default]", *lines, "")).encode()


def _told(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _certificate(files: CertificatePair) -> tls.Secret:
    return tls.Secret(
        name=LISTENER_SECRET,
        tls_certificate=tls.TlsCertificate(
            certificate_chain=core.DataSource(filename=str(files.certificate)),
            private_key=core.DataSource(filename=str(files.key)),
            # A renewal replaces both files; Envoy reads the pair again at the rename.
            watched_directory=core.WatchedDirectory(path=str(files.certificate.parent)),
        ),
    )
