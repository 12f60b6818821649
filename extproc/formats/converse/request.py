"""A canonical request as a body for ``POST /model/{modelId}/converse``.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html. Schemas
and tool arguments are spliced in as the client wrote them. Nothing is clamped; what cannot
be said is either

- refused by the client's name for it, when leaving it out would change what the client
  gets back: ``n`` > 1, log probabilities, a stop sequence of nothing, sampling that the
  model does not have; or
- left out and reported, when it tunes or labels: `DROPPED`, seeds, penalties, the end
  user, a ``top_k`` of a model without one, a service tier that AWS does not sell.

A JSON mode without a schema, and a schema on a model that takes none, are asked for by way
of a call where the model can be made to call (`answer_tool`), and refused elsewhere.
``metadata`` becomes ``requestMetadata`` where AWS's logs take it. `PASSED` are Bedrock's own
fields, which no other format has, for clients who know where they are. What the families of
models take is told in `models`, how messages become turns in `conversation`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats import answer_tool
from extproc.formats.base import Rendered, Unsupported
from extproc.formats.caching import bind
from extproc.formats.citing import results_as_texts
from extproc.formats.converse import claude, thoughts, wire
from extproc.formats.converse.content import Draft, Drop
from extproc.formats.converse.conversation import (
    thoughtless,
    tools_called,
    write_conversation,
)
from extproc.formats.converse.models import Family, family_of
from extproc.formats.converse.tools import write_tools
from extproc.formats.json_schema import ANTHROPIC, closes, narrow_format

DROPPED = frozenset({
    "prediction", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "store", "stream_options", "verbosity",
})  # fmt: skip
"""Extras that only tune or label."""

PASSED = frozenset({"guardrailConfig", "performanceConfig", "promptVariables"})
"""Extras that are Bedrock's own."""

SERVICE_TIERS = {
    "auto": None, "default": None, "standard_only": None,
    "priority": "priority", "flex": "flex", "reserved": "reserved",
}  # fmt: skip
"""Those that a client may name, and AWS's; None is what it does unasked."""

MOST_STOPS = 2500
MOST_METADATA = 16
_KEY = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]{1,256}")
_VALUE = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]{0,256}")

_OBJECT = msgspec.json.Decoder(dict[str, Any])


def write_request(
    request: canonical.Request, model: str, default_max_tokens: int
) -> Rendered:
    """Render `request` for `model`; see `ProviderFormat.write_request`."""
    left_out: dict[str, None] = {}
    drop = left_out.setdefault
    family = family_of(model)
    able = claude.abilities(model) if family.claude else None
    if not family.claude:
        request = results_as_texts(request)
    asked = answer_tool.bind(
        bind(request, drop, family.cache),
        drop,
        native=(family.structured if able is None else able.json_schema)
        and closes(request.output_format.schema if request.output_format else None),
        forced=bool(family.forced) and (able is None or able.forced_tools),
        one_call=able is not None,
    )
    body = _body(asked.request, family, able, default_max_tokens, drop)
    return Rendered(msgspec.json.encode(body), tuple(left_out), asked.tool)


def _body(
    request: canonical.Request,
    family: Family,
    able: claude.Abilities | None,
    default_max_tokens: int,
    drop: Drop,
) -> wire.ConverseBody:
    _refuse(request)
    _drop_tuning(request, drop)
    draft = Draft(drop, family.claude)
    system, turns = write_conversation(
        request.messages,
        draft,
        system_turns=able is not None and able.system_turns,
        prefill=able is None or able.prefill,
    )
    if able is None:
        mind = thoughts.plan(request, family, drop)
    else:
        mind = _claude_thoughts(
            request, able, default_max_tokens, drop, late=thoughtless(turns)
        )
    structured = family.structured if able is None else able.json_schema
    tools = write_tools(
        request,
        draft,
        called=tools_called(turns),
        family=family,
        structured=structured,
        able=able,
        thinks=mind.on,
    )
    temperature, top_p, top_k = _sampling(request, able, family, mind, drop)
    stop = _stop_sequences(request, family)
    fields = {**mind.fields, **tools.fields, **top_k}
    config = wire.InferenceConfig(mind.max_tokens, temperature, top_p, stop)
    return wire.ConverseBody(
        messages=turns,
        system=system or None,
        inference_config=None if config == wire.InferenceConfig() else config,
        tool_config=tools.config,
        output_config=_output_config(request, mind.effort, drop),
        additional_model_request_fields=fields or None,
        # Which sequence it was, the stop reason does not say.
        additional_model_response_field_paths=("/stop_sequence",)
        if stop and family.claude
        else (),
        request_metadata=_metadata(request, drop),
        service_tier=_service_tier(request, drop),
        guardrail_config=request.extras.get("guardrailConfig"),
        performance_config=request.extras.get("performanceConfig"),
        prompt_variables=request.extras.get("promptVariables"),
    )


# ---------------------------------------------------------------- what has no word


def _refuse(request: canonical.Request) -> None:
    if request.n is not None and request.n != 1:
        raise Unsupported("Bedrock gives one answer.", param="n")
    if request.logprobs:
        raise Unsupported(
            "Bedrock has no log probabilities.", param=request.name_of("logprobs")
        )
    if request.top_logprobs:
        raise Unsupported("Bedrock has no log probabilities.", param="top_logprobs")
    for name, value in request.extras.items():
        said = bytes(value).strip()
        text_only = name == "modalities" and said.replace(b" ", b"") == b'["text"]'
        known = name in DROPPED or name in PASSED or name == "metadata"
        if not known and said != b"null" and not text_only:
            raise Unsupported(f"`{name}` cannot be kept with Bedrock.", param=name)


def _drop_tuning(request: canonical.Request, drop: Drop) -> None:
    if request.seed is not None:
        drop("seed")
    if request.presence_penalty:
        drop("presence_penalty")
    if request.frequency_penalty:
        drop("frequency_penalty")
    if request.logit_bias is not None and bytes(request.logit_bias) != b"{}":
        drop("logit_bias")
    if request.end_user is not None:
        drop(request.name_of("end_user"))
    for name, value in request.extras.items():
        if name in DROPPED and bytes(value) != b"null":
            drop(name)


# ---------------------------------------------------------------- sampling and limits


def _claude_thoughts(
    request: canonical.Request,
    able: claude.Abilities,
    default_max_tokens: int,
    drop: Drop,
    *,
    late: bool,
) -> thoughts.Thoughts:
    plan = claude.plan(request, able, default_max_tokens, drop, thoughtless=late)
    fields = {} if plan.config is None else {"thinking": plan.config}
    # Converse has a limit of its own where there is none, but a budget must fit in one.
    budgeted = plan.config is not None and plan.config.budget_tokens is not None
    given = request.max_output_tokens is not None or budgeted
    limit = plan.max_tokens if given else None
    return thoughts.Thoughts(limit, fields, plan.effort, plan.on)


def _sampling(
    request: canonical.Request,
    able: claude.Abilities | None,
    family: Family,
    mind: thoughts.Thoughts,
    drop: Drop,
) -> tuple[float | None, float | None, dict[str, Any]]:
    """Return temperature, top_p, and top_k as the additional field that it is."""
    temperature, top_p, top_k = request.temperature, request.top_p, request.top_k
    for name, value in (("temperature", temperature), ("top_p", top_p)):
        if value is not None and not 0 <= value <= 1:
            raise Unsupported(
                f"Bedrock's {name} is between 0 and 1, not {value:g}.", param=name
            )
    if able is not None:
        temperature, top_p, top_k = claude.sampling(request, able, thinks=mind.on)
    if top_k is None:
        return temperature, top_p, {}
    if not family.top_k:
        drop(request.name_of("top_k"))
        return temperature, top_p, {}
    field: Any = top_k
    for name in reversed(family.top_k):
        field = {name: field}
    return temperature, top_p, field


def _stop_sequences(request: canonical.Request, family: Family) -> tuple[str, ...]:
    for sequence in request.stop:
        if not sequence or (family.claude and sequence.isspace()):
            raise Unsupported(
                f"This model takes no blank stop sequence such as {sequence!r}.",
                param="stop",
            )
    if len(request.stop) > MOST_STOPS:
        raise Unsupported(
            f"Bedrock takes {MOST_STOPS} stop sequences at most.", param="stop"
        )
    return request.stop


def _metadata(request: canonical.Request, drop: Drop) -> dict[str, str] | None:
    """Return the labels that AWS's logs take."""
    raw = request.extras.get("metadata", msgspec.Raw(b"null"))
    if bytes(raw) == b"null":
        return None
    try:
        given = _OBJECT.decode(raw)
    except msgspec.ValidationError:
        raise BadRequest("It must be an object.", param="metadata") from None
    kept: dict[str, str] = {}
    for key, value in given.items():
        fits = (
            isinstance(value, str) and _KEY.fullmatch(key) and _VALUE.fullmatch(value)
        )
        if fits and len(kept) < MOST_METADATA:
            kept[key] = value
        else:
            drop("metadata")
    return kept or None


def _service_tier(request: canonical.Request, drop: Drop) -> wire.ServiceTier | None:
    if request.service_tier is None:
        return None
    if request.service_tier not in SERVICE_TIERS:
        drop("service_tier")
    tier = SERVICE_TIERS.get(request.service_tier)
    return None if tier is None else wire.ServiceTier(tier)


def _output_config(
    request: canonical.Request, effort: str | None, drop: Drop
) -> wire.OutputConfig | None:
    shape = request.output_format
    name = request.name_of("output_format")
    if shape is None or shape.kind == "text":
        return None if effort is None else wire.OutputConfig(effort=effort)
    if shape.schema is None:
        raise BadRequest(
            "A response format of type `json_schema` needs its schema.",
            param=f"{name}.json_schema.schema",
        )
    where = name if name != "response_format" else f"{name}.json_schema"
    narrowed = narrow_format(
        shape.schema, ANTHROPIC, f"{where}.schema", drop, param=where
    )
    schema = wire.JsonSchema(bytes(narrowed).decode(), shape.name, shape.description)
    return wire.OutputConfig(
        wire.TextFormat("json_schema", wire.Structure(schema)), effort
    )
