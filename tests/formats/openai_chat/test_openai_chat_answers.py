"""Whole answers: written for the SDK's own models, read from any server."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, strategies as st
from openai.types.chat import ChatCompletion, chat_completion

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.base import Overview, WriterContext
from extproc.formats.openai_chat import CLIENT, PROVIDER
from extproc.formats.openai_chat.finish import FINISH_REASONS
from extproc.usage import Usage

CONTEXT = WriterContext(id="gw-1", created=1700, model="asked", include_usage=False)


def written(*choices, **members):
    answer = canonical.Answer(
        **{"id": "a1", "model": "m1", "choices": choices, **members}
    )
    body = CLIENT.write_answer(answer, CONTEXT)
    ChatCompletion.model_validate_json(body, strict=True)
    return json.loads(body)


def message(*parts, finish="stop"):
    return written(canonical.Choice(parts, finish))["choices"][0]["message"]


PARTS = {
    "text": ([canonical.Text("a")], {"content": "a"}),
    "texts in order": (
        [canonical.Text("a"), canonical.ToolCall("c", "f", "{}"), canonical.Text("b")],
        {
            "content": "ab",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
    ),
    "call without arguments": (
        [canonical.ToolCall("c", "f", "")],
        {
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
    ),
    "custom call": (
        [canonical.ToolCall("c", "g", "free", custom=True)],
        {
            "tool_calls": [
                {"id": "c", "type": "custom", "custom": {"name": "g", "input": "free"}}
            ]
        },
    ),
    "call with a signature": (
        [canonical.ToolCall("c", "f", "{}", signature="s")],
        {
            "tool_calls": [
                {
                    "id": "c",
                    "type": "function",
                    "function": {"name": "f", "arguments": "{}"},
                    "extra_content": {"google": {"thought_signature": "s"}},
                }
            ]
        },
    ),
    "reasoning": (
        [
            canonical.Reasoning("h", "s"),
            canonical.Reasoning(encrypted="d"),
            canonical.Reasoning("m"),
            canonical.Text("a"),
        ],
        {
            "content": "a",
            "reasoning_content": "hm",
            "thinking_blocks": [
                {"type": "thinking", "thinking": "h", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "thinking", "thinking": "m"},
            ],
        },
    ),
    "refusal": (
        [canonical.Refusal("n"), canonical.Refusal("o")],
        {"content": None, "refusal": "no"},
    ),
    "sound": (
        [canonical.Audio(canonical.Inline("audio/wav", "AAAA"))],
        {
            "audio": {"id": "audio_a1", "data": "AAAA", "expires_at": 1700, "transcript": ""}
        },
    ),
    "nothing": ([], {"content": None, "refusal": None, "role": "assistant"}),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "members"), PARTS.values(), ids=PARTS)
def test_parts_become_members_of_the_message(parts, members):
    said = message(*parts)
    assert {name: said[name] for name in members} == members


def test_every_finish_has_a_word_that_the_sdk_knows():
    """Strict validation in `written` is what would fail."""
    for finish in FINISH_REASONS:
        said = written(canonical.Choice((canonical.Text("a"),), finish))
        assert said["choices"][0]["finish_reason"] == FINISH_REASONS[finish]
    assert set(FINISH_REASONS) == set(canonical.Finish.__args__)  # type: ignore[attr-defined]


def test_a_refusal_in_words_is_a_stop():
    said = written(canonical.Choice((canonical.Refusal("no"),), "refusal"))
    assert said["choices"][0]["finish_reason"] == "stop"


def test_what_the_provider_did_not_say_comes_from_the_exchange():
    said = written(id="", model="")
    assert (said["id"], said["model"], said["created"]) == ("gw-1", "asked", 1700)
    assert "usage" not in said


def test_usage_is_in_openais_words():
    said = written(usage=Usage(10, 5, 3, 2, 1), created=5)
    assert said["created"] == 5
    assert said["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {
            "cached_tokens": 3,
            "cache_write_tokens": 2,
            "cache_creation_input_tokens": 2,
        },
        "completion_tokens_details": {"reasoning_tokens": 1},
    }


@pytest.mark.parametrize(
    ("tier", "seen"),
    [("standard", "default"), ("priority", "priority"), ("batch", None), (None, None)],
)
def test_a_service_tier_is_one_that_the_sdk_knows(tier, seen):
    assert written(service_tier=tier).get("service_tier") == seen


def test_alternatives_and_logprobs_pass():
    logprobs = msgspec.Raw(
        b'{"content":[{"token":"a","logprob":-0.5,"bytes":null,"top_logprobs":[]}],'
        b'"refusal":null}'
    )
    said = written(
        canonical.Choice((canonical.Text("a"),), "stop", logprobs=logprobs),
        canonical.Choice((canonical.Text("b"),), "length"),
    )
    assert [choice["index"] for choice in said["choices"]] == [0, 1]
    assert said["choices"][0]["logprobs"] == json.loads(bytes(logprobs))
    assert said["choices"][1]["logprobs"] is None


# ---------------------------------------------------------------- reading


def read(body) -> canonical.Answer:
    return PROVIDER.read_answer(json.dumps(body).encode())


def answered(finish="stop", **said):
    body = {
        "id": "a1",
        "model": "m",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
    }
    return read(body).choices[0]


def tool_call(**members):
    return {"id": "c", "function": {"name": "f", "arguments": "{}"}, **members}


READ = {
    "text": ({"content": "a"}, (canonical.Text("a"),)),
    "empty": ({"content": ""}, ()),
    "reasoning": (
        {"content": "a", "reasoning": "hm"},
        (canonical.Reasoning("hm"), canonical.Text("a")),
    ),
    "blocks before the string": (
        {
            "reasoning_content": "hm",
            "thinking_blocks": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "thinking"},
            ],
        },
        (canonical.Reasoning("hm", "s"), canonical.Reasoning(encrypted="d")),
    ),
    "call without id and arguments": (
        {"tool_calls": [tool_call(id=None, function={"name": "f", "arguments": ""})]},
        (canonical.ToolCall("call_a1_0", "f", "{}"),),
    ),
    "custom call": (
        {"tool_calls": [{"id": "c", "custom": {"name": "g", "input": "x"}}]},
        (canonical.ToolCall("c", "g", "x", custom=True),),
    ),
    "deprecated call": (
        {"function_call": {"name": "f", "arguments": '{"a":1}'}},
        (canonical.ToolCall("call_a1_0", "f", '{"a":1}'),),
    ),
    "refusal": ({"refusal": "no"}, (canonical.Refusal("no"),)),
    "sound with words": (
        {"content": None, "audio": {"id": "x", "data": "AAAA", "transcript": "hi"}},
        (canonical.Audio(canonical.Inline("", "AAAA")), canonical.Text("hi")),
    ),
}


@pytest.mark.parametrize(("said", "parts"), READ.values(), ids=READ)
def test_a_message_of_any_server_is_read(said, parts):
    assert answered(**said).parts == parts


@pytest.mark.parametrize(
    ("finish", "said", "canonical_finish"),
    [
        ("stop", {"content": "a"}, "stop"),
        (None, {"content": "a"}, "stop"),
        ("eos", {"content": "a"}, "stop"),
        ("length", {"content": "a"}, "length"),
        ("content_filter", {"content": "a"}, "content_filter"),
        ("stop", {"refusal": "no"}, "refusal"),
        # OpenAI's own, when tool_choice names the function
        ("stop", {"tool_calls": [tool_call()]}, "tool_calls"),
        ("function_call", {"function_call": {"name": "f"}}, "tool_calls"),
    ],
)
def test_the_finish_says_what_happened(finish, said, canonical_finish):
    assert answered(finish, **said).finish == canonical_finish


def test_every_finish_reason_of_the_sdk_is_read():
    hint = chat_completion.Choice.model_fields["finish_reason"].annotation
    for reason in hint.__args__:  # type: ignore[union-attr]
        assert FINISH_REASONS[answered(reason, content="a").finish] in (
            reason,
            "tool_calls",
        )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ({"prompt_tokens": 3, "completion_tokens": None}, Usage(3, 0)),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(3, 2, 1, 1, 2),
        ),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "prompt_cache_hit_tokens": 2,
                "prompt_tokens_details": None,
            },
            Usage(3, 2, 2),
        ),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cache_creation_input_tokens": 1},
            },
            Usage(3, 2, 0, 1),
        ),
    ],
)
def test_usage_of_any_server_is_read(usage, expected):
    body = {"choices": [{"message": {"content": "a"}}], "usage": usage}
    assert read(body).usage == expected


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"null", b"<html>", b'{"choices": []}', b'{"choices": [1]}', b"\xff",
        b'{"choices": [{"message": {"tool_calls": [{"id": "c", "function": {}}]}}]}',
    ],
)  # fmt: skip
def test_what_is_no_answer_is_a_violation(body):
    with pytest.raises(ProtocolViolation):
        PROVIDER.read_answer(body)


def test_an_error_with_a_status_of_success_says_what_it_is():
    with pytest.raises(ProtocolViolation, match="overloaded"):
        PROVIDER.read_answer(b'{"error": {"message": "overloaded"}}')


TEXT = st.text(min_size=1, max_size=8)
REASONING = st.one_of(
    st.builds(canonical.Reasoning, TEXT, st.none() | TEXT),
    st.builds(lambda data: canonical.Reasoning(encrypted=data), TEXT),
)
CALL = st.builds(
    canonical.ToolCall,
    TEXT,
    TEXT,
    st.sampled_from(["{}", '{"a": "ü"}']),
    signature=st.none() | TEXT,
)


@st.composite
def choices(draw):
    """A choice as this format can say it: its parts have a fixed order."""
    calls = draw(st.lists(CALL, max_size=2))
    refusal = draw(st.lists(st.builds(canonical.Refusal, TEXT), max_size=1))
    parts = [
        *draw(st.lists(REASONING, max_size=2)),
        *draw(st.lists(st.builds(canonical.Text, TEXT), max_size=1)),
        *refusal,
        *calls,
    ]
    ended = "tool_calls" if calls else "refusal" if refusal else "stop"
    finish = draw(st.sampled_from([ended, "length", "content_filter"]))
    return canonical.Choice(tuple(parts), finish)


USAGES = st.builds(Usage, *[st.integers(0, 10**6)] * 5)


@given(st.lists(choices(), min_size=1, max_size=3), st.none() | USAGES)
def test_an_answer_survives_writing_and_reading(said, usage):
    answer = canonical.Answer("a1", "m", tuple(said), usage, 7, "default")
    body = CLIENT.write_answer(answer, CONTEXT)
    ChatCompletion.model_validate_json(body, strict=True)
    assert PROVIDER.read_answer(body) == answer


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {
                "model": "m",
                "choices": [{"finish_reason": "length", "message": {"content": 3}}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 2},
            },
            Overview("m", Usage(1, 2), "length"),
        ),
        ({"choices": []}, Overview()),
        ({"model": 3}, Overview()),
        ([], Overview()),
        (None, Overview()),
    ],
)
def test_the_overview_reads_what_it_can(body, expected):
    assert PROVIDER.overview(json.dumps(body).encode()) == expected


@given(st.binary(max_size=40))
def test_the_overview_never_raises(body):
    assert isinstance(PROVIDER.overview(body), Overview)
