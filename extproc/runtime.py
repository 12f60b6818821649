"""All of the configuration that the data path sees: frozen, indexed, swapped whole.

`Snapshot` is plain data: control builds it from ``gateway.yaml`` and sends it to the
workers (msgpack). `Runtime` is the same, indexed for lookups; an exchange holds the one
it began with until it ends.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from typing import Self

import msgspec

from extproc.deployment import ModelRouting, Placement, RoutingNumbers
from extproc.formats.base import AnyClientFormat, Unsupported
from extproc.identity import (
    NOBODY,
    Accounting,
    Grant,
    GrantBook,
    Issuer,
    Kind,
    Subject,
    Subjects,
    Zone,
    glob_pattern,
    grant_book,
)
from extproc.log_settings import LogSettings
from extproc.pricing import PriceRow, PriceTable
from extproc.providers import HEADERS, PROVIDERS
from extproc.providers.base import Dialect, Provider, fill_path
from extproc.providers.quirks import with_quirks
from extproc.tokens import Tokens

__all__ = [
    "END_USER_HEADER", "MAX_ATTEMPTS", "NOBODY", "Grant", "Limits", "ModelSpec", "Runtime", "Snapshot",
    "Target", "TargetSpec", "VirtualModel", "glob_pattern",
]  # fmt: skip

END_USER_HEADER = "x-end-user"
"""Names the end user where the body does not; no provider sees it."""

MAX_ATTEMPTS = 4
"""The longest chain: each attempt's rendering travels through Envoy's metadata."""


class TargetSpec(msgspec.Struct, frozen=True):
    """One deployment that can serve a virtual model."""

    provider: str
    """The name in ``gateway.yaml``."""
    type: str
    """The key in `PROVIDERS`."""
    cluster: str
    """The Envoy cluster, one for each key of a configured provider."""
    authority: str
    """The ``:authority`` that the provider expects."""
    base_path: str
    """The path of the base URL, such as ``/v1``; the provider's own follow it."""
    model: str | None = None
    """The request model; None passes the original model on."""
    strip: str = ""
    """What is taken off the front of an original model that is passed on."""
    quirks: tuple[str, ...] | None = None
    """Manners of the server, in place of those that its type is known for."""
    default_max_tokens: int = 4096
    """For providers that require a limit, when the client gave none."""
    include_usage: bool = True
    """Whether the provider understands ``stream_options.include_usage``."""
    only_main: bool = False
    """Whether the provider serves only the main one of its kind's APIs."""
    placement: Placement = Placement()
    settings: tuple[tuple[str, str], ...] = ()
    """What its kind's paths leave to the configuration, such as a project."""


class ModelSpec(msgspec.Struct, frozen=True):
    """A virtual model: a name or a glob, and its targets."""

    name: str
    targets: tuple[TargetSpec, ...]
    owned_by: str = "extproc"
    routing: ModelRouting = ModelRouting()


class Limits(msgspec.Struct, frozen=True):
    """What one request may cost us."""

    max_body_bytes: int = 32 * 1024 * 1024
    """Of the body as it came, and of what it decompresses to."""
    max_held_bytes: int = 512 * 1024 * 1024
    """Of all bodies that a worker holds at once (`extproc.server.bodies`)."""
    max_answer_bytes: int = 64 * 1024 * 1024
    """Of an answer that has to be read whole before it can be translated. A batch of
    embeddings or a picture reaches some tens of MiB."""
    request_seconds: float = 60.0
    """Until the request's body is here; Envoy's own limit is a little lower, so that its
    answer comes first."""
    upload_seconds: float = 3600.0
    """Until a body that passes unseen is through, beside `first_byte_seconds`."""
    first_byte_seconds: float = 510.0
    """Until the answer's headers: all attempts together."""
    attempt_seconds: float = 120.0
    """Until the answer's headers, each attempt, where its target says nothing else."""
    idle_seconds: float = 610.0
    """Silence in the middle of an answer, likewise."""
    total_seconds: float = 3600.0
    """Until an answer's end, from when its attempt was sent, likewise."""
    session_seconds: float = 3600.0
    """Of a realtime session."""


class Snapshot(msgspec.Struct, frozen=True):
    """The data path's configuration as it travels from control to the workers."""

    generation: int
    """Counts up with every change."""
    grants: tuple[Grant, ...] = ()
    models: tuple[ModelSpec, ...] = ()
    """In the order of ``gateway.yaml``; a glob serves names that nothing else does."""
    listed: tuple[str, ...] = ()
    """Names that ``/v1/models`` shows though only a glob serves them."""
    limits: Limits = Limits()
    created: int = 0
    """Unix seconds of the compile: the ``created`` of the models listed."""
    subjects: tuple[Subject, ...] = ()
    """What limits stand on beside keys."""
    zones: dict[str, Zone] = {}
    """The time zones that budgets name."""
    accounting: Accounting = Accounting()
    prices: tuple[PriceRow, ...] = ()
    """What models cost."""
    trusted_hops: int = 0
    """Proxies of ours in front of Envoy, each with an entry in ``x-forwarded-for``."""
    routing: RoutingNumbers = RoutingNumbers()
    issuers: tuple[Issuer, ...] = ()
    """Whose JWTs are keys."""
    keepers: tuple[TargetSpec, ...] = ()
    """Providers that keep what is found by its id (files, batches …), the default first."""
    logs: LogSettings = LogSettings()
    content_size: int = 0
    """Characters of an answer that are kept for traces and the file of requests; 0: none
    of it, nor of what was asked."""
    provider_headers: tuple[str, ...] = ()
    """Names of the headers that Envoy adds for any of the providers: each one's are for
    itself alone."""


class Target(msgspec.Struct, frozen=True):
    """A `TargetSpec` with its provider looked up."""

    spec: TargetSpec
    provider: Provider
    set_headers: tuple[tuple[str, str], ...]
    """What every request to it carries; the credential is Envoy's to add."""
    delete_headers: tuple[str, ...]
    """What other attempts set, what belongs to any provider's format (the client's own
    words of this one's are set again), and what the client says of its own body and its own
    accounts elsewhere."""
    lacks: tuple[str, ...]
    """The `Abilities` that it is known not to have."""
    known: bool
    """Whether its model is configured by name, so that all there is to know is in its
    placement; also where `VirtualModel.named` has put a name in a glob's place."""

    def dialect(self, client: AnyClientFormat, model: str) -> Dialect:
        """Return the API to speak for a client of the format `client`.

        Raises:
            Unsupported: the provider has none for the client's operation and `model`.
        """
        found = self.provider.dialect(
            client.name, client.operation, model, only_main=self.spec.only_main
        )
        if found is None:
            raise Unsupported(
                f"The provider {self.spec.provider!r} does not serve "
                f"{client.operation} for the model {model[:200]!r}.",
                param="model",
                code="unsupported_operation",
            )
        return found

    def alternatives(
        self, dialect: Dialect, client: AnyClientFormat, original: str
    ) -> Iterator[Dialect]:
        """Yield the APIs that may say what `dialect` cannot, if others may be spoken."""
        if not self.spec.only_main:
            model = self.request_model(original)
            yield from self.provider.alternatives(dialect, client.operation, model)

    def request_model(self, original: str) -> str:
        """Return the model to ask for where the client asked for `original`."""
        spec = self.spec
        return spec.model or (
            original.removeprefix(spec.strip) if spec.strip else original
        )

    def forward_path(self, path: str) -> str:
        """Return where the client's own `path` behind the version, with its query, is."""
        own, _, query = self.provider.forward_path.partition("?")
        plain, _, asked = path.partition("?")
        queries = "&".join(part for part in (query, asked) if part)
        there = self.spec.base_path + own.replace("{path}", plain)
        return f"{there}?{queries}" if queries else there

    def path(self, dialect: Dialect, model: str, *, stream: bool) -> str:
        """Return the path that this request for `model` goes to."""
        own = dialect.stream_path if stream else None
        return self.spec.base_path + fill_path(
            own or dialect.path, dialect.path_model(model)
        )


class VirtualModel(msgspec.Struct, frozen=True):
    """A `ModelSpec` with its targets looked up."""

    name: str
    targets: tuple[Target, ...]
    owned_by: str
    routing: ModelRouting = ModelRouting()

    def named(self, name: str) -> VirtualModel:
        """Return it with `name` as the original model, whatever a client asked for."""
        return msgspec.structs.replace(
            self,
            targets=tuple(
                msgspec.structs.replace(
                    target,
                    spec=msgspec.structs.replace(
                        target.spec, model=target.request_model(name)
                    ),
                )
                for target in self.targets
            ),
        )


class Runtime(msgspec.Struct, frozen=True):
    """A `Snapshot`, indexed."""

    generation: int
    limits: Limits
    created: int
    listed: tuple[str, ...]
    accounting: Accounting
    zones: dict[str, Zone]
    prices: PriceTable
    trusted_hops: int
    _subjects: Subjects
    routing: RoutingNumbers
    tokens: Tokens
    """What JWTs are good for."""
    _grants: GrantBook
    _bound: GrantBook
    """Of the keys that were asked for, with what their owners forbid them: there may be
    100,000 more."""
    _exact: dict[str, VirtualModel]
    _globs: tuple[tuple[re.Pattern[str], VirtualModel], ...]
    _groups: dict[str, VirtualModel]
    """What `group` was asked for; as many as the configuration has names."""
    keepers: dict[str, Target]
    """By the provider's name, the default first."""
    content_size: int

    @classmethod
    def of(cls, snapshot: Snapshot, grants: GrantBook | None = None) -> Self:
        """Index `snapshot`.

        Args:
            snapshot: what to index.
            grants: by the digest of the key, in place of the snapshot's own; they stay
                as they are from now on.

        Raises:
            KeyError: a target names a provider type that this version does not have.
        """
        given = frozenset(snapshot.provider_headers).union(
            name
            for model in snapshot.models
            for spec in model.targets
            for name, _ in spec.placement.headers
        )
        models = [
            VirtualModel(
                spec.name,
                tuple(_target(target, given) for target in spec.targets),
                spec.owned_by,
                spec.routing,
            )
            for spec in snapshot.models
        ]
        globs = [model for model in models if "*" in model.name]
        # The glob that says most about the name wins: the longest.
        globs.sort(key=lambda model: len(model.name), reverse=True)
        exact = {model.name: model for model in models if "*" not in model.name}
        subjects = Subjects.of(snapshot.subjects)
        for model in tuple(exact.values()):
            renamed = model.named(model.name)
            exact.update(dict.fromkeys(model.routing.aliases, renamed))
        return cls(
            generation=snapshot.generation,
            limits=snapshot.limits,
            created=snapshot.created,
            listed=tuple(dict.fromkeys((*exact, *snapshot.listed))),
            accounting=snapshot.accounting,
            zones=snapshot.zones,
            prices=PriceTable.of(snapshot.prices),
            trusted_hops=snapshot.trusted_hops,
            _subjects=subjects,
            _grants=grant_book(snapshot.grants) if grants is None else grants,
            _bound={},
            routing=snapshot.routing,
            tokens=Tokens(snapshot.issuers, subjects),
            _exact=exact,
            _globs=tuple((glob_pattern(model.name), model) for model in globs),
            _groups={},
            keepers={spec.provider: _target(spec, given) for spec in snapshot.keepers},
            content_size=snapshot.content_size,
        )

    def grant(self, key: str) -> Grant | None:
        """Return what `key` may do, or None when nobody has it.

        The dictionary is asked for the digest, whose timing says nothing of the key; the
        digests are compared in constant time all the same.
        """
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        grant = self._grants.get(digest)
        if grant is None or not hmac.compare_digest(
            bytes.fromhex(grant.sha256), digest
        ):
            return None
        bound = self._bound.get(digest)
        if bound is None:
            bound = self._bound[digest] = self._subjects.bind(grant)
        return bound

    @property
    def limited(self) -> bool:
        """Whether limits stand on anything but keys."""
        return self._subjects.limited

    def subject(self, kind: Kind, name: str) -> Subject | None:
        """Return what stands on this subject; None: nothing does."""
        return self._subjects.find(kind, name)

    def model(self, name: str) -> VirtualModel | None:
        """Return the virtual model that serves `name`."""
        found = self._exact.get(name)
        if found is not None:
            return found
        for pattern, model in self._globs:
            if pattern.match(name):
                return model
        return None

    def group(self, name: str) -> VirtualModel | None:
        """Return the virtual model that is asked as `name` in another one's place."""
        found = self._groups.get(name)
        if found is None and (model := self.model(name)) is not None:
            found = self._groups[name] = model.named(name)
        return found


# The worker has decoded the body; the accounts are those of the gateway's own keys.
_CLIENTS_OWN = {
    "content-encoding",
    "openai-organization",
    "openai-project",
    END_USER_HEADER,
}


def _target(spec: TargetSpec, given: frozenset[str]) -> Target:
    """Look up `spec`; `given` are the headers that any of them is configured to be sent."""
    provider = PROVIDERS[spec.type].located(dict(spec.settings))
    if spec.quirks is not None:
        provider = with_quirks(provider, spec.quirks, spec.provider)
    headers = {
        "content-type": "application/json",
        # What we read must not be compressed; a provider that does it all the same is
        # understood too.
        "accept-encoding": "identity",
        **provider.headers,
        **dict(spec.placement.headers),
    }
    return Target(
        spec,
        provider,
        set_headers=tuple(headers.items()),
        # Upstream filters edit the one header map that all attempts share: what the
        # attempt before this one set is still there.
        delete_headers=tuple(sorted((HEADERS | given | _CLIENTS_OWN) - headers.keys())),
        lacks=spec.placement.abilities.lacks,
        known=spec.model is not None,
    )
