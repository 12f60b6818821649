"""How a new configuration reaches a running Envoy without a failed request.

A request that names a cluster which Envoy does not have fails, and is not retried on the
next target. So the files go out in this order, each by a rename: secrets and clusters, old
and new together → wait until Envoy has them → routes and issuers of tokens → (the workers' snapshot, which is
the caller's) → and only when no exchange can name them any more, the clusters that are
gone. Filesystem subscriptions acknowledge nothing
(https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/xds_api): Envoy's
admin interface is asked.

A running Envoy reads no other bootstrap: one that is asked for waits beside the one that
serves, until whoever starts Envoy puts it in its place (`extproc.local.succession`).
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from extproc.config.compile import (
    EnvoyFiles,
    replace_file,
    secret_paths,
    wire,
    write_files,
)
from extproc.config.file_names import (
    BOOTSTRAP_FILE,
    CLUSTERS_FILE,
    FILTERS_FILE,
    ROUTES_FILE,
    WAITING_FILE,
)

CLUSTERS_SECONDS: Final = 10.0
"""Envoy has new clusters within 50 ms, but one whose name does not resolve only when the
first lookup failed, which takes a resolver up to 5 s."""
GRACE_SECONDS: Final = 60.0
"""From the workers' last use of a cluster's name to its removal: an exchange that began
before may still fail over to it."""
POLL_SECONDS: Final = 0.02

COUNTERS: Final = (
    r"^cluster_manager\.(cluster_added|cluster_modified|warming_clusters"
    r"|cds\.update_rejected)$"
)


class Envoy(Protocol):
    """What control needs of Envoy's admin interface.

    `ready` is False while Envoy is away; the others then raise `OSError`.
    """

    async def ready(self) -> bool:
        """Return whether Envoy has its configuration and listens."""

    async def clusters(self) -> set[str]:
        """Return the names of the clusters that are ready to be used."""

    async def stats(self, pattern: str) -> dict[str, int]:
        """Return the counters and gauges whose names match the regular expression."""


class _Counts(NamedTuple):
    taken: int
    rejected: int
    warming: int


class RolloutFailed(Exception):
    """Envoy did not take the new clusters; it serves what it served before."""


class Rollout:
    """The files in Envoy's folder, and what is still to be removed from them.

    Attributes:
        files: what is on disk, None before the first configuration.
        restart_needed: whether the bootstrap that was asked for last is another one than
            Envoy was started with.
    """

    def __init__(
        self,
        directory: Path,
        envoy: Envoy,
        clock: Callable[[], float],
        *,
        clusters_seconds: float = CLUSTERS_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self.files = read_files(directory)
        self.restart_needed = False
        self._directory = directory
        self._envoy = envoy
        self._clock = clock
        self._clusters_seconds = clusters_seconds
        self._grace_seconds = grace_seconds
        self._wanted = self.files
        self._retired: dict[str, float] = {}  # cluster -> when it may go

    async def advance(self, new: EnvoyFiles) -> None:
        """Give `new` to Envoy, and take nothing away.

        Raises:
            RolloutFailed: Envoy refuses it, or does not have the clusters in time.
            OSError: the folder cannot be written to.
        """
        old = self.files
        if old is None or not await self._envoy.ready():
            # Nobody is served, so nobody can be harmed by the order.
            write_files(new, self._directory)
            self.files = self._wanted = new
            self._retired = {}
            self._let_wait(None)
            return
        old = dataclasses.replace(old, bootstrap=self._serving())
        self._let_wait(new.bootstrap if new.bootstrap != old.bootstrap else None)
        clusters = _by_name(new.cds)
        left_over = {
            name: resource
            for name, resource in _by_name(old.cds).items()
            if name not in clusters
        }
        both = dataclasses.replace(
            old,
            cds=_discovery({**clusters, **left_over}) if left_over else new.cds,
            secrets={**old.secrets, **new.secrets},
        )
        # Secrets apart, so that what Envoy says afterwards is about the clusters.
        self._write(dataclasses.replace(both, cds=old.cds))
        try:
            await self._give_clusters(both, old)
        except (RolloutFailed, OSError) as error:
            self._write(old)
            raise RolloutFailed(str(error)) from error
        # A cluster that changed has let go of its old secret, which may be another name.
        self._write(
            dataclasses.replace(
                both,
                rds=new.rds,
                ecds=new.ecds,
                secrets={**_named_in(left_over, old.secrets), **new.secrets},
            )
        )
        self._wanted = dataclasses.replace(new, bootstrap=old.bootstrap)
        go = self._clock() + self._grace_seconds
        self._retired = {name: self._retired.get(name, go) for name in left_over}

    def prune(self) -> list[str]:
        """Remove the clusters whose grace is over; return their names.

        Only to be called when every worker serves the latest snapshot.

        Raises:
            OSError: the folder cannot be written to.
        """
        now = self._clock()
        gone = [name for name, when in self._retired.items() if when <= now]
        if not gone or self.files is None or self._wanted is None:
            return []
        for name in gone:
            del self._retired[name]
        have = _by_name(self.files.cds)
        keep = {name: have[name] for name in self._retired}
        self._write(self._wanted if not keep else self._with(self._wanted, keep))
        return gone

    def taken(self) -> bool:
        """Say whether an Envoy has been started since with the bootstrap that waited."""
        return self.restart_needed and not (self._directory / WAITING_FILE).exists()

    @property
    def has_retired(self) -> bool:
        """Whether there are clusters to `prune` sooner or later."""
        return bool(self._retired)

    @property
    def clusters(self) -> frozenset[str]:
        """The clusters that Envoy must have."""
        return frozenset() if self._wanted is None else cluster_names(self._wanted)

    async def _give_clusters(self, files: EnvoyFiles, old: EnvoyFiles) -> None:
        """Write the clusters and wait until Envoy uses every one that is new or changed.

        A changed one too: a request rendered for the new address must not go to the old.
        """
        had, have = _by_name(old.cds), _by_name(files.cds)
        changed = sum(had.get(name) != resource for name, resource in have.items())
        before = await self._counts()
        self._write(files)
        if not changed:
            return
        try:
            async with asyncio.timeout(self._clusters_seconds):
                while True:
                    now = await self._counts()
                    if now.rejected > before.rejected:
                        raise RolloutFailed("Envoy refuses the clusters: see its log")
                    # Not update_success: any rename in the folder counts there.
                    if now.taken >= before.taken + changed and not now.warming:
                        missing = have.keys() - await self._envoy.clusters()
                        if not missing:
                            return
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise RolloutFailed(
                f"Envoy did not take the clusters in {self._clusters_seconds:g} s"
            ) from None

    async def _counts(self) -> _Counts:
        found = await self._envoy.stats(COUNTERS)
        return _Counts(
            taken=found.get("cluster_manager.cluster_added", 0)
            + found.get("cluster_manager.cluster_modified", 0),
            rejected=found.get("cluster_manager.cds.update_rejected", 0),
            warming=found.get("cluster_manager.warming_clusters", 0),
        )

    def _with(self, files: EnvoyFiles, keep: dict[str, Any]) -> EnvoyFiles:
        secrets = self.files.secrets if self.files else {}
        return dataclasses.replace(
            files,
            cds=_discovery({**_by_name(files.cds), **keep}),
            secrets={
                **_named_in(keep, secrets),
                **files.secrets,
            },
        )

    def renew(self, secrets: Mapping[str, bytes]) -> None:
        """Replace the content of secrets that are there, such as a token by the next.

        Raises:
            OSError: the folder cannot be written to.
        """
        if self.files is None:
            return
        self._write(_renewed(self.files, secrets))
        if self._wanted is not None:
            self._wanted = _renewed(self._wanted, secrets)

    def _write(self, files: EnvoyFiles) -> None:
        # Not the bootstrap: it is put in its place while we look elsewhere.
        write_files(files, self._directory, keep=BOOTSTRAP_FILE)
        self.files = files

    def _serving(self) -> bytes:
        return (self._directory / BOOTSTRAP_FILE).read_bytes()

    def _let_wait(self, bootstrap: bytes | None) -> None:
        self.restart_needed = bootstrap is not None
        file = self._directory / WAITING_FILE
        if bootstrap is None:
            file.unlink(missing_ok=True)
        elif not file.is_file() or file.read_bytes() != bootstrap:
            replace_file(file, bootstrap)


def read_files(directory: Path) -> EnvoyFiles | None:
    """Return the files in `directory`, None when they are not all there."""
    try:
        return EnvoyFiles(
            bootstrap=(directory / BOOTSTRAP_FILE).read_bytes(),
            rds=(directory / ROUTES_FILE).read_bytes(),
            cds=(directory / CLUSTERS_FILE).read_bytes(),
            ecds=(directory / FILTERS_FILE).read_bytes(),
            secrets={path.name: path.read_bytes() for path in secret_paths(directory)},
        )
    except OSError:
        return None


def _renewed(files: EnvoyFiles, secrets: Mapping[str, bytes]) -> EnvoyFiles:
    known = {file: new for file, new in secrets.items() if file in files.secrets}
    return dataclasses.replace(files, secrets={**files.secrets, **known})


def _named_in(
    clusters: Mapping[str, Any], secrets: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Return those of `secrets` whose files these clusters name."""
    text = msgspec.json.encode(clusters)
    return {
        file: content
        for file, content in secrets.items()
        if f'/{file}"'.encode() in text
    }


def cluster_names(files: EnvoyFiles) -> frozenset[str]:
    """Return the names of the clusters in `files`."""
    return frozenset(_by_name(files.cds))


def _by_name(cds: bytes) -> dict[str, Any]:
    found = msgspec.json.decode(cds, type=dict[str, Any])
    return {resource["name"]: resource for resource in found.get("resources", ())}


def _discovery(resources: dict[str, Any]) -> bytes:
    return wire.dump({"resources": [resources[name] for name in sorted(resources)]})
