"""Who serves: a name, an address, a credential's place, over a format and a framing."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping

from extproc.formats.base import CHAT, AnyProviderFormat, no_stream_reader
from extproc.framing.base import SSE, Framing


def as_it_is(model: str) -> str:
    """Name a model in a path as it is named everywhere."""
    return model


@dataclasses.dataclass(frozen=True, slots=True)
class Dialect:
    """One API that a provider serves, and where."""

    format: AnyProviderFormat
    path: str
    """See `Provider.chat_path`."""
    stream_path: str | None = None
    families: tuple[str, ...] = ()
    """What the names of the models that speak it have in them, such as ``titan-embed``,
    where a provider has several APIs for one operation; empty: all models."""

    path_model: Callable[[str], str] = as_it_is
    """How the path names the request model, where it may not be named in full."""

    def serves(self, model: str) -> bool:
        """Say whether the request model `model` speaks it."""
        return not self.families or any(family in model for family in self.families)


@dataclasses.dataclass(frozen=True, slots=True)
class Provider:
    """One kind of provider; a configuration may have several of a kind."""

    name: str
    """``gen_ai.provider.name`` of the OpenTelemetry GenAI conventions."""
    format: AnyProviderFormat
    """Of its chat API; of a service without one, of what it is for."""
    base_url: str
    """Where the provider lives when the configuration does not say; with the version
    part of the path, as its SDK spells it; empty where every account has its own.
    ``{region}`` and the like stand for settings of the configuration, here and in
    paths."""
    chat_path: str
    """Appended to the path of the base URL; ``{model}`` stands for the request model,
    where the path and not the body says it."""
    credential_header: str
    """Where Envoy puts the credential."""
    credential_prefix: str = ""
    """Stands before the credential, such as ``Bearer ``."""
    stream_path: str | None = None
    """Takes the place of `chat_path` where a streamed answer has a path of its own."""
    others: tuple[Dialect, ...] = ()
    """Its further APIs: of chat, each for clients that speak it themselves; of every other
    operation all that it has."""
    forward_path: str = ""
    """Appended to the path of the base URL for what passes to it by its path alone, such
    as files; ``{path}`` stands for the client's own behind ``/v1``. Empty: nothing does."""
    framing: Framing = SSE
    """How a streamed answer is cut, and the content-type that it has."""
    variant: Callable[[Mapping[str, str]], Provider] | None = None
    """(settings) -> the provider that they mean, where its addresses depend on which of
    them there are."""
    tokens: str = ""
    """Who gives out tokens for it: ``entra`` or ``google``. Where the configuration has
    an identity there instead of a key, control fetches them, and they are sent as
    ``authorization: Bearer``."""
    aws_service: str = ""
    """The service's name in AWS signatures. Envoy signs the requests for it where the
    configuration has no credential of its own."""
    request_id_header: str = ""
    """Where it names its own id of the request; clients see it as
    ``x-upstream-request-id``."""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Sent with every request."""
    key_variable: str = ""
    """The environment variable that its SDK reads the key from."""
    url_variable: str = ""
    """The environment variable that says where a server of one's own is."""
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What stands in braces in `base_url`, and the environment variable of each."""
    keyless: bool = False
    """A server of one's own, which may do without a credential."""
    title: str = ""
    """What it calls itself."""
    quirks: tuple[str, ...] = ()
    """The manners that `format` has been given: `formats.openai_chat.quirks.KINDS`."""
    source: str = ""
    """Where its documentation says all this."""
    model_patterns: tuple[str, ...] = ()
    """Globs of the models that are surely its own, for a start without configuration."""
    models: tuple[str, ...] = ()
    """Well-known models, listed by ``/v1/models`` in a start without configuration."""

    def dialect(
        self,
        client: str,
        operation: str = CHAT,
        model: str = "",
        *,
        only_main: bool = False,
    ) -> Dialect | None:
        """Return the API to speak for a client of the format `client`: its own, if served.

        Its bytes can pass then; every other client is translated to the main API of the
        `operation`, the first that serves the request model `model`. None: there is none.
        """
        main = None
        if operation == self.format.operation:
            main = Dialect(self.format, self.chat_path, self.stream_path)
            if (only_main and operation == CHAT) or main.format.name == client:
                return main
        for other in self.others:
            form = other.format
            if form.operation == operation and other.serves(model):
                if form.name == client:
                    return other
                if main is None:
                    main = other
        return main

    def alternatives(
        self, dialect: Dialect, operation: str = CHAT, model: str = ""
    ) -> Iterator[Dialect]:
        """Yield the other APIs of the operation that clients are translated to.

        What `dialect` has no word for one of them may say.
        """
        for other in self.others:
            form = other.format
            if (
                form.operation == operation
                and form.name != dialect.format.name
                and form.stream_reader is not no_stream_reader
                and other.serves(model)
            ):
                yield other

    def located(self, settings: Mapping[str, str]) -> Provider:
        """Return it with these settings in its addresses; those it lacks stay as they are."""
        chosen = self if self.variant is None else self.variant(settings)

        def filled(text: str) -> str:
            return _PLACE.sub(lambda at: settings.get(at[1], at[0]), text)

        def filled_or_none(text: str | None) -> str | None:
            return None if text is None else filled(text)

        return dataclasses.replace(
            chosen,
            base_url=filled(chosen.base_url),
            chat_path=filled(chosen.chat_path),
            stream_path=filled_or_none(chosen.stream_path),
            forward_path=filled(chosen.forward_path),
            others=tuple(
                dataclasses.replace(
                    other,
                    path=filled(other.path),
                    stream_path=filled_or_none(other.stream_path),
                )
                for other in chosen.others
            ),
        )

    def missing(self, base_url: str | None) -> list[str]:
        """Return the settings that its addresses still lack; `base_url` is given or not."""
        texts = [base_url or self.base_url, self.chat_path, self.stream_path or ""]
        for other in self.others:
            texts += (other.path, other.stream_path or "")
        names = [name for text in texts for name in _PLACE.findall(text)]
        return [name for name in dict.fromkeys(names) if name != "model"]


_PLACE = re.compile(r"\{([a-z_]+)\}")


def fill_path(path: str, model: str) -> str:
    """Return `path` with the request model in it, percent-encoded whole.

    A client's model may be any text: a slash or question mark in it must not reach
    another endpoint with our credential.
    """
    if "{model}" not in path:
        return path
    return path.replace("{model}", urllib.parse.quote(model, safe=""))
