"""A canonical request in, a Cohere chat request out.

https://docs.cohere.com/reference/chat. Left out and reported, as they only tune or label:
``logit_bias``, ``user``, service tiers, and `DROPPED`. Refused, as the answer would be
another: more than one choice, log probabilities, one call at a time. One tool is forced by
showing the model no other; of an allowed subset only the subset is shown. Beside tools
Cohere binds no text to a schema: there it is asked for by way of a call (`answer_tool`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats import answer_tool, reasoning
from extproc.formats.base import Rendered, Unsupported
from extproc.formats.caching import bind
from extproc.formats.citing import results_as_texts
from extproc.formats.cohere.messages import write_messages

Drop = Callable[[str], None]
Json = dict[str, Any]

DROPPED = frozenset({
    "metadata", "prediction", "prompt_cache_key", "prompt_cache_retention",
    "safety_identifier", "store", "stream_options", "verbosity",
})  # fmt: skip
"""Extras that only tune or label."""

PASSED = frozenset({
    "citation_options", "documents", "priority", "safety_mode", "strict_tools",
})  # fmt: skip
"""Cohere's own words, which clients of other APIs may put beside theirs."""

MOST_STOP_SEQUENCES = 5
LEAST_P, MOST_P = 0.01, 0.99
"""A ``top_p`` of 1 says "all", as the most does nearly."""
MOST_K = 500

THOUGHTLESS = ("command-r", "command-a-03", "command-a-vision", "command-a-translate",
               "c4ai-", "command-light", "command-nightly")  # fmt: skip
"""Beginnings of models that do not reason: https://docs.cohere.com/docs/reasoning."""

BLIND = ("command-r", "command-a-03", "command-a-reasoning", "command-a-translate",
         "command-light", "command-nightly")  # fmt: skip
"""Beginnings of models that see no pictures: https://docs.cohere.com/docs/models."""

NO_PARAMETERS: Json = {"type": "object", "properties": {}}

_encode = msgspec.json.Encoder().encode


def write_request(
    request: canonical.Request,
    model: str,
    max_output_tokens: int,  # noqa: ARG001  no limit is the model's own
) -> Rendered:
    """Write the body that asks `model`; see `ProviderFormat.write_request`."""
    left_out: dict[str, None] = {}
    drop = left_out.setdefault
    request = bind(results_as_texts(request), drop, None)
    tool = ""
    if request.tools:
        asked = answer_tool.bind(
            request, drop, native=False, forced=True, one_call=False
        )
        request, tool = asked.request, asked.tool
    _refuse(request)
    _drop_tuning(request, drop)
    messages = write_messages(request.messages, drop, sees=not model.startswith(BLIND))
    body: Json = {"model": model, "messages": messages}
    _write_tools(request, body, drop)
    _write_sampling(request, body, drop)
    _write_thinking(request, model, body, drop)
    _write_output_format(request, body, drop)
    body |= {name: raw for name, raw in request.extras.items() if name in PASSED}
    if request.stream:
        body["stream"] = True
    return Rendered(_encode(body), tuple(left_out), tool)


# ---------------------------------------------------------------- what has no word


def _refuse(request: canonical.Request) -> None:
    if request.n is not None and request.n != 1:
        raise Unsupported("Cohere gives one answer.", param="n")
    if request.logprobs:
        raise Unsupported(
            "Cohere's log probabilities are not OpenAI's.",
            param=request.name_of("logprobs"),
        )
    if request.top_logprobs:
        raise Unsupported(
            "Cohere gives no log probabilities of other tokens.", param="top_logprobs"
        )
    for name, value in request.extras.items():
        said = bytes(value).strip()
        text_only = name == "modalities" and said.replace(b" ", b"") == b'["text"]'
        known = name in DROPPED or name in PASSED
        if not known and said != b"null" and not text_only:
            raise Unsupported(f"`{name}` cannot be kept with Cohere.", param=name)


def _drop_tuning(request: canonical.Request, drop: Drop) -> None:
    if request.logit_bias is not None and bytes(request.logit_bias) != b"{}":
        drop("logit_bias")
    if request.end_user is not None:
        drop(request.name_of("end_user"))
    if request.service_tier not in {None, "auto", "default", "standard_only"}:
        drop(request.name_of("service_tier"))
    for name, value in request.extras.items():
        if name in DROPPED and bytes(value) != b"null":
            drop(name)


# ---------------------------------------------------------------- tools


def _write_tools(request: canonical.Request, body: Json, drop: Drop) -> None:
    if not request.tools:
        return
    choice = request.tool_choice or canonical.ToolChoice("auto")
    if request.parallel_tool_calls is False and choice.mode != "none":
        raise Unsupported(
            "Cohere cannot be told to call one tool at a time.",
            param=request.name_of("parallel_tool_calls"),
        )
    shown: list[canonical.Tool] = []
    for i, tool in enumerate(request.tools):
        where = f"{request.name_of('tools')}[{i}]"
        if not isinstance(tool, canonical.Tool):
            raise Unsupported("Cohere has functions for tools only.", param=where)
        if not choice.names or tool.name in choice.names:
            shown.append(tool)
    body["tools"] = [_tool(tool) for tool in shown]
    strict = [tool.strict is True for tool in shown]
    if any(strict) and "strict_tools" not in request.extras:
        body["strict_tools"] = True
        for i, tool in enumerate(request.tools):
            if isinstance(tool, canonical.Tool) and not tool.strict:
                drop(f"{request.name_of('tools')}[{i}].strict")
    if choice.mode in {"required", "named"}:
        body["tool_choice"] = "REQUIRED"
    elif choice.mode == "none":
        body["tool_choice"] = "NONE"


def _tool(tool: canonical.Tool) -> Json:
    function: Json = {"name": tool.name, "parameters": tool.parameters or NO_PARAMETERS}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


# ---------------------------------------------------------------- tuning


def _write_sampling(request: canonical.Request, body: Json, drop: Drop) -> None:
    same = {
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "k": request.top_k,
    }
    body |= {name: value for name, value in same.items() if value is not None}
    if request.top_k is not None and not 0 <= request.top_k <= MOST_K:
        raise Unsupported(f"Cohere takes a top_k up to {MOST_K}.", param="top_k")
    for name in ("frequency_penalty", "presence_penalty"):
        if not 0 <= body.get(name, 0) <= 1:
            raise Unsupported("Cohere takes penalties from 0 to 1.", param=name)
    if request.top_p is not None:
        body["p"] = request.top_p
        if request.top_p == 1:
            body["p"] = MOST_P
            drop("top_p")
        elif not LEAST_P <= request.top_p <= MOST_P:
            raise Unsupported(
                f"Cohere takes a top_p from {LEAST_P} to {MOST_P}.", param="top_p"
            )
    if len(request.stop) > MOST_STOP_SEQUENCES:
        raise Unsupported(
            f"Cohere takes {MOST_STOP_SEQUENCES} stop sequences at most.",
            param=request.name_of("stop"),
        )
    if request.stop:
        body["stop_sequences"] = request.stop


def _write_thinking(
    request: canonical.Request, model: str, body: Json, drop: Drop
) -> None:
    asked = request.thinking
    if asked is None:
        return
    name = request.name_of("thinking")
    off = asked.enabled is False or asked.effort == "none"
    if model.startswith(THOUGHTLESS):
        if not off:
            drop(name)
        return
    if off:
        body["thinking"] = {"type": "disabled"}
        return
    thinking: Json = {"type": "enabled"}
    body["thinking"] = thinking
    budget = asked.budget_tokens
    if budget is None and asked.effort is not None:
        budget = reasoning.BUDGETS.get(asked.effort)
    if budget is not None:
        thinking["token_budget"] = budget
    if asked.display not in {None, "summarized", "auto"}:
        drop(f"{name}.display")


def _write_output_format(request: canonical.Request, body: Json, drop: Drop) -> None:
    shape = request.output_format
    if shape is None or shape.kind == "text":
        return
    name = request.name_of("output_format")
    if shape.kind == "json_schema" and shape.schema is None:
        raise BadRequest(
            "A response format of type `json_schema` needs its schema.", param=name
        )
    wanted: Json = {"type": "json_object"}
    body["response_format"] = wanted
    if shape.schema is not None:
        wanted["json_schema"] = shape.schema
    if shape.description is not None:
        drop(f"{name}.description")
