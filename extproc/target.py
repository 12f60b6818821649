"""Who serves: a deployment as it is configured, with all that can be known before a request.

A `Target` is asked for a model, by clients of some format: what follows from these three is
looked up once (`Lane`, `Way`) and remembered for as long as the configuration serves.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from extproc.abilities import abilities_of
from extproc.deployment import Abilities, Edits, Placement
from extproc.formats.base import AnyClientFormat, Unsupported
from extproc.pricing import PriceTable
from extproc.providers import HEADERS, PROVIDERS
from extproc.providers.base import Dialect, Provider, fill_path
from extproc.providers.quirks import with_quirks

END_USER_HEADER = "x-end-user"
"""Names the end user where the body does not; no provider sees it."""

_REMEMBERED = 1_000
"""Lanes of a target: a glob's has one for each name that a client thinks of."""


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


class Heading(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """What stands before a body: where it goes, and what becomes of the headers."""

    path: str
    authority: str
    set_headers: tuple[tuple[str, str], ...]
    delete_headers: tuple[str, ...]
    """What the client or an earlier attempt set and this provider must not see."""


class Target(msgspec.Struct, frozen=True, eq=False):
    """A `TargetSpec` with its provider looked up."""

    spec: TargetSpec
    provider: Provider
    set_headers: tuple[tuple[str, str], ...]
    """What every request to it carries; the credential is Envoy's to add."""
    delete_headers: tuple[str, ...]
    """What other attempts set, what belongs to any provider's format (the client's own
    words of this one's are set again), and what the client says of its own body and its own
    accounts elsewhere."""
    known: bool
    """Whether its model is configured by name, so that all there is to know is in its
    placement; also where `named` has put a name in a glob's place."""
    edits: Edits | None
    """Its changes to a body; None: it makes none."""
    _lanes: dict[str, Lane] = msgspec.field(default_factory=dict)
    """What `lane` was asked for."""

    def lane(self, original: str, prices: PriceTable) -> Lane:
        """Return it as it is asked where the client asked for `original`.

        Args:
            original: the original model.
            prices: of the configuration that it belongs to.
        """
        found = self._lanes.get(original)
        if found is None:
            if len(self._lanes) >= _REMEMBERED:
                self._lanes.clear()  # a client can name models as it likes
            found = self._lanes[original] = self._look_at(original, prices)
        return found

    def _look_at(self, original: str, prices: PriceTable) -> Lane:
        spec, model = self.spec, self.request_model(original)
        abilities = spec.placement.abilities
        if not self.known:
            abilities = abilities_of(spec.type, model, prices, abilities)
        place = spec.placement
        most = (
            place.max_concurrency, place.requests_per_minute, place.tokens_per_minute
        )  # fmt: skip
        return Lane(
            self,
            model,
            f"{spec.cluster}/{model}",
            abilities,
            abilities.lacks,
            any(one is not None for one in most),
            {},
        )

    def named(self, name: str) -> Target:
        """Return it with `name` as the original model, whatever a client asked for."""
        spec = msgspec.structs.replace(self.spec, model=self.request_model(name))
        return msgspec.structs.replace(self, spec=spec, _lanes={})

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

    def heading(self, dialect: Dialect, model: str, *, stream: bool) -> Heading:
        """Return what stands before the body of this request for `model`."""
        path = self.path(dialect, model, stream=stream)
        return Heading(path, self.spec.authority, self.set_headers, self.delete_headers)

    def path(self, dialect: Dialect, model: str, *, stream: bool) -> str:
        """Return the path that this request for `model` goes to."""
        own = dialect.stream_path if stream else None
        return self.spec.base_path + fill_path(
            own or dialect.path, dialect.path_model(model)
        )


class Way(msgspec.Struct, frozen=True):
    """How clients of one format are served on a lane."""

    dialect: Dialect
    passes: bool
    """Their bytes do: they speak the provider's own API."""
    heading: Heading
    stream_heading: Heading
    """Where a streamed answer is asked for."""
    words: tuple[str, ...]
    """Headers of the provider's format in which a client may have a word, in one order."""


class Lane(msgspec.Struct, frozen=True, eq=False):
    """A target for one original model: of an attempt, all that the configuration decides."""

    target: Target
    model: str
    """The request model."""
    deployment: str
    """The name of what is up or down: cluster (and so key) and request model."""
    abilities: Abilities
    lacks: tuple[str, ...]
    """The `Abilities` that it is known not to have."""
    bounded: bool
    """Whether there is a limit to what it may be sent."""
    _ways: dict[tuple[str, str], Way]

    def way(self, client: AnyClientFormat) -> Way:
        """Return how a client of the format `client` is served.

        Raises:
            Unsupported: see `Target.dialect`.
        """
        key = (client.name, client.operation)
        found = self._ways.get(key)
        if found is None:
            dialect = self.target.dialect(client, self.model)
            found = self._ways[key] = self.way_of(dialect, client)
        return found

    def way_of(self, dialect: Dialect, client: AnyClientFormat) -> Way:
        """Return how it is done with `dialect`, whichever `way` would take."""
        target, model = self.target, self.model
        return Way(
            dialect,
            dialect.format.name == client.name,
            target.heading(dialect, model, stream=False),
            target.heading(dialect, model, stream=True),
            tuple(sorted(dialect.format.headers)),
        )


# The worker has decoded the body; the accounts are those of the gateway's own keys.
_CLIENTS_OWN = {
    "content-encoding",
    "openai-organization",
    "openai-project",
    END_USER_HEADER,
}


def look_up(spec: TargetSpec, given: frozenset[str]) -> Target:
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
        known=spec.model is not None,
        edits=spec.placement.edits or None,
    )
