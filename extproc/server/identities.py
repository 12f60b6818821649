"""The tokens of a configuration's identities: fetched, compiled, renewed where Envoy reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from extproc.config.accounts import accounts
from extproc.config.compile.secrets import (
    credential_file,
    read_credential,
    secret_file,
)
from extproc.config.schema import Config
from extproc.server import outgoing
from extproc.server.rollout import Rollout
from extproc.server.tokens import Keeper, source_of


class Identities:
    """Keeps a token for each identity in the configuration that is served.

    Attributes:
        keeper: the tokens.
    """

    def __init__(
        self,
        rollout: Rollout,
        *,
        environ: Mapping[str, str],
        monotonic: Callable[[], float],
        wall_clock: Callable[[], float],
        jitter: Callable[[], float],
        lock: asyncio.Lock,
        failed: Callable[[str], None],
    ) -> None:
        """Keep none yet; `lock` is held by whoever writes Envoy's files."""
        self._rollout = rollout
        self._lock = lock
        self._config: Config | None = None
        self._served: Config | None = None
        self._http = outgoing.client()
        self.keeper = Keeper(
            source_of=lambda identity: source_of(identity, environ),
            http=self._http,
            monotonic=monotonic,
            wall_clock=wall_clock,
            jitter=jitter,
            publish=self._publish,
            failed=failed,
        )

    async def close(self) -> None:
        """Close the connections to token endpoints."""
        await self._http.aclose()

    async def tokens(self, config: Config) -> Mapping[str, str]:
        """Return the tokens to compile `config` with, and keep these from now on.

        `settle` has to follow: whether they are those of what is served.
        """
        await self._configure(config)
        return self.keeper.tokens

    async def settle(self, config: Config, *, served: bool) -> None:
        """Take note that `config` is served now; if not, keep what it was to replace."""
        if served:
            self._served = config
        elif self._served is not None:
            await self._configure(self._served)

    async def _configure(self, config: Config) -> None:
        found = {
            cluster: account
            for cluster, (_, account) in accounts(config).items()
            if account.identity is not None
        }
        files = self._rollout.files
        secrets = {} if files is None else files.secrets
        known = {
            cluster: token
            for cluster, account in found.items()
            if (content := secrets.get(secret_file(cluster, account))) is not None
            and (token := read_credential(content)) is not None
        }
        wanted = {
            cluster: account.identity
            for cluster, account in found.items()
            if account.identity is not None
        }
        await self.keeper.configure(wanted, known)
        self._config = config

    async def _publish(self) -> None:
        """Bring the tokens that are new to Envoy."""
        async with self._lock:
            if self._config is None:
                return
            tokens = self.keeper.tokens
            files: dict[str, bytes] = {}
            for cluster, (_, account) in accounts(self._config).items():
                if account.identity is not None and cluster in tokens:
                    files |= credential_file(cluster, account, tokens[cluster])
            self._rollout.renew(files)
