"""Secret discovery: the only files with credentials in them (mode 0600).

Neither the bootstrap nor a cluster holds one, so no config dump can show it.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls

from extproc.config.accounts import accounts
from extproc.config.compile import wire
from extproc.config.compile.layout import Layout
from extproc.config.schema import Config
from extproc.config.values import CertificatePair

LISTENER_SECRET = "listener"  # noqa: S105  a name


def secret_name(cluster: str) -> str:
    """Return the SDS name of a cluster's credential."""
    return f"credential-{cluster}"


def secret_file(cluster: str) -> str:
    """Return the file name of a cluster's credential.

    None can be the listener's: that one has a dot where these have a hyphen.
    """
    return f"sds-{cluster}.json"


LISTENER_FILE = "sds.listener.json"


def secret_files(config: Config) -> dict[str, bytes]:
    """Compile one file for each key of a provider, and the listener's."""
    files = {
        secret_file(cluster): wire.discovery(
            [_credential(cluster, account.api_key.get_secret_value())]
        )
        for cluster, (_, account) in accounts(config).items()
        if account.api_key is not None
    }
    if config.listen.tls is not None:
        files[LISTENER_FILE] = wire.discovery([_certificate(config.listen.tls)])
    return files


def credential_source(layout: Layout, provider: str) -> tls.SdsSecretConfig:
    """Return where Envoy reads a provider's credential, and reads it again."""
    return tls.SdsSecretConfig(
        name=secret_name(provider),
        sds_config=wire.watched(str(layout.xds), secret_file(provider)),
    )


def certificate_source(layout: Layout) -> tls.SdsSecretConfig:
    """Return where Envoy reads the listener's certificate."""
    return tls.SdsSecretConfig(
        name=LISTENER_SECRET,
        sds_config=wire.watched(str(layout.xds), LISTENER_FILE),
    )


def _credential(provider: str, credential: str) -> tls.Secret:
    return tls.Secret(
        name=secret_name(provider),
        generic_secret=tls.GenericSecret(
            secret=core.DataSource(inline_string=credential)
        ),
    )


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
