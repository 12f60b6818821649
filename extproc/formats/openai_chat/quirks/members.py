"""Kinds of manners that show in the top-level members of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from extproc.formats.openai_chat.quirks.draft import Draft, raw, read_text

Change = Callable[[Draft], None]

_decode = msgspec.json.Decoder().decode


def renamed(old: str, new: str) -> Change:
    """Return what spells the member `old` as `new`; the client's own `new` gives way."""

    def change(draft: Draft) -> None:
        value = draft.get(old)
        if value is not None:
            draft.put(new, value)
        draft.remove(old)

    return change


def no_stream_options(draft: Draft) -> None:
    """Leave ``stream_options`` out, and say so where the client asked for something."""
    if draft.get("stream_options") is not None:
        draft.report("stream_options")
    draft.remove("stream_options")


def usage_unasked(draft: Draft) -> None:
    """Leave ``stream_options`` out: the usage comes all the same."""
    draft.remove("stream_options")


def service_tier_standard(draft: Draft) -> None:
    """Say a service tier as Mistral does, which has two; the others are reported."""
    said = read_text(draft.get("service_tier"))
    if said is None or said in {"auto", "standard_only"}:
        return
    if said == "default":
        draft.put("service_tier", raw("standard_only"))
    else:
        draft.drop("service_tier")


def efforts(*taken: str) -> Change:
    """Return what leaves efforts out that are none of those `taken`, and says so."""

    def change(draft: Draft) -> None:
        said = draft.get("reasoning_effort")
        if said is not None and _decode(said) not in taken:
            draft.drop("reasoning_effort")

    return change


# ---------------------------------------------------------------- members not taken

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "top_logprobs": (0,),
    "top_p": (1,),
}
"""Values that say what leaving the member out says."""

REFUSED: Mapping[str, str] = {
    "logprobs": "gives no log probabilities.",
    "n": "gives one answer.",
    "parallel_tool_calls": "cannot be told to call one tool at a time.",
    "temperature": "takes no temperature.",
    "tool_choice": "lets the model choose its tools: leave `tool_choice` out.",
    "tools": "has no tools.",
    "top_logprobs": "gives no log probabilities.",
    "top_p": "takes no `top_p`.",
    "web_search_options": "searches no web in chat completions.",
}
"""Members without which the answer would be another; the rest are hints, whose loss is
reported: the formats of Anthropic and Bedrock draw the same line."""


def without(name: str) -> Change:
    """Return what leaves the member `name` out, or refuses it."""
    neutral = NEUTRAL.get(name, ())
    why = REFUSED.get(name)

    def change(draft: Draft) -> None:
        value = draft.get(name)
        if value is not None and _decode(value) not in neutral:
            if why is not None:
                raise draft.refuse(name, why)
            draft.drop(name)
        else:
            draft.remove(name)

    return change


def tool_choice_auto(draft: Draft) -> None:
    """Take no word on tools but ``auto``; ``none`` is said by giving no tools."""
    choice = draft.get("tool_choice")
    said = read_text(choice)
    if choice is None or said == "auto":
        draft.remove("tool_choice")
    elif said == "none":
        for name in ("tool_choice", "tools", "parallel_tool_calls"):
            draft.remove(name)
    else:
        raise draft.refuse("tool_choice", "lets the model choose: `auto` or `none`.")


def tool_choice_unnamed(draft: Draft) -> None:
    """Refuse to force one tool by name, or a few."""
    choice = draft.get("tool_choice")
    if choice is not None and read_text(choice) is None:
        raise draft.refuse("tool_choice", "cannot be made to call one certain tool.")


def stop_limit(most: int) -> Change:
    """Return what refuses more than `most` stop sequences."""
    sequences = "one stop sequence" if most == 1 else f"{most} stop sequences"

    def change(draft: Draft) -> None:
        stop = draft.get("stop")
        if stop is None:
            return
        said = _decode(stop)
        if isinstance(said, list) and len(said) > most:
            raise draft.refuse("stop", f"takes {sequences} at most.")

    return change


def stop_list(draft: Draft) -> None:
    """Write a single stop sequence as a list of one."""
    stop = read_text(draft.get("stop"))
    if stop is not None:
        draft.put("stop", msgspec.json.encode([stop]))


# ---------------------------------------------------------------- the answer's shape


class _Schema(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw(b"{}")


class _Shape(msgspec.Struct):
    type: str = ""
    json_schema: _Schema = msgspec.field(default_factory=_Schema)


_SHAPE = msgspec.json.Decoder(_Shape)


def _shape(draft: Draft) -> str:
    try:
        return _SHAPE.decode(draft.get("response_format") or b"{}").type
    except msgspec.MsgspecError:
        return ""


def no_json_schema(draft: Draft) -> None:
    """Tell the model a schema in words, and ask for a JSON object.

    It may keep to it or not: that it is not bound is reported.
    """
    if _shape(draft) != "json_schema":
        return
    said = _SHAPE.decode(draft.get("response_format") or b"{}").json_schema
    schema = bytes(said.schema).decode()
    words = f"Answer with a JSON object that is valid by this JSON schema: {schema}"
    draft.objects("messages").insert(0, {"role": raw("system"), "content": raw(words)})
    draft.touch("messages")
    draft.put("response_format", raw({"type": "json_object"}))
    draft.report("response_format.json_schema")


def no_json_object(draft: Draft) -> None:
    """Refuse JSON mode; a schema passes."""
    if _shape(draft) == "json_object":
        raise draft.refuse(
            "response_format", "has no JSON mode without a schema: use `json_schema`."
        )


def no_response_format(draft: Draft) -> None:
    """Refuse every shape of the answer but text."""
    if _shape(draft) not in {"", "text"}:
        raise draft.refuse("response_format", "answers in text only.")
    draft.remove("response_format")


def no_strict_tools(draft: Draft) -> None:
    """Leave ``strict`` out of functions: their arguments may then differ from it."""
    for i, tool in enumerate(draft.objects("tools")):
        try:
            function = msgspec.json.decode(
                tool.get("function", b"{}"), type=dict[str, msgspec.Raw]
            )
        except msgspec.MsgspecError:
            continue
        strict = function.pop("strict", None)
        if strict is None:
            continue
        if bytes(strict) == b"true":
            draft.report(f"tools[{i}].function.strict")
        tool["function"] = raw(function)
        draft.touch("tools")
