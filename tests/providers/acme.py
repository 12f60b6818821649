"""A strict server of OpenAI's chat with manners of its own, for any preset.

What it refuses and how it answers is written here a second time, from the pages that the
presets name, around the strict mock of OpenAI; it judges by the manners that a preset
claims, so a quirk that does nothing fails.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from extproc.local.mock.openai.api import OpenAI
from extproc.local.mock.reply import Reply, Request, SseEvent, Stream
from extproc.local.mock.state import Memory
from extproc.providers import PROVIDERS

Json = dict[str, Any]
DONE = b"[DONE]"

NOT_TAKEN = {
    "max_tokens": ("max_completion_tokens",),
    "max_completion_tokens": ("max_tokens",),
    "no_stream_options": ("stream_options",),
    "usage_unasked": ("stream_options",),
    "random_seed": ("seed",),
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
    "tool_choice_auto": ("tool_choice",),
    "no_response_format": ("response_format",),
}
"""By kind: the top-level members that the server answers with a 400."""

NOT_IN_MESSAGES = {
    "no_names": ("name",),
    "no_reasoning_back": ("reasoning_content", "reasoning", "thinking_blocks"),
    "no_proofs_back": ("thinking_blocks",),
    "reasoning_back": ("thinking_blocks",),
    "reasoning_required": ("thinking_blocks",),
    "no_answer_members": ("refusal", "annotations", "audio", "function_call"),
}


THOUGHTS = frozenset({"reasoning_content", "reasoning"})
"""What OpenAI has no word for."""


class Refused(Exception):
    """The server's 400."""


class Acme:
    """The server of the preset `type_`; see the module's docstring."""

    def __init__(self, type_: str) -> None:
        self.name = type_
        self.kind = PROVIDERS[type_]
        self.kinds = frozenset(self.kind.quirks)
        self.seen: list[Json] = []
        """The bodies that were taken."""
        self._openai = OpenAI(Memory(lambda: 0.0), ("sk-mock*",))

    def owns(self, request: Request) -> bool:
        """Claim everything."""
        return bool(request)

    def respond(self, request: Request) -> Reply | Stream:
        """Answer as the server does."""
        base = urlsplit(self.kind.base_url).path
        if request.path != base + self.kind.chat_path:
            return _error(404, f"there is no {request.path}")
        # The mock of OpenAI would take another provider's name in a key amiss.
        headers = tuple(
            (name, "Bearer sk-mock" if name == self.kind.credential_header else value)
            for name, value in request.headers
        )
        body = msgspec.json.decode(request.body)
        if self.kind.format.name != "openai_chat":
            path = f"/v1{self.kind.chat_path}"
            return self._openai.respond(
                dataclasses.replace(request, path=path, headers=headers)
            )
        try:
            self.check(body)
        except Refused as refused:
            return _error(400, str(refused))
        self.seen.append(body)
        asked = dataclasses.replace(
            request,
            path="/v1/chat/completions",
            headers=headers,
            body=msgspec.json.encode(self.openais(body)),
        )
        reply = self._openai.respond(asked)
        if isinstance(reply, Reply):
            return self.whole(reply)
        return dataclasses.replace(reply, events=self.events(reply.events))

    # ------------------------------------------------------------ what it refuses

    def check(self, body: Json) -> None:
        """Raise `Refused` for what the documentation says is not taken."""
        for kind in self.kinds:
            for name in NOT_TAKEN.get(kind, ()):
                if name in body:
                    raise Refused(f"{name} is not supported")
            most = re.fullmatch(r"stop_(\d+)", kind)
            if most and isinstance(body.get("stop"), list):
                _refuse(len(body["stop"]) > int(most[1]), "too many stop sequences")
        shape = (body.get("response_format") or {}).get("type")
        _refuse("no_json_schema" in self.kinds and shape == "json_schema", "schema")
        _refuse("no_json_object" in self.kinds and shape == "json_object", "object")
        effort = body.get("reasoning_effort", "none")
        _refuse(
            "efforts_none_high" in self.kinds and effort not in {"none", "high"},
            "effort",
        )
        _refuse("stop_list" in self.kinds and isinstance(body.get("stop"), str), "stop")
        _refuse(
            "tool_choice_unnamed" in self.kinds
            and isinstance(body.get("tool_choice"), dict),
            "tool_choice",
        )
        if "no_strict_tools" in self.kinds:
            for tool in body.get("tools") or ():
                _refuse("strict" in tool["function"], "strict")
        messages = body["messages"]
        for message in messages:
            self.check_message(message)
        if "prefix" in self.kinds and messages[-1]["role"] == "assistant":
            _refuse(not messages[-1].get("prefix"), "expected a user or tool message")

    def check_message(self, message: Json) -> None:
        for kind, names in NOT_IN_MESSAGES.items():
            _refuse(kind in self.kinds and bool(message.keys() & {*names}), kind)
        _refuse(
            "no_developer_role" in self.kinds and message["role"] == "developer",
            "developer is not a role",
        )
        _refuse(
            "string_content" in self.kinds
            and not isinstance(message.get("content"), str | None),
            "content must be a string",
        )
        _refuse(
            "reasoning_required" in self.kinds
            and "tool_calls" in message
            and not message.get("reasoning_content"),
            "thinking is enabled but reasoning_content is missing",
        )
        if "tool_ids" in self.kinds:
            ids = [call["id"] for call in message.get("tool_calls") or ()]
            ids += [message["tool_call_id"]] if "tool_call_id" in message else []
            for one in ids:
                _refuse(not re.fullmatch("[a-zA-Z0-9]{9}", one), f"tool id {one!r}")

    # ------------------------------------------------------------ what the model sees

    def openais(self, body: Json) -> Json:
        """Return the request in OpenAI's words, for the mock that answers it."""
        out = dict(body)
        if "random_seed" in out:
            out["seed"] = out.pop("random_seed")
        out["messages"] = [
            {name: said for name, said in message.items() if name not in THOUGHTS}
            for message in body["messages"]
        ]
        if out.get("stream") and self.kinds & {"usage_unasked", "x_groq_usage"}:
            out["stream_options"] = {"include_usage": True}
        return out

    # ------------------------------------------------------------ how it answers

    def whole(self, reply: Reply) -> Reply:
        """Return a whole answer in the server's own words."""
        if reply.status >= 400 and "base_resp" in self.kinds:
            said = _object(reply.body)
            if said is not None:
                words = said["error"]["message"]
                code = {429: 1002, 400: 2013}.get(reply.status, 1000)
                body = {"base_resp": {"status_code": code, "status_msg": words}}
                return dataclasses.replace(
                    reply, status=200, body=msgspec.json.encode(body)
                )
        return reply

    def events(self, events: Any) -> Iterator[SseEvent]:
        """Yield the chunks in the server's own words."""
        held: Json | None = None
        for event in events:
            chunk = None if event.payload == DONE else _object(event.payload)
            if chunk is None or "error" in chunk:
                if held is not None:
                    yield SseEvent(msgspec.json.encode(held))
                    held = None
                yield event
                continue
            self.spell(chunk)
            if self.kinds & {"usage_unasked", "x_groq_usage"}:
                # The usage comes with the finish_reason, not in a chunk of its own.
                if chunk["choices"] == [] and held is not None:
                    self.put_usage(held, chunk["usage"])
                    yield SseEvent(msgspec.json.encode(held))
                    held = None
                    continue
                chunk.pop("usage", None)
                if chunk["choices"] and chunk["choices"][0].get("finish_reason"):
                    held = chunk
                    continue
            if "usage_in_every_chunk" in self.kinds and chunk["choices"]:
                chunk["usage"] = {
                    "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2,
                }  # fmt: skip
            yield SseEvent(msgspec.json.encode(chunk))
        if held is not None:
            yield SseEvent(msgspec.json.encode(held))

    def put_usage(self, chunk: Json, usage: Json) -> None:
        if "x_groq_usage" in self.kinds:
            chunk["x_groq"] = {"id": "req_1", "usage": usage}
        else:
            chunk["usage"] = usage

    def spell(self, chunk: Json) -> None:
        for choice in chunk["choices"]:
            for call in choice["delta"].get("tool_calls") or ():
                if "no_tool_index" in self.kinds:
                    call.pop("index")
            if "stop_for_tool_calls" in self.kinds and (
                choice.get("finish_reason") == "tool_calls"
            ):
                choice["finish_reason"] = "stop"


def _refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise Refused(why)


def _object(payload: bytes) -> Json | None:
    try:
        said = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return None
    return said if isinstance(said, dict) else None


def _error(status: int, message: str) -> Reply:
    said = {"error": {"message": message, "type": "invalid_request_error"}}
    return Reply(status, msgspec.json.encode(said))
