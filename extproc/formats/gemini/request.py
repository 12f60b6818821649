"""A canonical request as a body for ``generateContent`` and ``streamGenerateContent``.

https://ai.google.dev/api/generate-content. The model, and whether to stream, are in the
path. Schemas and arguments are spliced in as the client wrote them. Nothing is clamped;
what cannot be said is either

- refused by the client's name for it, when leaving it out would change what the client
  gets back: more than five stop sequences, a seed of more than 32 bits, tools that are no
  functions, a JSON answer beside a search of the web where the model has not both; or
- left out and reported, when it tunes or labels and Google's own OpenAI-compatible API
  ignores it too: `DROPPED`, ``logit_bias``, the end user, a service tier that Google does
  not sell, sampling and penalties on models that no longer have them.

A JSON answer beside functions is asked for by way of a call where the model has not both
(`answer_tool`). ``safety_settings``, a list as in Gemini's API, and ``cached_content``, the name of a
context that was cached before, pass. How much to think is told in
`thinking`, how messages become contents in `conversation`, tools in `tools`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats import answer_tool
from extproc.formats.base import Rendered, Unsupported
from extproc.formats.caching import bind
from extproc.formats.citing import results_as_texts
from extproc.formats.gemini import thinking, wire
from extproc.formats.gemini.conversation import Drop, write_conversation
from extproc.formats.gemini.models import Abilities, abilities
from extproc.formats.gemini.tools import (
    write_output_format,
    write_tool_choice,
    write_tools,
    write_web_tools,
)

DROPPED = frozenset({
    "metadata", "prediction", "prompt_cache_key", "prompt_cache_retention",
    "safety_identifier", "store", "stream_options", "verbosity",
})  # fmt: skip
"""Extras that only tune or label."""

CACHED_CONTENT = ("cached_content", "cachedContent")
"""A context that was cached before, by its name: https://ai.google.dev/api/caching."""

SAFETY_SETTINGS = ("safety_settings", "safetySettings")

SERVICE_TIERS: Mapping[str, str | None] = {
    "auto": None, "default": "standard", "standard_only": "standard",
    "flex": "flex", "priority": "priority",
}  # fmt: skip

MOST_STOPS = 5
SEEDS = range(-(2**31), 2**31)


class _SafetySetting(msgspec.Struct, forbid_unknown_fields=True):
    category: str
    threshold: str


_SAFETY_SETTINGS = msgspec.json.Decoder(list[_SafetySetting])


def write_request(
    request: canonical.Request,
    model: str,
    default_max_tokens: int,  # noqa: ARG001  no limit is a limit of the model's own
) -> Rendered:
    """Render `request` for `model`; see `ProviderFormat.write_request`."""
    left_out: dict[str, None] = {}
    drop = left_out.setdefault
    able = abilities(model)
    asked = _asked(bind(results_as_texts(request), drop, None), able)
    body = _body(asked.request, able, drop)
    return Rendered(msgspec.json.encode(body), tuple(left_out), asked.tool)


def _asked(request: canonical.Request, able: Abilities) -> answer_tool.Asked:
    """Ask a model for JSON by way of a call that has it not beside functions."""
    functions = any(isinstance(tool, canonical.Tool) for tool in request.tools)
    shape = request.output_format
    bound = shape is not None and shape.kind != "text"
    if able.json_with_tools or not functions or not bound:
        return answer_tool.Asked(request, "")
    # It may think all the same, which a Claude may not.
    return answer_tool.ask(request, one_call=False)


def _body(request: canonical.Request, able: Abilities, drop: Drop) -> wire.Request:
    _refuse(request)
    _drop_labels(request, drop)
    system, contents = write_conversation(request.messages, able, drop)
    functions = write_tools(request, able, drop)
    config = _config(request, able, drop)
    web = write_web_tools(request, drop)
    write_output_format(request, config, able, drop, tools=bool(functions or web))
    config.thinking_config = thinking.plan(request, able, drop)
    return wire.Request(
        contents=contents,
        system_instruction=wire.Content(system) if system else None,
        tools=[wire.Tool(functions)] if functions else web or None,
        tool_config=write_tool_choice(request, functions),
        generation_config=None if config == wire.GenerationConfig() else config,
        safety_settings=_safety_settings(request),
        cached_content=_cached_content(request),
        service_tier=_service_tier(request, drop),
    )


def _refuse(request: canonical.Request) -> None:
    for name, value in request.extras.items():
        said = bytes(value).strip()
        text_only = name == "modalities" and said.replace(b" ", b"") == b'["text"]'
        known = name in DROPPED or name in (*SAFETY_SETTINGS, *CACHED_CONTENT)
        if not known and said != b"null" and not text_only:
            raise Unsupported(f"`{name}` cannot be kept with Gemini's API.", param=name)
    if len(request.stop) > MOST_STOPS:
        raise Unsupported(
            f"Gemini's API takes at most {MOST_STOPS} stop sequences.",
            param=request.name_of("stop"),
        )
    if request.seed is not None and request.seed not in SEEDS:
        raise Unsupported(
            "Gemini's API takes a seed of 32 bits, with its sign.", param="seed"
        )


def _drop_labels(request: canonical.Request, drop: Drop) -> None:
    if request.end_user is not None:
        drop(request.name_of("end_user"))
    if request.logit_bias is not None and bytes(request.logit_bias) != b"{}":
        drop("logit_bias")
    for name, value in request.extras.items():
        if name in DROPPED and bytes(value).strip() != b"null":
            drop(name)


def _config(
    request: canonical.Request, able: Abilities, drop: Drop
) -> wire.GenerationConfig:
    config = wire.GenerationConfig(
        candidate_count=request.n,
        max_output_tokens=request.max_output_tokens,
        stop_sequences=request.stop or None,
        seed=request.seed,
    )
    if able.sampling:
        config.temperature = request.temperature
        config.top_p = request.top_p
        config.top_k = request.top_k
    else:
        if request.temperature not in {None, 1}:
            drop("temperature")
        if request.top_p not in {None, 1}:
            drop("top_p")
        if request.top_k is not None:
            drop("top_k")
    if able.penalties:
        config.presence_penalty = request.presence_penalty
        config.frequency_penalty = request.frequency_penalty
    else:
        if request.presence_penalty:
            drop("presence_penalty")
        if request.frequency_penalty:
            drop("frequency_penalty")
    if request.logprobs:
        config.response_logprobs = True
        config.logprobs = request.top_logprobs or None
    return config


def _safety_settings(request: canonical.Request) -> msgspec.Raw | None:
    name = next((name for name in SAFETY_SETTINGS if name in request.extras), None)
    if name is None:
        return None
    try:
        wire.decode(_SAFETY_SETTINGS, bytes(request.extras[name]))
    except msgspec.MsgspecError as exc:
        raise BadRequest(
            f"It must be a list of objects with category and threshold: {exc}.",
            param=name,
        ) from exc
    return request.extras[name]


def _cached_content(request: canonical.Request) -> str | None:
    """Return the name of the cached context, which has instructions and tools itself."""
    name = next((name for name in CACHED_CONTENT if name in request.extras), None)
    if name is None:
        return None
    try:
        said = msgspec.json.decode(request.extras[name], type=str | None)
    except msgspec.ValidationError:
        raise BadRequest("It must be a string.", param=name) from None
    instructed = any(
        message.role in {"system", "developer"} for message in request.messages
    )
    if said and (instructed or request.tools):
        raise Unsupported(
            "A cached context of Gemini's has its instructions and tools in it: the "
            "request can have none.",
            param=name,
        )
    return said or None


def _service_tier(request: canonical.Request, drop: Drop) -> str | None:
    if request.service_tier is None:
        return None
    if request.service_tier not in SERVICE_TIERS:
        drop("service_tier")
    return SERVICE_TIERS.get(request.service_tier)
