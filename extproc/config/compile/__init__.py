"""A `Config` in, Envoy's files out: one small module a kind of resource.

    bootstrap.json       what stays for the life of a process, with the listener in it
    rds.json cds.json    routes and provider clusters, replaced while Envoy runs
    ecds.json            whose tokens are keys, as the others
    sds-<cluster>-<place>.json  credentials (mode 0600)
    aws-<cluster>.ini    credentials of AWS, in its own format (mode 0600)
    sds.listener.json    where the listener's certificate is

The same configuration and layout give the same bytes. Importing this package costs about
a second (``envoy_data_plane``): control does it, workers never.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from extproc.config.accounts import accounts
from extproc.config.compile import wire
from extproc.config.compile.bootstrap import gateway_bootstrap
from extproc.config.compile.clusters import provider_cluster, proxy_cluster
from extproc.config.compile.jwt import token_clusters, token_rules
from extproc.config.compile.layout import Layout
from extproc.config.compile.routes import routes
from extproc.config.compile.secrets import secret_files
from extproc.config.file_names import (
    BOOTSTRAP_FILE,
    CLUSTERS_FILE,
    FILTERS_FILE,
    ROUTES_FILE,
)
from extproc.config.schema import Config

__all__ = [
    "EnvoyFiles",
    "Layout",
    "compile_envoy",
    "replace_file",
    "secret_paths",
    "write_files",
]


@dataclasses.dataclass(frozen=True, slots=True)
class EnvoyFiles:
    """What Envoy reads, by file name."""

    bootstrap: bytes
    """A change of it needs a new process."""
    rds: bytes
    cds: bytes
    ecds: bytes
    secrets: Mapping[str, bytes] = dataclasses.field(repr=False)
    """By file name. Never to be logged."""

    def in_order(self) -> dict[str, bytes]:
        """Return all by name, each after those that it refers to."""
        return {
            BOOTSTRAP_FILE: self.bootstrap,
            **self.secrets,
            CLUSTERS_FILE: self.cds,
            FILTERS_FILE: self.ecds,
            ROUTES_FILE: self.rds,
        }


def compile_envoy(
    config: Config, layout: Layout, tokens: Mapping[str, str] | None = None
) -> EnvoyFiles:
    """Compile `config` for an Envoy that finds things as `layout` says.

    `tokens` are those that control has fetched for identities, by cluster.
    """
    return EnvoyFiles(
        bootstrap=wire.dump(wire.json_of(gateway_bootstrap(config, layout))),
        rds=wire.discovery([routes(config)]),
        cds=wire.discovery(
            [
                provider_cluster(
                    cluster,
                    name,
                    account,
                    layout,
                    traced=config.telemetry.traces.to_providers,
                )
                for cluster, (name, account) in sorted(accounts(config).items())
            ]
            + [
                proxy_cluster(name, one.proxy, one.timeouts.connect, layout)
                for name, one in sorted(config.providers.items())
                if one.proxy is not None
            ]
            + token_clusters(config, layout)
        ),
        ecds=wire.discovery([token_rules(config)]),
        secrets=secret_files(config, tokens or {}),
    )


def write_files(
    files: EnvoyFiles, directory: Path, *, keep: str | None = None
) -> list[str]:
    """Write what changed, each file by a rename; return the names, in order.

    What is called `keep` stays as it is, if it is there.
    Secrets of providers that are gone are deleted, last. The caller sees to it that no
    worker names a cluster that Envoy does not have yet, or has no longer.

    Raises:
        OSError: the directory cannot be written to. What was renamed before stays, and
            is consistent by itself.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    changed = []
    wanted = files.in_order()
    for name, content in wanted.items():
        path = directory / name
        there = path.is_file()
        if not there or (name != keep and path.read_bytes() != content):
            replace_file(path, content)
            changed.append(name)
    for path in sorted(secret_paths(directory)):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    return changed


def secret_paths(directory: Path) -> Iterator[Path]:
    """Yield the files in `directory` that have credentials in them."""
    yield from directory.glob("sds[-.]*.json")
    yield from directory.glob("aws-*.ini")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, by a rename.

    Raises:
        OSError: the folder cannot be written to; what was there is still.
    """
    # In the same folder, or it would not be a rename. mkstemp makes it 0600.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
