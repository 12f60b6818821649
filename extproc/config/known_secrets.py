"""Which secrets a configuration has: what no line of a log may say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel, SecretStr

_PASSWORD: Final = re.compile(r"://[^\s/@:]*:([^\s/@]+)@")


def secrets_in(value: object) -> Iterator[str]:
    """Yield every secret in a configuration, at any depth; passwords in URLs, too."""
    match value:
        case SecretStr():
            yield value.get_secret_value()
            yield from _PASSWORD.findall(value.get_secret_value())
        case BaseModel():
            for _, inner in value:
                yield from secrets_in(inner)
        case Mapping():
            for inner in value.values():
                yield from secrets_in(inner)
        case tuple() | list():
            for inner in value:
                yield from secrets_in(inner)
        case str():
            yield from _PASSWORD.findall(value)
        case _:
            return
