"""Services and servers of OpenAI's chat API: each is an entry of data, not code.

What they have in common with OpenAI is the format; where they differ, the entry names the
kind (`formats.openai_chat.quirks`) and the page that says so. Compiled as this module is
imported: a worker reads no file for them.
"""

from __future__ import annotations

from collections.abc import Mapping

from extproc.providers.base import Provider
from extproc.providers.presets import asia, clouds, servers, services
from extproc.providers.presets.preset import Preset

PRESETS: Mapping[str, Preset] = {
    **services.PRESETS,
    **clouds.PRESETS,
    **asia.PRESETS,
    **servers.PRESETS,
}
"""By the type that a configuration names. The order decides who serves a model that
several are surely able to serve, in a start without configuration."""

PROVIDERS: Mapping[str, Provider] = {
    type_: preset.provider(type_) for type_, preset in PRESETS.items()
}
