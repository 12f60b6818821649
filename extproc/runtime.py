"""All of the configuration that the data path sees: frozen, indexed, swapped whole.

`Snapshot` is plain data: control builds it from ``gateway.yaml`` and sends it to the
workers (msgpack). `Runtime` is the same, indexed for lookups; an exchange holds the one
it began with until it ends.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Self

import msgspec

from extproc.deployment import ModelRouting, RoutingNumbers
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
from extproc.target import END_USER_HEADER, Target, TargetSpec, look_up
from extproc.tokens import Tokens

__all__ = [
    "END_USER_HEADER", "MAX_ATTEMPTS", "NOBODY", "Grant", "Limits", "ModelSpec", "Runtime", "Snapshot",
    "Target", "TargetSpec", "VirtualModel", "glob_pattern",
]  # fmt: skip

MAX_ATTEMPTS = 4
"""The longest chain: each attempt's rendering travels through Envoy's metadata."""


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


class VirtualModel(msgspec.Struct, frozen=True):
    """A `ModelSpec` with its targets looked up."""

    name: str
    targets: tuple[Target, ...]
    owned_by: str
    routing: ModelRouting = ModelRouting()
    tagged: bool = False
    """Whether some of its targets are set apart by tags."""
    only: Target | None = None
    """Its one target, where there is nothing to turn to after it; follows from the others."""

    def __post_init__(self) -> None:
        """See whether there is one."""
        alone = len(self.targets) == 1 and not self.routing.turns
        msgspec.structs.force_setattr(self, "only", self.targets[0] if alone else None)

    def named(self, name: str) -> VirtualModel:
        """Return it with `name` as the original model, whatever a client asked for."""
        return msgspec.structs.replace(
            self,
            targets=tuple(target.named(name) for target in self.targets),
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
    limited: bool
    """Whether limits stand on anything but keys."""
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
                tuple(look_up(target, given) for target in spec.targets),
                spec.owned_by,
                spec.routing,
                any(target.placement.tags for target in spec.targets),
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
            limited=subjects.limited,
            _subjects=subjects,
            _grants=grant_book(snapshot.grants) if grants is None else grants,
            _bound={},
            routing=snapshot.routing,
            tokens=Tokens(snapshot.issuers, subjects),
            _exact=exact,
            _globs=tuple((glob_pattern(model.name), model) for model in globs),
            _groups={},
            keepers={spec.provider: look_up(spec, given) for spec in snapshot.keepers},
            content_size=snapshot.content_size,
        )

    def grant(self, key: str) -> Grant | None:
        """Return what `key` may do, or None when nobody has it.

        The dictionaries are asked for the digest, whose timing says nothing of the key;
        where a key is asked for first, the digests are compared in constant time all the
        same.
        """
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        bound = self._bound.get(digest)
        if bound is not None:
            return bound
        grant = self._grants.get(digest)
        if grant is None or not hmac.compare_digest(
            bytes.fromhex(grant.sha256), digest
        ):
            return None
        bound = self._bound[digest] = self._subjects.bind(grant)
        return bound

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
