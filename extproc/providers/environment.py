"""What an environment, passed in, says of providers: keys, and where servers are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from extproc.providers import NATIVE, PROVIDERS
from extproc.providers.base import Provider


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What it takes to reach one provider."""

    api_key: str | None
    base_url: str | None
    """None: the provider's own."""


def find(environ: Mapping[str, str], provider: Provider) -> Found | None:
    """Return what `environ` has for `provider`, if that is enough.

    A server of one's own is there where its address is, with a key or without; any
    other where its key is, and all that its address depends on.
    """
    key = environ.get(provider.key_variable) or None
    if provider.url_variable:
        url = environ.get(provider.url_variable) or None
        return Found(key, url) if url and (key or provider.keyless) else None
    if key is None:
        return None
    if not provider.variables:
        return Found(key, None)
    said = {part: environ.get(v, "") for part, v in provider.variables.items()}
    if not all(said.values()):
        return None
    hosts = {part: _bare(value) for part, value in said.items()}
    return Found(key, provider.base_url.format_map(hosts))


def find_all(environ: Mapping[str, str]) -> dict[str, Found]:
    """Return all that are configured, in the order of `PROVIDERS`.

    A key that opens two APIs of one service stands for the first; the other one is
    there for configurations that name it.
    """
    out: dict[str, Found] = {}
    taken: set[str] = set()
    for name, provider in PROVIDERS.items():
        found = find(environ, provider)
        if found is None or (provider.key_variable in taken and not found.base_url):
            continue
        taken.add(provider.key_variable)
        out[name] = found
    return out


def variables() -> frozenset[str]:
    """Return the variables that hold a provider's key, or a server's address."""
    return frozenset(
        variable
        for provider in PROVIDERS.values()
        for variable in (provider.key_variable, provider.url_variable)
        if variable
    )


def best_known_variables() -> tuple[str, ...]:
    """Return the key variables to name where none is set."""
    return tuple(provider.key_variable for provider in NATIVE.values())


def _bare(value: str) -> str:
    """Take the scheme off, which some people's variables have and others' do not."""
    return value.removeprefix("https://").rstrip("/")
