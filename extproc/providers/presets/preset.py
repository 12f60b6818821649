"""A service or server of OpenAI's chat API, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from extproc.formats import openai_chat, openai_completions, openai_responses
from extproc.formats.openai_chat.quirks import quirky
from extproc.providers import openai_dialects
from extproc.providers.base import Dialect, Provider


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """All that makes one of them what it is."""

    title: str
    """What it calls itself."""
    base_url: str
    """With the version part of the path. What stands in braces is in `variables`."""
    key: str
    """The environment variable that its documentation keeps the key in."""
    source: str
    """The page that says where it is and how it is called."""
    name: str = ""
    """``gen_ai.provider.name``; empty: its type, as OpenTelemetry has no name for it."""
    header: str = "authorization"
    prefix: str = "Bearer "
    responses: bool = False
    """It serves OpenAI's Responses and not its chat."""
    url: str = ""
    """The environment variable that says where a server of one's own is."""
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The environment variable of each placeholder in `base_url`."""
    keyless: bool = False
    """It is one's own, and may do without a key."""
    patterns: tuple[str, ...] = ()
    """Globs of models that nobody else serves under these names."""
    models: tuple[str, ...] = ()
    """Well-known models that the `patterns` match."""
    quirks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Kinds of `formats.openai_chat.quirks`, each with the page that tells of it."""
    completions: str = ""
    """Where it serves legacy completions, if it does, such as ``/completions``."""

    def provider(self, type_: str) -> Provider:
        """Return the provider that a configuration names `type_`."""
        quirks = ("no_proofs_back", *self.quirks)
        chat = quirky(openai_chat.PROVIDER, quirks, self.title)
        return Provider(
            name=self.name or type_,
            title=self.title,
            format=openai_responses.PROVIDER if self.responses else chat,
            base_url=self.base_url,
            chat_path="/responses" if self.responses else "/chat/completions",
            others=(
                *(
                    (Dialect(openai_completions.PROVIDER, self.completions),)
                    if self.completions
                    else ()
                ),
                *openai_dialects.COMMON,
            ),
            forward_path="{path}",
            credential_header=self.header,
            credential_prefix=self.prefix,
            key_variable=self.key,
            url_variable=self.url,
            variables=self.variables,
            keyless=self.keyless,
            model_patterns=self.patterns,
            models=self.models,
            quirks=tuple(self.quirks),
            source=self.source,
        )


def server(
    title: str,
    port: int,
    source: str,
    *,
    name: str,
    path: str = "/v1",
    quirks: Mapping[str, str] | None = None,
) -> Preset:
    """Return the preset of a server that one runs oneself, on its usual port."""
    variable = name.upper()
    return Preset(
        title=title,
        base_url=f"http://127.0.0.1:{port}{path}",
        key=f"{variable}_API_KEY",
        url=f"{variable}_BASE_URL",
        keyless=True,
        source=source,
        completions="/completions",
        quirks=quirks or {},
    )
