"""What each kind does to a request: one table for requests that pass, and translated."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc import canonical
from extproc.formats import openai_chat
from extproc.formats.base import AnyProviderFormat, Unsupported
from extproc.formats.openai_chat.quirks import KINDS, find_kind, quirky
from extproc.formats.openai_chat.quirks.messages import nine_characters
from extproc.formats.openai_chat.request_writer import write_request
from extproc.framing.members import patch, read_members, remove

HELLO = {"role": "user", "content": "Hello"}
A_CALL = {
    "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"},
}  # fmt: skip
PROVEN_CALL = {**A_CALL, "extra_content": {"google": {"thought_signature": "a"}}}
TOOL = {"type": "function", "function": {"name": "now", "parameters": {}}}
STRICT = {"type": "function", "function": {"name": "now", "strict": True}}
LAX = {"type": "function", "function": {"name": "now", "strict": False}}
NAMED = {"type": "function", "function": {"name": "now"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
OBJECT = {"type": "json_object"}
USER = {"role": "user", "content": "Hi"}
PARTS = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
PICTURE = [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]
CALL = {"id": "call_abc", "type": "function", "function": {"name": "f"}}

Json = dict[str, Any]

# kind: (what the client says beside model and messages,
#        what of it the server gets,
#        what the client is told was left out)
KEPT: list[tuple[str, Json, Json, tuple[str, ...]]] = [
    ("max_tokens", {"max_completion_tokens": 9}, {"max_tokens": 9}, ()),
    ("max_tokens", {"max_tokens": 9}, {"max_tokens": 9}, ()),
    (
        "max_tokens",
        {"max_tokens": 1, "max_completion_tokens": 9},
        {"max_tokens": 9},
        (),
    ),
    ("max_completion_tokens", {"max_tokens": 9}, {"max_completion_tokens": 9}, ()),
    (
        "no_stream_options",
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True},
        ("stream_options",),
    ),
    (
        "usage_unasked",
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True},
        (),
    ),
    ("no_parallel_tool_calls", {"parallel_tool_calls": True}, {}, ()),
    ("no_parallel_tool_calls", {"parallel_tool_calls": None}, {}, ()),
    ("no_n", {"n": 1}, {}, ()),
    ("no_logprobs", {"logprobs": False, "top_logprobs": None}, {}, ()),
    ("no_logit_bias", {"logit_bias": {"50256": -100}}, {}, ("logit_bias",)),
    ("no_logit_bias", {"logit_bias": {}}, {}, ()),
    ("no_seed", {"seed": 7}, {}, ("seed",)),
    (
        "no_penalties",
        {"frequency_penalty": 0, "presence_penalty": 0.5},
        {},
        ("presence_penalty",),
    ),
    ("no_user", {"user": "u1"}, {}, ("user",)),
    ("no_store", {"store": False}, {}, ()),
    ("no_store", {"store": True}, {}, ("store",)),
    ("no_metadata", {"metadata": {"a": "b"}}, {}, ("metadata",)),
    ("no_service_tier", {"service_tier": "auto"}, {}, ()),
    ("no_service_tier", {"service_tier": "flex"}, {}, ("service_tier",)),
    ("no_prompt_cache_key", {"prompt_cache_key": "k"}, {}, ("prompt_cache_key",)),
    (
        "no_cache_breakpoints",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "text",
                            "text": "a",
                            "prompt_cache_breakpoint": {"mode": "explicit"},
                        }
                    ],
                },
                {
                    "role": "user",
                    "content": "b",
                    "cache_control": {"type": "ephemeral"},
                },
            ]
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}]},
                {"role": "user", "content": "b"},
            ]
        },
        ("messages[0].content[0].prompt_cache_breakpoint", "messages[1].cache_control"),
    ),
    ("no_reasoning_effort", {"reasoning_effort": "low"}, {}, ("reasoning_effort",)),
    ("no_verbosity", {"verbosity": "low"}, {}, ("verbosity",)),
    (
        "no_prediction",
        {"prediction": {"type": "content", "content": "x"}},
        {},
        ("prediction",),
    ),
    ("no_tools", {"tools": None, "tool_choice": None}, {}, ()),
    ("no_tool_choice", {"tools": [TOOL], "tool_choice": None}, {"tools": [TOOL]}, ()),
    (
        "tool_choice_auto",
        {"tools": [TOOL], "tool_choice": "auto"},
        {"tools": [TOOL]},
        (),
    ),
    ("tool_choice_auto", {"tools": [TOOL], "tool_choice": "none"}, {}, ()),
    (
        "tool_choice_unnamed",
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": "required"},
        (),
    ),
    ("stop_list", {"stop": "."}, {"stop": ["."]}, ()),
    ("stop_list", {"stop": [".", "!"]}, {"stop": [".", "!"]}, ()),
    ("stop_2", {"stop": [".", "!"]}, {"stop": [".", "!"]}, ()),
    ("stop_1", {"stop": "."}, {"stop": "."}, ()),
    (
        "no_json_schema",
        {"response_format": OBJECT},
        {"response_format": OBJECT},
        (),
    ),
    (
        "no_json_schema",
        {"messages": [USER], "response_format": SCHEMA},
        {
            "messages": [
                {
                    "role": "system",
                    "content": (
                        "Answer with a JSON object that is valid by this JSON schema: {}"
                    ),
                },
                USER,
            ],
            "response_format": OBJECT,
        },
        ("response_format.json_schema",),
    ),
    ("no_json_object", {"response_format": SCHEMA}, {"response_format": SCHEMA}, ()),
    ("no_response_format", {"response_format": {"type": "text"}}, {}, ()),
    (
        "no_strict_tools",
        {"tools": [STRICT, LAX]},
        {"tools": [NAMED, NAMED]},
        ("tools[0].function.strict",),
    ),
    ("random_seed", {"seed": 7}, {"random_seed": 7}, ()),
    (
        "no_developer_role",
        {"messages": [{"role": "developer", "content": "Be brief."}, HELLO]},
        {"messages": [{"role": "system", "content": "Be brief."}, HELLO]},
        (),
    ),
    (
        "no_names",
        {"messages": [{**HELLO, "name": "ann"}, HELLO]},
        {"messages": [HELLO, HELLO]},
        ("messages[0].name",),
    ),
    (
        "string_content",
        {"messages": [{"role": "user", "content": PARTS}]},
        {"messages": [{"role": "user", "content": "a\nb"}]},
        (),
    ),
    (
        "no_answer_members",
        {
            "messages": [
                {"role": "assistant", "content": "a", "refusal": None},
                {"role": "assistant", "content": None, "refusal": "No."},
            ]
        },
        {
            "messages": [
                {"role": "assistant", "content": "a"},
                {"role": "assistant", "content": None},
            ]
        },
        ("messages[1].refusal",),
    ),
    (
        "no_reasoning_back",
        {"messages": [{"role": "assistant", "content": "a", "reasoning": "r"}]},
        {"messages": [{"role": "assistant", "content": "a"}]},
        ("messages[0].reasoning",),
    ),
    (
        "no_reasoning_back",
        {"messages": [{"role": "assistant", "tool_calls": [PROVEN_CALL]}]},
        {"messages": [{"role": "assistant", "tool_calls": [A_CALL]}]},
        ("messages[0].tool_calls[0].extra_content",),
    ),
    *(
        (
            kind,
            {
                "messages": [
                    {"role": "assistant", "content": "a", "thinking_blocks": []}
                ]
            },
            {"messages": [{"role": "assistant", "content": "a"}]},
            ("messages[0].thinking_blocks",),
        )
        for kind in ("no_proofs_back", "reasoning_back", "reasoning_required")
    ),
    (
        "reasoning_required",
        {"messages": [{"role": "assistant", "tool_calls": [A_CALL]}]},
        {
            "messages": [
                {"role": "assistant", "tool_calls": [A_CALL], "reasoning_content": " "}
            ]
        },
        (),
    ),
    (
        "reasoning",
        {"messages": [{"role": "assistant", "reasoning_content": "r"}]},
        {"messages": [{"role": "assistant", "reasoning": "r"}]},
        (),
    ),
    (
        "thinking_chunks",
        {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "r"}]},
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": [
                        {
                            "type": "thinking",
                            "thinking": [{"type": "text", "text": "r"}],
                        },
                        {"type": "text", "text": "a"},
                    ],
                }
            ]
        },
        (),
    ),
    (
        "thinking_chunks",
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "thinking_blocks": [
                        {"type": "thinking", "thinking": "r", "signature": "mistral:p"},
                        {"type": "thinking", "thinking": "s", "signature": "Claude's"},
                        {"type": "redacted_thinking", "data": "x"},
                    ],
                }
            ]
        },
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": [
                        {
                            "type": "thinking",
                            "thinking": [{"type": "text", "text": "r"}],
                            "signature": "p",
                        },
                        {
                            "type": "thinking",
                            "thinking": [{"type": "text", "text": "s"}],
                        },
                    ],
                }
            ]
        },
        (),
    ),
    (
        "audio_string",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "input_audio",
                            "input_audio": {"data": "UklG", "format": "wav"},
                        },
                        {"type": "text", "text": "a"},
                    ],
                }
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_audio", "input_audio": "UklG"},
                        {"type": "text", "text": "a"},
                    ],
                }
            ]
        },
        (),
    ),
    (
        "efforts_none_high",
        {"reasoning_effort": "high"},
        {"reasoning_effort": "high"},
        (),
    ),
    ("efforts_none_high", {"reasoning_effort": "low"}, {}, ("reasoning_effort",)),
    ("service_tier_standard", {"service_tier": "auto"}, {"service_tier": "auto"}, ()),
    (
        "service_tier_standard",
        {"service_tier": "default"},
        {"service_tier": "standard_only"},
        (),
    ),
    ("service_tier_standard", {"service_tier": "flex"}, {}, ("service_tier",)),
    (
        "no_prompt_cache_options",
        {"prompt_cache_key": "k", "prompt_cache_retention": "24h"},
        {"prompt_cache_key": "k"},
        ("prompt_cache_retention",),
    ),
    (
        "tool_ids",
        {
            "messages": [
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_abc", "content": "1"},
                {"role": "tool", "tool_call_id": "D681PevKs", "content": "2"},
            ]
        },
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [{**CALL, "id": nine_characters("call_abc")}],
                },
                {
                    "role": "tool",
                    "tool_call_id": nine_characters("call_abc"),
                    "content": "1",
                },
                {"role": "tool", "tool_call_id": "D681PevKs", "content": "2"},
            ]
        },
        (),
    ),
    (
        "document_url",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "file",
                            "file": {
                                "file_data": "data:application/pdf;base64,QQ==",
                                "filename": "f",
                            },
                        },
                        {"type": "file", "file": {"file_id": "i"}},
                    ],
                }
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document_url",
                            "document_url": "data:application/pdf;base64,QQ==",
                            "document_name": "f",
                        },
                        {"type": "file", "file_id": "i"},
                    ],
                }
            ]
        },
        (),
    ),
    (
        "prefix",
        {"messages": [HELLO, {"role": "assistant", "content": "Once"}]},
        {
            "messages": [
                HELLO,
                {"role": "assistant", "content": "Once", "prefix": True},
            ]
        },
        (),
    ),
]

# kind, what the client says, the field that the refusal names
REFUSED: list[tuple[str, Json, str]] = [
    ("no_parallel_tool_calls", {"parallel_tool_calls": False}, "parallel_tool_calls"),
    ("no_web_search", {"web_search_options": {}}, "web_search_options"),
    ("no_n", {"n": 2}, "n"),
    ("no_logprobs", {"logprobs": True}, "logprobs"),
    ("no_logprobs", {"top_logprobs": 2}, "top_logprobs"),
    ("no_tools", {"tools": [TOOL]}, "tools"),
    ("no_tool_choice", {"tool_choice": "required"}, "tool_choice"),
    ("tool_choice_auto", {"tool_choice": "required"}, "tool_choice"),
    ("tool_choice_auto", {"tool_choice": NAMED}, "tool_choice"),
    ("tool_choice_unnamed", {"tool_choice": NAMED}, "tool_choice"),
    ("stop_1", {"stop": [".", "!"]}, "stop"),
    (
        "document_url",
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
        "messages[0].content[0]",
    ),
    ("no_json_object", {"response_format": OBJECT}, "response_format"),
    ("no_response_format", {"response_format": OBJECT}, "response_format"),
    (
        "string_content",
        {"messages": [{"role": "user", "content": PICTURE}]},
        "messages[0].content[0]",
    ),
]


def server(*kinds: str) -> AnyProviderFormat:
    return quirky(openai_chat.PROVIDER, kinds, "Acme")


def asking(said: Json) -> Json:
    return {"model": "m", "messages": [HELLO], **said}


def adapted(kind: str, body: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Do what the exchange does with a request that passes."""
    members = read_members(body)
    adapt = server(kind).adapt
    assert adapt is not None
    out = adapt(members, "m")
    gone = {name for name, value in out.changes.items() if value is None}
    changes = {name: v for name, v in out.changes.items() if v is not None}
    left = {name: raw for name, raw in members.items() if name not in gone}
    return patch(remove(body, members, gone), left, changes), out.dropped


def id_of(case: tuple[Any, ...]) -> str:
    return f"{case[0]} {msgspec.json.encode(case[1])[:60].decode()}"


@pytest.mark.parametrize("case", KEPT, ids=id_of)
def test_a_request_that_passes_is_changed_where_the_kind_says(case):
    kind, said, expected, dropped = case
    body, reported = adapted(kind, msgspec.json.encode(asking(said)))
    assert msgspec.json.decode(body) == asking(expected)
    assert reported == dropped


@pytest.mark.parametrize("case", REFUSED, ids=id_of)
def test_what_would_change_the_answer_is_refused_by_field_and_provider(case):
    kind, said, field = case
    with pytest.raises(Unsupported, match=r"^Acme ") as refused:
        adapted(kind, msgspec.json.encode(asking(said)))
    assert refused.value.param == field
    assert refused.value.status == 400


@pytest.mark.parametrize("kind", [*KINDS, "stop_4"])
def test_a_request_without_the_trait_passes_byte_for_byte(kind):
    body = (
        b'{ "model":"m" ,\n"messages" : [{"role":"user","content":"\\u0041"}],"x":1.0}'
    )
    found = find_kind(kind)
    assert found is not None
    if not found.requests:
        assert server(kind).adapt is openai_chat.PROVIDER.adapt
        return
    assert adapted(kind, body) == (body, ())


@pytest.mark.parametrize("kind", [*KINDS, "stop_4"])
@pytest.mark.parametrize("value", [b"7", b'"x"', b"[7]", b"{}", b"null", b'["",null]'])
def test_a_wrong_type_is_the_servers_to_refuse(kind, value):
    """Whatever stands in a member, no kind breaks on it."""
    found = find_kind(kind)
    assert found is not None
    if not found.requests:
        return
    for member in ("messages", "tools", "stop", "response_format", "tool_choice"):
        body = b'{"model":"m","' + member.encode() + b'":' + value + b"}"
        try:
            adapted(kind, body)
        except Unsupported as refused:
            assert refused.param == member  # noqa: PT017


def test_what_is_not_changed_keeps_its_bytes():
    body = (
        b'{"model":"m", "seed" : 7,"temperature":0.70,\n "messages":[{"role":'
        b'"developer","content":"\\u00e9 1.0"}] , "user":"u"}'
    )
    members = read_members(body)
    adapt = server("no_seed", "no_developer_role").adapt
    assert adapt is not None
    out = adapt(members, "m")
    assert remove(body, members, {"seed"}) == body.replace(b' "seed" : 7,', b"")
    assert out.changes["seed"] is None
    assert out.changes["messages"] == b'[{"role":"system","content":"\\u00e9 1.0"}]'


@pytest.mark.parametrize("case", KEPT, ids=id_of)
def test_a_translated_request_is_changed_like_one_that_passes(case):
    kind, said, _, _ = case
    body = msgspec.json.encode(asking(said))
    request = openai_chat.CLIENT.read_request(body, read_members(body))
    found = find_kind(kind)
    assert found is not None
    plain = write_request(request, "m", 4096, thoughts=found.thoughts)
    written = server(kind).write_request(request, "m", 4096)
    expected, _ = adapted(kind, plain.body)
    assert msgspec.json.decode(written.body) == msgspec.json.decode(expected)


def test_a_refusal_of_a_translated_request_names_the_clients_own_field():
    request = canonical.Request(
        model="m",
        messages=(canonical.Message("user", (canonical.Text("Hi"),)),),
        output_format=canonical.OutputFormat("json_schema", schema=msgspec.Raw(b"{}")),
        names={"output_format": "text.format"},
    )
    with pytest.raises(Unsupported) as refused:
        server("no_response_format").write_request(request, "m", 4096)
    assert refused.value.param == "text.format"


def test_what_is_left_out_of_a_translated_request_is_named_as_the_client_did():
    request = canonical.Request(
        model="m",
        messages=(canonical.Message("user", (canonical.Text("Hi"),)),),
        end_user="u1",
        stream=True,
        names={"end_user": "metadata.user_id"},
    )
    written = server("no_user", "no_stream_options").write_request(request, "m", 4096)
    # That there is no usage is nothing that this client asked for.
    assert written.dropped == ("metadata.user_id",)
    assert "stream_options" not in msgspec.json.decode(written.body)


def test_without_kinds_the_format_is_the_same_object():
    assert quirky(openai_chat.PROVIDER, (), "Acme") is openai_chat.PROVIDER


def test_every_kind_of_request_is_in_the_table():
    tried = {case[0] for case in KEPT} | {case[0] for case in REFUSED}
    assert {name for name, kind in KINDS.items() if kind.requests} <= tried


@pytest.mark.parametrize("name", ["no_such", "stop_", "stop_0", "stop_100", "STOP_1"])
def test_a_kind_that_is_none_is_a_key_error(name):
    assert find_kind(name) is None
    with pytest.raises(KeyError):
        quirky(openai_chat.PROVIDER, (name,), "Acme")


def test_ids_of_nine_characters_are_stable_and_differ():
    made = {nine_characters(f"call_{i}") for i in range(1000)}
    assert len(made) == 1000
    assert all(len(one) == 9 and one.isalnum() for one in made)
