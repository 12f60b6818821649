"""What a response repeats of the request that it answers.

https://platform.openai.com/docs/api-reference/responses/object. OpenAI's own response has
the settings that it was made with; a client reads them back, and the SDKs' types demand
some. Here they are the client's own words, with what OpenAI would add to them: the members
that it left out of a tool, of ``reasoning``, ``text`` and ``prompt_cache_options``. Where
the client said nothing of a setting, what the provider did is not known, and the member is
null or OpenAI's default.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc import canonical
from extproc.formats.base import Members
from extproc.formats.openai_responses import wire
from extproc.formats.openai_responses.wire import present

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_KIND = msgspec.json.Decoder(wire.Kind)

REPEATED = frozenset({
    "background", "instructions", "max_output_tokens", "max_tool_calls", "metadata",
    "parallel_tool_calls", "prompt_cache_key", "prompt_cache_retention",
    "safety_identifier", "temperature", "tool_choice", "top_logprobs", "top_p",
    "truncation", "user",
})  # fmt: skip
"""Members that stand in a response as the client spelled them."""

_FILLED: Mapping[str, Mapping[str, bytes]] = {
    "reasoning": {"effort": b"null", "summary": b"null"},
    "text": {"format": b'{"type":"text"}'},
    "prompt_cache_options": {"mode": b'"implicit"', "ttl": b'"30m"'},
}
"""Members of which a response says more than the client has to."""

_FUNCTION = {"description": b"null", "parameters": b"null", "strict": b"true"}


def read_echo(members: Members) -> dict[str, msgspec.Raw]:
    """Return what the answer repeats of a request that has been read."""
    said = {name: raw for name, raw in members.items() if present(raw) is not None}
    echo = {name: said[name] for name in REPEATED & said.keys()}
    for name, rest in _FILLED.items():
        if name in said:
            echo[name] = _fill(said[name], rest)
    if "tools" in said:
        tools = [_tool(raw) for raw in _LIST.decode(said["tools"])]
        echo["tools"] = wire.raw(tools)
    # An event is one line, however many the client wrote.
    return {name: msgspec.Raw(_one_line(raw)) for name, raw in echo.items()}


def keep(request: canonical.Request) -> dict[str, msgspec.Raw]:
    """See `ClientFormat.keep`."""
    return request.echo


def _tool(raw: msgspec.Raw) -> msgspec.Raw:
    return _fill(raw, _FUNCTION) if _KIND.decode(raw).type == "function" else raw


def _fill(raw: msgspec.Raw, rest: Mapping[str, bytes]) -> msgspec.Raw:
    """Return an object with the members of `rest` that it lacks."""
    members = _OBJECT.decode(raw)
    missing = {
        name: msgspec.Raw(text) for name, text in rest.items() if name not in members
    }
    return wire.raw({**members, **missing}) if missing else raw


def _one_line(raw: msgspec.Raw) -> bytes:
    return msgspec.json.format(bytes(raw), indent=-1)
