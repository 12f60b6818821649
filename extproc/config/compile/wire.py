"""Envoy's messages, and their JSON.

The types come from ``envoy_data_plane``: a field or value that Envoy's API does not know
is an error to mypy, and again when it is built. What Envoy 1.40 has and the package does
not is a `newer` message; ``envoy --mode validate`` is its judge.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

import betterproto2
import msgspec
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.listener import v3 as listener
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import (
    v3 as hcm,
)
from envoy_data_plane.google.protobuf import Any
from envoy_data_plane.message_pool import default_message_pool

Json = dict[str, object]

TYPE_PREFIX = "type.googleapis.com/"


class _Unserialized(Any):
    """An ``Any`` that keeps its content as it is until the JSON is written.

    The package's own turns it into bytes at once, and those can hold no `newer` message.
    """

    content: Callable[[], Json]

    def to_dict(self, **_: object) -> Json:
        return {"@type": self.type_url, **self.content()}


def newer(name: str, **content: object) -> Any:
    """Return a message of the type `name`, which the package does not know."""
    return _unserialized(TYPE_PREFIX + name, lambda: content)


def pack(message: betterproto2.Message) -> Any:
    """Return `message` as the ``Any`` that an extension's configuration is."""
    url = default_message_pool.type_to_url[type(message)]
    return _unserialized(url, lambda: json_of(message))


class _Empty(Any):
    def to_dict(self, **_: object) -> Json:
        return {}


def empty() -> Any:
    """Return an ``Any`` with nothing in it: of a route, it turns a filter on."""
    return _Empty()


def _unserialized(url: str, content: Callable[[], Json]) -> Any:
    message = _Unserialized(type_url=url)
    # A pydantic dataclass, which refuses what is not a field.
    object.__setattr__(message, "content", content)
    return message


def http_filter(name: str, config: Any, *, disabled: bool = False) -> hcm.HttpFilter:
    """Return an HTTP filter, downstream or upstream; a disabled one is a route's to use."""
    return hcm.HttpFilter(
        name=f"envoy.filters.http.{name}", typed_config=config, disabled=disabled
    )


def network_filter(name: str, config: Any) -> listener.Filter:
    """Return a network filter."""
    return listener.Filter(name=f"envoy.filters.network.{name}", typed_config=config)


def seconds(value: float) -> dt.timedelta:
    """Return a duration."""
    return dt.timedelta(seconds=value)


def watched(folder: str, file: str) -> core.ConfigSource:
    """Return the source of a resource in `file`, read again when `folder` changes.

    Envoy notices renames in the folder, not writes to the file.
    """
    return core.ConfigSource(
        path_config_source=core.PathConfigSource(
            path=f"{folder}/{file}",
            watched_directory=core.WatchedDirectory(path=folder),
        ),
        resource_api_version=core.ApiVersion.V3,
    )


def json_of(message: betterproto2.Message) -> Json:
    """Return `message` as protobuf's JSON, with the fields' own names."""
    # betterproto2's own casings make "consecutive_5_xx" of "consecutive_5xx".
    return message.to_dict(casing=_as_it_is)  # type: ignore[arg-type]


def dump(value: Json) -> bytes:
    """Write JSON that is the same for the same value, and that a diff can show."""
    text = msgspec.json.encode(value, order="deterministic")
    return msgspec.json.format(text, indent=1) + b"\n"


def discovery(resources: Sequence[betterproto2.Message]) -> bytes:
    """Write the file of a filesystem subscription.

    Without ``version_info``: Envoy takes a hash of the content, and the file stays the
    same when nothing in it changed.
    """
    return dump({"resources": [json_of(pack(resource)) for resource in resources]})


def _as_it_is(name: str) -> str:
    return name
