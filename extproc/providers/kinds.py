"""A table of providers, of which each is imported when it is first looked up.

A provider brings its formats, and a worker serves with the few that its configuration
names: all of them are a quarter of what its start takes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping

from extproc.providers.base import Provider


class Kinds(MutableMapping[str, Provider]):
    """Providers by their ``type``; what iterates over them all imports them all.

    Args:
        places: by type, ``module:NAME``, the module below `extproc.providers`.
        more: what comes behind them, imported when a type is none of theirs.
    """

    def __init__(
        self,
        places: Mapping[str, str],
        more: Callable[[], Mapping[str, Provider]] = dict,
    ) -> None:
        self._found: dict[str, Provider | str] = dict(places)
        self._more: Callable[[], Mapping[str, Provider]] | None = more

    def __getitem__(self, type_: str) -> Provider:
        """Return the provider of this type.

        Raises:
            KeyError: there is none.
        """
        found = self._found.get(type_)
        if found is None:
            found = self._all()[type_]
        if isinstance(found, str):
            module, _, name = found.partition(":")
            found = getattr(
                importlib.import_module(f"extproc.providers.{module}"), name
            )
            self._found[type_] = found
        return found

    def __setitem__(self, type_: str, provider: Provider) -> None:
        """Have `provider` for this type from now on."""
        self._all()[type_] = provider

    def __delitem__(self, type_: str) -> None:
        """Forget this type."""
        del self._all()[type_]

    def __iter__(self) -> Iterator[str]:
        """Go over the types, in their order."""
        return iter(self._all())

    def __len__(self) -> int:
        """Count them."""
        return len(self._all())

    def _all(self) -> dict[str, Provider | str]:
        if self._more is not None:
            more, self._more = self._more, None
            self._found.update(more())
        return self._found
