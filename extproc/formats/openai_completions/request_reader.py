"""A legacy completion request in, the canonical request out.

A model of today does not continue a text, it answers: the prompt becomes what the user
says. What would make another thing of it is kept by its name, and refused by whoever
cannot do it: a ``suffix``, ``echo``, a ``best_of`` that picks, log probabilities (theirs
have a shape of their own). Several prompts or token numbers are refused at once.

``max_tokens`` is 16 where the client leaves it out, as it is at OpenAI.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc import canonical
from extproc.formats.base import Members, Unsupported
from extproc.formats.openai_completions import wire
from extproc.formats.openai_validation import Wording, missing

_DECODER = msgspec.json.Decoder(wire.Request)
_WORDING = Wording({})

WORDS = frozenset(wire.Request.__struct_fields__)

NAMES: Mapping[str, str] = {
    "messages": "prompt",
    "max_output_tokens": "max_tokens",
    "end_user": "user",
    "include_usage": "stream_options",
}
"""Ours to the canonical names."""

DEFAULT_MAX_TOKENS = 16
"""OpenAI's own."""


def read_request(body: bytes, members: Members) -> canonical.Request:
    """Read a request; `members` are the top level of `body`.

    Raises:
        BadRequest: not this format; `param` names the member.
        Unsupported: a prompt that is not one text.
    """
    said = _WORDING.decode(_DECODER, body)
    options = said.stream_options or wire.StreamOptions()
    prompt = canonical.Text(_read_prompt(said.prompt))
    limit = DEFAULT_MAX_TOKENS if said.max_tokens is None else said.max_tokens
    return canonical.Request(
        model=said.model,
        messages=(canonical.Message("user", (prompt,), where="prompt"),),
        max_output_tokens=limit,
        temperature=said.temperature,
        top_p=said.top_p,
        stop=(said.stop,) if isinstance(said.stop, str) else tuple(said.stop or ()),
        seed=said.seed,
        n=said.n,
        presence_penalty=said.presence_penalty,
        frequency_penalty=said.frequency_penalty,
        logit_bias=members["logit_bias"] if said.logit_bias is not None else None,
        end_user=said.user,
        stream=bool(said.stream),
        include_usage=bool(options.include_usage),
        extras=_read_extras(said, members, options),
        names=dict(NAMES),
    )


def _read_prompt(said: str | list[str | int | list[int]] | None) -> str:
    match said:
        case None | []:
            raise missing("prompt")
        case str() as text:
            return text
        case [str() as text]:
            return text
        case [str(), *_]:
            raise Unsupported(
                "Only one prompt can be kept with this provider.", param="prompt"
            )
        case _:
            raise Unsupported(
                "A prompt of token numbers cannot be kept with this provider.",
                param="prompt",
            )


def _read_extras(
    said: wire.Request, members: Members, options: wire.StreamOptions
) -> dict[str, msgspec.Raw]:
    extras = {
        name: raw
        for name, raw in members.items()
        if name not in WORDS and raw != wire.NULL
    }
    if said.suffix:
        extras["suffix"] = members["suffix"]
    if said.echo:
        extras["echo"] = members["echo"]
    if said.best_of not in (None, said.n or 1):
        extras["best_of"] = members["best_of"]
    # Padding against eavesdroppers who measure lengths: off is what we do anyway.
    if options.include_obfuscation:
        extras["stream_options"] = members["stream_options"]
    return extras
