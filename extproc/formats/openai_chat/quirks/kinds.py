"""The table of kinds: the manners in which servers of this format differ from OpenAI's.

A provider's data names the kinds that its documentation tells of, and so may
``gateway.yaml`` (``quirks``). Each kind is one small change to a request, to chunks, or to
whole answers; none knows which provider has it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

from extproc.formats.openai_chat.quirks import (
    chunks,
    content_chunks,
    members,
    messages,
)
from extproc.formats.openai_chat.quirks.chunks import ChunkKind, Edit
from extproc.formats.openai_chat.quirks.members import Change, without


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """One kind of manners."""

    meaning: str
    """What the server does, in a few words: the documentation's table."""
    requests: tuple[Change, ...] = ()
    """What a request needs, in order."""
    stream: Callable[[], ChunkKind] | None = None
    """What a stream needs."""
    answer: Edit | None = None
    """What the message of a whole answer needs."""
    thoughts: bool = False
    """Clients of other APIs give it the thoughts of earlier turns back."""
    fails_with_200: bool = False
    """A whole answer may be an error all the same."""


def _edited(mark: bytes, edit: Edit) -> Callable[[], ChunkKind]:
    return lambda: chunks.Edited((mark,), edit)


_WITHOUT = {
    "no_parallel_tool_calls": ("parallel_tool_calls",),
    "no_n": ("n",),
    "no_logprobs": ("logprobs", "top_logprobs"),
    "no_logit_bias": ("logit_bias",),
    "no_seed": ("seed",),
    "no_penalties": ("frequency_penalty", "presence_penalty"),
    "no_user": ("user", "safety_identifier"),
    "no_store": ("store",),
    "no_metadata": ("metadata",),
    "no_service_tier": ("service_tier",),
    "no_prompt_cache_key": (
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    ),
    "no_prompt_cache_options": ("prompt_cache_options", "prompt_cache_retention"),
    "no_reasoning_effort": ("reasoning_effort",),
    "no_verbosity": ("verbosity",),
    "no_web_search": ("web_search_options",),
    "no_prediction": ("prediction",),
    "no_tools": ("tools", "tool_choice", "parallel_tool_calls"),
    "no_tool_choice": ("tool_choice",),
}


def _names(names: tuple[str, ...]) -> str:
    return " and ".join(f"`{name}`" for name in names)


KINDS: Mapping[str, Kind] = {
    "max_tokens": Kind(
        "spells the limit `max_tokens`",
        (members.renamed("max_completion_tokens", "max_tokens"),),
    ),
    "max_completion_tokens": Kind(
        "spells the limit `max_completion_tokens`",
        (members.renamed("max_tokens", "max_completion_tokens"),),
    ),
    "no_stream_options": Kind(
        "does not take `stream_options`", (members.no_stream_options,)
    ),
    "usage_unasked": Kind(
        "reports the usage of every stream, and does not take `stream_options`",
        (members.usage_unasked,),
    ),
    **{
        name: Kind(f"does not take {_names(gone)}", tuple(map(without, gone)))
        for name, gone in _WITHOUT.items()
    },
    "efforts_none_high": Kind(
        "knows no `reasoning_effort` but `none` and `high`",
        (members.efforts("none", "high"),),
    ),
    "no_cache_breakpoints": Kind(
        "takes no breakpoints for its prompt cache", (messages.no_cache_breakpoints,)
    ),
    "tool_choice_auto": Kind(
        "knows no `tool_choice` but `auto`", (members.tool_choice_auto,)
    ),
    "tool_choice_unnamed": Kind(
        "cannot be made to call one certain tool", (members.tool_choice_unnamed,)
    ),
    "stop_list": Kind("takes `stop` as a list only", (members.stop_list,)),
    "no_json_schema": Kind(
        "takes `json_object`, but no `json_schema`: models are told it in words",
        (members.no_json_schema,),
    ),
    "no_json_object": Kind(
        "takes `json_schema`, but no `json_object`", (members.no_json_object,)
    ),
    "no_response_format": Kind(
        "takes no `response_format`", (members.no_response_format,)
    ),
    "no_strict_tools": Kind(
        "takes no `strict` in functions", (members.no_strict_tools,)
    ),
    "random_seed": Kind(
        "spells the seed `random_seed`", (members.renamed("seed", "random_seed"),)
    ),
    "no_developer_role": Kind(
        "has no `developer` role: such messages are `system` messages",
        (messages.no_developer_role,),
    ),
    "no_names": Kind("takes no `name` in messages", (messages.no_names,)),
    "no_answer_members": Kind(
        "takes no `refusal`, `annotations`, `audio` or `function_call` in messages",
        (messages.no_answer_members,),
    ),
    "string_content": Kind(
        "reads `content` as a string only", (messages.string_content,)
    ),
    "no_proofs_back": Kind(
        "takes no proofs of other providers' thoughts", (messages.no_proofs_back,)
    ),
    "reasoning_back": Kind(
        "wants its thoughts back, as `reasoning_content`",
        (messages.no_proofs_back,),
        thoughts=True,
    ),
    "reasoning_required": Kind(
        "refuses a call of an earlier turn without `reasoning_content`",
        (messages.no_proofs_back, messages.reasoning_required),
        thoughts=True,
    ),
    "no_reasoning_back": Kind(
        "takes no thoughts of earlier turns", (messages.no_reasoning_back,)
    ),
    "reasoning": Kind(
        "calls thoughts `reasoning`: clients get `reasoning_content` beside it",
        (messages.reasoning_back,),
        stream=_edited(b'"reasoning"', chunks.name_reasoning),
        answer=chunks.name_reasoning,
        thoughts=True,
    ),
    "failed_finish": Kind(
        "says in `finish_reason` that its model failed: clients get an error",
        stream=chunks.FailedFinish,
    ),
    "thinking_chunks": Kind(
        "gives thoughts and references as chunks of `content`: clients get "
        "`reasoning_content`, `thinking_blocks` where they are signed, and `references`",
        (messages.thinking_back,),
        stream=content_chunks.streamed,
        answer=content_chunks.one_answer,
        thoughts=True,
    ),
    "argument_objects": Kind(
        "may give the arguments of calls as an object: clients get a string",
        stream=_edited(b'"arguments"', chunks.string_arguments),
        answer=chunks.string_arguments,
    ),
    "audio_string": Kind(
        "takes the sound of `input_audio` as a string", (messages.audio_string,)
    ),
    "service_tier_standard": Kind(
        "has the service tiers `auto` and `standard_only` alone",
        (members.service_tier_standard,),
    ),
    "tool_ids": Kind(
        "takes ids of tool calls of nine letters and digits only",
        (messages.tool_ids,),
    ),
    "document_url": Kind(
        "calls a file that comes with the request `document_url`",
        (messages.document_url,),
    ),
    "prefix": Kind(
        "wants `prefix` on an assistant message that stands last", (messages.prefix,)
    ),
    "no_tool_index": Kind(
        "leaves the `index` of tool calls out of its streams",
        stream=chunks.tool_index,
    ),
    "stop_for_tool_calls": Kind(
        "ends a stream that calls tools with `stop`", stream=chunks.CallsFinish
    ),
    "usage_in_every_chunk": Kind(
        "repeats the usage in many chunks: clients get it once, at the end",
        stream=chunks.UsageOnce,
    ),
    "x_groq_usage": Kind(
        "puts a stream's usage into `x_groq`: clients get it in its place",
        stream=lambda: chunks.UsageOnce("x_groq"),
    ),
    "base_resp": Kind(
        "answers errors with a status of 200 and a `base_resp`",
        stream=chunks.BaseResp,
        fails_with_200=True,
    ),
}

_STOP = re.compile(r"stop_([1-9]\d?)\Z")


def find_kind(name: str) -> Kind | None:
    """Return the kind of this name; ``stop_4`` takes 4 stop sequences at most."""
    if (found := _STOP.match(name)) is not None:
        most = int(found[1])
        return Kind(
            f"takes {most} stop sequence(s) at most", (members.stop_limit(most),)
        )
    return KINDS.get(name)
