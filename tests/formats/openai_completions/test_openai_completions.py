"""Legacy completions: requests read, answers and streams written, judged by the SDK."""

from __future__ import annotations

import json
import typing
from typing import Any, get_args

import httpx2
import openai
import pytest
from openai.types import Completion
from openai.types.completion_create_params import CompletionCreateParamsBase

from extproc import canonical as c
from extproc.errors import BadRequest, Overloaded
from extproc.formats import anthropic, openai_chat
from extproc.formats.base import Unsupported, WriterContext
from extproc.formats.openai_completions import CLIENT
from extproc.framing.members import read_members
from extproc.framing.sse import SSEDecoder
from extproc.usage import Usage

CONTEXT = WriterContext(id="gw1", created=1700, model="asked", include_usage=True)
SILENT = WriterContext(id="gw1", created=1700, model="asked", include_usage=False)
ASKED: Any = {"model": "m", "prompt": "hi"}

STREAM: list[c.Event] = [
    c.Started("a1", "claude", Usage(7, 0), created=5),
    c.PartStarted(0, "reasoning"), c.Delta(0, "Hm"), c.SignatureDelta(0, "s"), c.PartEnded(0),
    c.KeepAlive(),
    c.PartStarted(1, "text"), c.Delta(1, 'Hi "ü"\n'), c.Delta(1, ""), c.PartEnded(1),
    c.PartStarted(0, "refusal", choice=1), c.Delta(0, "no", choice=1), c.PartEnded(0, choice=1),
    c.Finished("length"), c.Finished("refusal", choice=1),
    c.Reported(Usage(10, 5, 3, 2, 1)), c.Ended(),
]  # fmt: skip


def read(**members: Any) -> c.Request:
    body = json.dumps({**ASKED, **members}).encode()
    return CLIENT.read_request(body, read_members(body))


def chunks(stream: bytes) -> list[dict[str, Any]]:
    said = [f.data for f in SSEDecoder().feed(stream) if f.data != b"[DONE]"]
    if said and b'"choices":[]' not in said[-1]:
        last = json.loads(said[-1])
        assert last["choices"][0]["finish_reason"]
    return [json.loads(data) for data in said]


def sdk(reply: bytes, kind: str = "text/event-stream") -> openai.OpenAI:
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": kind}, content=reply)
    )
    return openai.OpenAI(
        api_key="k", base_url="http://gateway.test/v1", max_retries=0,
        http_client=httpx2.Client(transport=transport),
    )  # fmt: skip


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("prompt", ["hi", ["hi"]])
def test_a_prompt_is_what_the_user_says(prompt):
    request = read(prompt=prompt)
    assert request.messages == (c.Message("user", (c.Text("hi"),), where="prompt"),)
    assert request.max_output_tokens == 16


def test_every_field_of_the_sdk_is_read_kept_or_refused():
    samples: dict[str, Any] = {
        "best_of": 3, "echo": True, "frequency_penalty": 0.5, "logit_bias": {"1": 2},
        "logprobs": 0, "max_tokens": 7, "n": 2, "presence_penalty": 0.5, "seed": 7,
        "stop": ["x"], "stream_options": {"include_usage": True}, "suffix": "x",
        "temperature": 0.5, "top_p": 0.5, "user": "u", "stream": True, "model": "x",
        "prompt": "x",
    }  # fmt: skip
    fields = {*typing.get_type_hints(CompletionCreateParamsBase), "stream"}
    assert set(samples) == fields
    for name, value in samples.items():
        assert read(**{name: value}) != read(), name


@pytest.mark.parametrize(
    "nothing",
    [
        {"suffix": None}, {"suffix": ""}, {"echo": False}, {"best_of": 1}, {"logprobs": None},
        {"stream_options": None}, {"n": 1, "best_of": 1}, {"user": None}, {"stop": None},
    ],
)  # fmt: skip
def test_what_asks_for_nothing_leaves_no_trace(nothing):
    assert read(**nothing).extras == {}


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"suffix": "x"}, "suffix"),
        ({"echo": True}, "echo"),
        ({"best_of": 3}, "best_of"),
        ({"logprobs": 2}, "logprobs"),
        ({"brand_new": 1}, "brand_new"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
    ],
)
@pytest.mark.parametrize("provider", [openai_chat.PROVIDER, anthropic.PROVIDER])
def test_what_would_change_the_meaning_is_refused_by_name(members, name, provider):
    with pytest.raises(Unsupported) as caught:
        provider.write_request(read(**members), "claude-sonnet-4-5", 100)
    assert caught.value.param == name


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"prompt": []}, "prompt", "missing_required_parameter"),
        ({"prompt": {}}, "prompt", "invalid_type"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
    ],
)
def test_a_wrong_request_is_refused_in_openais_words(members, param, code):
    with pytest.raises(BadRequest) as caught:
        read(**members)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_completion_reaches_other_providers():
    request = read(stop="END", stream=True, stream_options={"include_usage": True})
    assert request.include_usage
    body = json.loads(
        anthropic.PROVIDER.write_request(request, "claude-sonnet-4-5", 100).body
    )
    assert (body["max_tokens"], body["stop_sequences"]) == (16, ["END"])
    said = json.loads(openai_chat.PROVIDER.write_request(request, "gpt-4o", 100).body)
    assert said["messages"] == [{"role": "user", "content": "hi"}]


# ---------------------------------------------------------------- answers


def test_an_answer_is_text():
    parts = (c.Reasoning("Hm"), c.Text("a"), c.Refusal("b"), c.ToolCall("c", "f", "{}"))
    answer = c.Answer(
        "", "", (c.Choice(parts, "stop"), c.Choice((), "length")), Usage(1, 2)
    )
    body = CLIENT.write_answer(answer, CONTEXT)
    said = Completion.model_validate_json(body, strict=True)
    assert (said.id, said.model, said.created) == ("gw1", "asked", 1700)
    assert [(x.index, x.text, x.finish_reason) for x in said.choices] == [
        (0, "ab", "stop"),
        (1, "", "length"),
    ]
    assert said.usage is not None
    assert said.usage.total_tokens == 3
    with sdk(body, "application/json") as client:
        assert client.completions.create(**ASKED).choices[0].text == "ab"


@pytest.mark.parametrize("finish", get_args(c.Finish))
def test_every_finish_has_a_word(finish):
    body = CLIENT.write_answer(c.Answer("a", "m", (c.Choice((), finish),)), CONTEXT)
    Completion.model_validate_json(body, strict=True)


def test_openai_python_reads_the_stream():
    stream = CLIENT.stream_writer(CONTEXT).write(STREAM)
    assert stream.endswith(b"data: [DONE]\n\n")
    with sdk(stream) as client:
        told = list(client.completions.create(**ASKED, stream=True))
    *said, usage = told
    assert [(x.choices[0].index, x.choices[0].text) for x in said] == [
        (0, 'Hi "ü"\n'), (1, "no"), (0, ""), (1, ""),
    ]  # fmt: skip
    assert [x.choices[0].finish_reason for x in said] == [
        None,
        None,
        "length",
        "content_filter",
    ]
    assert {(x.id, x.model, x.created) for x in told} == {("a1", "claude", 5)}
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.total_tokens == 15


def test_usage_comes_only_if_asked_for():
    stream = CLIENT.stream_writer(SILENT).write(STREAM)
    assert b"usage" not in stream
    assert len(chunks(stream)) == 4


def test_one_event_at_a_time_gives_the_same_bytes():
    writer = CLIENT.stream_writer(CONTEXT)
    assert b"".join(writer.write([event]) for event in STREAM) == CLIENT.stream_writer(
        CONTEXT
    ).write(STREAM)


@pytest.mark.parametrize("before", range(len(STREAM) - 1))
def test_openai_python_raises_our_error_wherever_it_comes(before):
    writer = CLIENT.stream_writer(CONTEXT)
    stream = writer.write(
        [*STREAM[:before], c.Failed(Overloaded("full")), *STREAM[before:]]
    )
    assert writer.write(STREAM) == b""
    with sdk(stream) as client, pytest.raises(openai.APIError, match="full"):
        list(client.completions.create(**ASKED, stream=True))
