"""Gemini's stream in, canonical events out: any split, any line end, no surprises.

Whole answers are here too: each case is read both ways, and must say the same.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import itertools
from typing import Any

import msgspec
import pytest
from google.genai import types
from hypothesis import given, strategies as st

from extproc import canonical as c
from extproc.errors import ProtocolViolation, TruncatedStream
from extproc.formats.anthropic import CLIENT as ANTHROPIC
from extproc.formats.base import State, WriterContext
from extproc.formats.gemini import PROVIDER, wire
from extproc.formats.gemini.answer import overview, read_answer
from extproc.formats.gemini.choice_reader import FINISH
from extproc.formats.gemini.passage import ChunkPassage
from extproc.formats.gemini.signatures import tagged
from extproc.formats.gemini.stream import ChunkStream
from extproc.formats.openai_chat import CLIENT as OPENAI
from extproc.framing.members import read_members
from extproc.framing.sse import Frame, SSEDecoder
from extproc.usage import Usage

Json = dict[str, Any]

SIGNED = base64.b64encode(b"signed").decode()


def chunk(*parts: Json, finish: str | None = None, index: int = 0, **more: Any) -> Json:
    candidate: Json = {"index": index}
    if parts:
        candidate["content"] = {"parts": list(parts), "role": "model"}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **HEAD, **more}


def text(words: str, **more: Any) -> Json:
    return {"text": words, **more}


def thought(words: str, **more: Any) -> Json:
    return {"text": words, "thought": True, **more}


def call(name: str, args: Json | None = None, **more: Any) -> Json:
    function: Json = {"name": name}
    if args is not None:
        function["args"] = args
    if "id" in more:
        function["id"] = more.pop("id")
    return {"functionCall": function, **more}


def grounded(said: Json, start: int, end: int) -> Json:
    """Let bytes of the candidate's text rest on a page."""
    segment = {"startIndex": start, "endIndex": end}
    said["candidates"][0]["groundingMetadata"] = {
        "groundingChunks": [{"web": {"uri": "https://a.test", "title": "A"}}],
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0]}],
    }
    return said


CITED = c.Citation("https://a.test", "A", start=3, end=7)
FOUND = c.Search("search_r1_0", (), (c.Found("https://a.test", "A"),))


def counts(prompt: int, output: int = 0, thoughts: int = 0, **more: int) -> Json:
    usage: Json = {"promptTokenCount": prompt, **more}
    if output:
        usage["candidatesTokenCount"] = output
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    return {"usageMetadata": usage}


HEAD: Json = {"responseId": "r1", "modelVersion": "gemini-4-argon"}
STARTED = c.Started("r1", "gemini-4-argon")


@dataclasses.dataclass(frozen=True)
class Case:
    """A stream, the events that it amounts to, and the parts of the same answer."""

    name: str
    said: list[Json]
    events: list[c.Event]
    parts: tuple[c.AnswerPart, ...]
    finish: c.Finish = "stop"
    usage: Usage | None = None
    unknown: int = 0
    skipped: int = 0


CASES = [
    Case(
        "text, with the tokens so far in every chunk",
        [
            chunk(text("Hello"), **counts(10, 1)),
            chunk(text(" é\n\r\U0001f600"), **counts(10, 2)),
            chunk(text(""), finish="STOP", **counts(10, 3, 4)),
        ],
        [
            c.Started("r1", "gemini-4-argon", Usage(10, 1)), c.PartStarted(0, "text"),
            c.Delta(0, "Hello"), c.Delta(0, " é\n\r\U0001f600"), c.PartEnded(0),
            c.Finished("stop"), c.Reported(Usage(10, 7, reasoning_output_tokens=4)),
            c.Ended(),
        ],
        (c.Text("Hello é\n\r\U0001f600"),),
        usage=Usage(10, 7, reasoning_output_tokens=4),
    ),
    Case(
        "counts behind the last word are reported again; only counts keep alive",
        [
            chunk(text("a"), finish="STOP", **counts(5, 1)), {**counts(5, 1), **HEAD},
            {**counts(5, 2), **HEAD},
        ],
        [
            c.Started("r1", "gemini-4-argon", Usage(5, 1)), c.PartStarted(0, "text"),
            c.Delta(0, "a"), c.PartEnded(0), c.Finished("stop"), c.Reported(Usage(5, 1)),
            c.KeepAlive(), c.KeepAlive(), c.Reported(Usage(5, 2)), c.Ended(),
        ],
        (c.Text("a"),),
        usage=Usage(5, 2),
    ),
    Case(
        "thoughts; the call's proof is on the thought before it, and on the call",
        [
            chunk(thought("let ")), chunk(thought("me see")),
            chunk(
                call("weather", {"city": "Rome"}, id="x7", thoughtSignature=SIGNED),
                call("clock", id="x8"),
            ),
            chunk(finish="STOP"),
        ],
        [
            STARTED, c.PartStarted(0, "reasoning"), c.Delta(0, "let "),
            c.Delta(0, "me see"), c.SignatureDelta(0, tagged(SIGNED)), c.PartEnded(0),
            c.PartStarted(1, "tool_call", "x7", "weather"),
            c.Delta(1, '{"city":"Rome"}'), c.SignatureDelta(1, SIGNED), c.PartEnded(1),
            c.PartStarted(2, "tool_call", "x8", "clock"), c.Delta(2, "{}"),
            c.PartEnded(2), c.Finished("tool_calls"), c.Ended(),
        ],
        (
            c.Reasoning("let me see", tagged(SIGNED)),
            c.ToolCall("x7", "weather", '{"city":"Rome"}', signature=SIGNED),
            c.ToolCall("x8", "clock", "{}"),
        ),
        "tool_calls",
    ),
    Case(
        "calls without ids have some of their own; text around them keeps its place",
        [
            chunk(text("so")), chunk(call("f", {}, thoughtSignature=SIGNED)),
            chunk(text("and"), call("f", {})), chunk(finish="STOP"),
        ],
        [
            STARTED, c.PartStarted(0, "text"), c.Delta(0, "so"), c.PartEnded(0),
            c.PartStarted(1, "reasoning"), c.SignatureDelta(1, tagged(SIGNED)),
            c.PartEnded(1), c.PartStarted(2, "tool_call", "call_r1_0_0", "f"),
            c.Delta(2, "{}"), c.SignatureDelta(2, SIGNED), c.PartEnded(2),
            c.PartStarted(3, "text"), c.Delta(3, "and"), c.PartEnded(3),
            c.PartStarted(4, "tool_call", "call_r1_0_1", "f"), c.Delta(4, "{}"),
            c.PartEnded(4), c.Finished("tool_calls"), c.Ended(),
        ],
        (
            c.Text("so"), c.Reasoning("", tagged(SIGNED)),
            c.ToolCall("call_r1_0_0", "f", "{}", signature=SIGNED), c.Text("and"),
            c.ToolCall("call_r1_0_1", "f", "{}"),
        ),
        "tool_calls",
    ),
    Case(
        "what a text rests on comes behind its signature, and is told before it",
        [
            chunk(text("日本 says so")), chunk(text("", thoughtSignature=SIGNED)),
            grounded(chunk(finish="STOP"), 7, 11),
        ],
        [
            STARTED, c.PartStarted(0, "text"), c.Delta(0, "日本 says so"),
            c.KeepAlive(), c.Cited(0, CITED), c.Searched(FOUND), c.PartEnded(0),
            c.PartStarted(1, "reasoning"), c.SignatureDelta(1, tagged(SIGNED)),
            c.PartEnded(1), c.Finished("stop"), c.Ended(),
        ],
        (
            FOUND, c.Text("日本 says so", citations=(CITED,)),
            c.Reasoning("", tagged(SIGNED)),
        ),
    ),
    Case(
        "a signature on an empty text, on a text, and on a thought",
        [
            chunk(thought("t", thoughtSignature="YQ==")),
            chunk(text("a", thoughtSignature="Yg==")),
            chunk(text("b")), chunk(text("", thoughtSignature="Yw=="), finish="STOP"),
        ],
        [
            STARTED, c.PartStarted(0, "reasoning"), c.Delta(0, "t"),
            c.SignatureDelta(0, tagged("YQ==")), c.PartEnded(0),
            c.PartStarted(1, "text"), c.Delta(1, "a"), c.PartEnded(1),
            c.PartStarted(2, "reasoning"), c.SignatureDelta(2, tagged("Yg==")),
            c.PartEnded(2), c.PartStarted(3, "text"), c.Delta(3, "b"), c.PartEnded(3),
            c.PartStarted(4, "reasoning"), c.SignatureDelta(4, tagged("Yw==")),
            c.PartEnded(4), c.Finished("stop"), c.Ended(),
        ],
        (
            c.Reasoning("t", tagged("YQ==")), c.Text("a"),
            c.Reasoning("", tagged("Yg==")), c.Text("b"),
            c.Reasoning("", tagged("Yw==")),
        ),
    ),
    Case(
        "an empty answer",
        [chunk(finish="MAX_TOKENS", **counts(3, 0, 9))],
        [
            c.Started("r1", "gemini-4-argon", Usage(3, 9, reasoning_output_tokens=9)),
            c.Finished("length"), c.Reported(Usage(3, 9, reasoning_output_tokens=9)),
            c.Ended(),
        ],
        (), "length", Usage(3, 9, reasoning_output_tokens=9),
    ),
    Case(
        "a prompt that was refused",
        [{"promptFeedback": {"blockReason": "SAFETY"}, **HEAD, **counts(7)}],
        [
            c.Started("r1", "gemini-4-argon", Usage(7)), c.PartStarted(0, "refusal"),
            c.Delta(0, "The prompt was blocked: SAFETY."), c.PartEnded(0),
            c.Finished("content_filter"), c.Reported(Usage(7)), c.Ended(),
        ],
        (c.Refusal("The prompt was blocked: SAFETY."),), "content_filter", Usage(7),
    ),
    Case(
        "what cannot be said is counted",
        [
            chunk({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}, text("a")),
            chunk({"executableCode": {"code": "1", "language": "PYTHON"}}),
            chunk(finish="MELTDOWN"),
        ],
        [
            STARTED, c.Unsaid("parts"), c.PartStarted(0, "text"), c.Delta(0, "a"),
            c.Unsaid("parts"), c.KeepAlive(), c.PartEnded(0), c.Finished("stop"),
            c.Ended(),
        ],
        (c.Text("a"),),
        unknown=1, skipped=2,
    ),
]  # fmt: skip

TWO = [
    chunk(text("a")), chunk(text("x"), index=1), chunk(text("b"), finish="STOP"),
    chunk(call("f"), finish="STOP", index=1), chunk(index=1, finish="STOP"),
]  # fmt: skip


def encode(said: list[Json], line_end: str = "\n") -> bytes:
    frames = (msgspec.json.encode(one).decode() for one in said)
    return "".join(f"data: {one}{line_end * 2}" for one in frames).encode()


def play(stream: ChunkStream, pieces: list[bytes]) -> list[c.Event]:
    """Return the events, neighboring deltas apart, as the exchange would read them."""
    frames = SSEDecoder()
    out: list[c.Event] = []
    for piece in pieces:
        for frame in frames.feed(piece):
            out += stream.feed(frame)
    for frame in frames.close():
        out += stream.feed(frame)
    return out + stream.close()


def whole(said: list[Json]) -> Json:
    """Return the same answer unstreamed: its parts together, its last words count."""
    answer: Json = {}
    parts: dict[int, list[Json]] = {}
    candidates: dict[int, Json] = {}
    for one in copy.deepcopy(said):
        for candidate in one.pop("candidates", ()):
            index = candidate["index"]
            parts.setdefault(index, []).extend(
                candidate.pop("content", {}).get("parts", ())
            )
            candidates[index] = {**candidates.get(index, {}), **candidate}
        answer |= one
    for index, candidate in candidates.items():
        if parts[index]:
            candidate["content"] = {"parts": parts[index], "role": "model"}
    if candidates:
        answer["candidates"] = list(candidates.values())
    return answer


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stream_means_the_same_in_every_split(case, line_end):
    data = encode(case.said, line_end)
    for pieces in ([data], [bytes([byte]) for byte in data]):
        stream = ChunkStream()
        assert play(stream, pieces) == case.events
        assert (stream.unknown, stream.skipped) == (case.unknown, case.skipped)


@given(data=st.data())
def test_any_split_gives_the_same_events(data):
    case = data.draw(st.sampled_from(CASES))
    said = encode(case.said, data.draw(st.sampled_from(["\n", "\r\n"])))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(said)), max_size=8)))
    edges = [0, *cuts, len(said)]
    pieces = [said[a:b] for a, b in itertools.pairwise(edges)]
    assert play(ChunkStream(), pieces) == case.events


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_cases_are_what_the_sdk_reads(case):
    for one in case.said:
        known = msgspec.json.encode(one).replace(b"MELTDOWN", b"OTHER")
        types.GenerateContentResponse.model_validate_json(known)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_any_truncation_is_noticed(case):
    ends = next(
        i
        for i, one in enumerate(case.said)
        if "promptFeedback" in one
        or any("finishReason" in candidate for candidate in one.get("candidates", ()))
    )
    for kept in range(ends + 1):
        with pytest.raises(TruncatedStream):
            play(ChunkStream(), [encode(case.said[:kept])])
    data = encode(case.said[: ends + 1]).rstrip()
    for size in range(len(encode(case.said[:ends])), len(data)):
        with pytest.raises((TruncatedStream, ProtocolViolation)):
            play(ChunkStream(), [data[:size]])
    assert play(ChunkStream(), [data])[-1] == c.Ended()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_whole_answer_says_what_its_stream_says(case):
    answer = read_answer(msgspec.json.encode(whole(case.said)))
    (choice,) = answer.choices
    assert (choice.parts, choice.finish) == (case.parts, case.finish)
    assert (answer.id, answer.model) == ("r1", "gemini-4-argon")
    assert answer.usage == case.usage


def test_candidates_are_told_apart_by_their_index():
    events = play(ChunkStream(), [encode(TWO)])
    finishes = [event for event in events if isinstance(event, c.Finished)]
    assert finishes == [c.Finished("stop"), c.Finished("tool_calls", choice=1)]
    deltas = [(e.choice, e.index, e.text) for e in events if isinstance(e, c.Delta)]
    assert deltas == [(0, 0, "a"), (1, 0, "x"), (0, 0, "b"), (1, 1, "{}")]
    with pytest.raises(TruncatedStream):
        play(ChunkStream(), [encode(TWO[:3])])
    said = whole(TWO)
    said["candidates"].reverse()
    answer = read_answer(msgspec.json.encode(said))
    assert [choice.parts for choice in answer.choices] == [
        (c.Text("ab"),), (c.Text("x"), c.ToolCall("call_r1_1_0", "f", "{}")),
    ]  # fmt: skip


def test_a_missing_index_is_the_place():
    body = b'{"candidates":[{"content":{"parts":[{"text":"a"}]}},{"finishReason":"SAFETY"}]}'
    first, second = read_answer(body).choices
    assert (first.parts, first.finish) == ((c.Text("a"),), "stop")
    assert (second.parts, second.finish) == ((), "content_filter")


# ---------------------------------------------------------------- finish and usage


def test_every_finish_reason_of_the_sdk_is_known():
    assert set(FINISH) == {reason.value for reason in types.FinishReason}


@pytest.mark.parametrize("reason", [reason.value for reason in types.FinishReason])
def test_every_finish_reason_says_the_same_streamed_and_whole(reason):
    said = [chunk(text("a")), chunk(finish=reason)]
    events = play(ChunkStream(), [encode(said)])
    assert c.Finished(FINISH[reason]) in events
    answer = read_answer(msgspec.json.encode(whole(said)))
    assert answer.choices[0].finish == FINISH[reason]


@pytest.mark.parametrize("reason", ["STOP", "OTHER", "MAX_TOKENS", "SAFETY"])
def test_calls_finish_as_calls_unless_they_were_cut_off(reason):
    events = play(ChunkStream(), [encode([chunk(call("f"), finish=reason)])])
    expected = {"MAX_TOKENS": "length", "SAFETY": "content_filter"}
    assert c.Finished(expected.get(reason, "tool_calls")) in events  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", [reason.value for reason in types.BlockedReason])
def test_every_block_of_a_prompt_is_an_answer(reason):
    said = {"promptFeedback": {"blockReason": reason, "blockReasonMessage": "No."}}
    (choice,) = read_answer(msgspec.json.encode(said)).choices
    assert choice == c.Choice((c.Refusal("No."),), "content_filter")


def test_a_block_in_the_middle_ends_what_has_begun():
    said = [chunk(text("a")), {"promptFeedback": {"blockReason": "OTHER"}, **HEAD}]
    assert play(ChunkStream(), [encode(said)])[-3:] == [
        c.PartEnded(0), c.Finished("content_filter"), c.Ended(),
    ]  # fmt: skip


def test_usage_counts_thoughts_tools_and_the_cache_once():
    said = chunk(
        text("a"), finish="STOP",
        **counts(
            100, 20, 30, cachedContentTokenCount=60, toolUsePromptTokenCount=7,
            totalTokenCount=157,
        ),
    )  # fmt: skip
    usage = read_answer(msgspec.json.encode(said)).usage
    assert usage == Usage(
        107, 50, cache_read_input_tokens=60, reasoning_output_tokens=30
    )
    assert usage.total_tokens == 157


def test_what_was_heard_and_not_cached_is_counted_apart():
    details = {
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 40}, {"modality": "AUDIO", "tokenCount": 60},
        ],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 25}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}, {}],
    }  # fmt: skip
    said = chunk(text("a"), finish="STOP", **counts(100, 20, 0))
    said["usageMetadata"] |= details
    usage = read_answer(msgspec.json.encode(said)).usage
    assert usage is not None
    assert (usage.audio_input_tokens, usage.audio_output_tokens) == (35, 9)


def test_log_probabilities_are_openais():
    said = chunk(text("hé"), finish="STOP")
    said["candidates"][0]["logprobsResult"] = {
        "chosenCandidates": [{"token": "hé", "tokenId": 1, "logProbability": -0.5}],
        "topCandidates": [
            {"candidates": [{"token": "h", "tokenId": 2, "logProbability": -1.5}]}
        ],
    }
    logprobs = read_answer(msgspec.json.encode(said)).choices[0].logprobs
    assert logprobs is not None
    assert msgspec.json.decode(logprobs) == {
        "content": [
            {
                "token": "hé", "logprob": -0.5, "bytes": [104, 195, 169],
                "top_logprobs": [{"token": "h", "logprob": -1.5, "bytes": [104]}],
            }
        ],
        "refusal": None,
    }  # fmt: skip


# ---------------------------------------------------------------- errors and disorder


ERROR = {
    "error": {
        "code": 503,
        "message": "The model is overloaded.",
        "status": "UNAVAILABLE",
    }
}


@pytest.mark.parametrize("before", range(3))
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_error_in_the_stream_ends_it_and_is_told(before, wrapped):
    last: Any = [ERROR] if wrapped else ERROR
    stream = ChunkStream()
    events = play(stream, [encode([*CASES[0].said[:before], last])])
    (failed,) = [event for event in events if isinstance(event, c.Failed)]
    assert events[-1] is failed
    assert (failed.error.status, failed.error.code) == (503, "overloaded")
    assert failed.error.message == "The model is overloaded."
    with pytest.raises(ProtocolViolation):
        stream.feed(Frame("", encode(CASES[0].said[:1])[6:]))


@pytest.mark.parametrize(
    "data",
    [
        b"{", b'{"candidates":{}}', b'{"candidates":[{"content":{"parts":[{"text":1}]}}]}',
        b"\xff", b'"x"', b'{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}',
        b'{"a":' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_violation(data):
    with pytest.raises(ProtocolViolation):
        ChunkStream().feed(Frame("", data))
    with pytest.raises(ProtocolViolation):
        read_answer(data)
    assert overview(data).usage is None


@pytest.mark.parametrize("part", [text("b"), call("f")])
def test_words_behind_the_end_are_a_violation(part):
    said = [chunk(text("a"), finish="STOP"), chunk(part)]
    with pytest.raises(ProtocolViolation):
        play(ChunkStream(), [encode(said)])


def test_a_repeated_end_is_no_violation():
    said = [chunk(text("a"), finish="STOP"), chunk(text(""), finish="STOP")]
    assert play(ChunkStream(), [encode(said)])[-1] == c.Ended()


@pytest.mark.parametrize(
    "body", [b"{}", b'{"candidates":[]}', msgspec.json.encode(ERROR), b"[]", b"null"]
)
def test_what_is_no_answer_is_a_violation(body):
    with pytest.raises(ProtocolViolation):
        read_answer(body)


def test_every_pair_of_state_and_event_is_in_the_table_or_raises():
    kinds: dict[type, bytes] = {
        wire.Chunk: b"{}",
        wire.LastChunk: b'{"promptFeedback":{"blockReason":"X"}}',
        wire.Failure: b"[]",
    }
    for state, (kind, data) in itertools.product(State, kinds.items()):
        stream = ChunkStream()
        stream.state = state
        if (state, kind) in ChunkStream.NEXT:
            stream.feed(Frame("", data))
            assert stream.state is ChunkStream.NEXT[state, kind]
        else:
            with pytest.raises(ProtocolViolation):
                stream.feed(Frame("", data))


PIECES = st.sampled_from(
    [
        text("a"), text(""), thought("t"), thought("u", thoughtSignature=SIGNED),
        text("", thoughtSignature=SIGNED), call("f", {"a": 1}),
        call("g", thoughtSignature=SIGNED), {"inlineData": {"data": ""}}, {},
    ]
)  # fmt: skip
CHUNKS = st.builds(
    lambda parts, index, finish: chunk(*parts, index=index, finish=finish),
    st.lists(PIECES, max_size=3),
    st.integers(0, 2),
    st.sampled_from([None, None, None, "STOP", "SAFETY"]),
)


@given(said=st.lists(CHUNKS, max_size=8))
def test_whatever_comes_parts_are_opened_and_closed_in_order(said):
    stream = ChunkStream()
    out: list[c.Event] = []
    broken = False
    for one in said:
        try:
            out += stream.feed(Frame("", msgspec.json.encode(one)))
        except ProtocolViolation:
            broken = True
            break
    if not broken and stream.state is State.FINISHED:
        try:
            out += stream.close()
        except TruncatedStream:
            broken = True
    opened: dict[int, int] = {}
    for event in out:
        match event:
            case c.PartStarted(index=index, choice=choice):
                assert opened.get(choice, -1) < 0
                opened[choice] = index
            case (
                c.Delta(index=index, choice=choice)
                | c.SignatureDelta(index=index, choice=choice)
            ):
                assert opened[choice] == index
            case c.PartEnded(index=index, choice=choice):
                assert opened[choice] == index
                opened[choice] = -1
            case c.Finished(choice=choice):
                assert opened.get(choice, -1) < 0
                opened[choice] = 1 << 30
            case _:
                pass
    assert broken or out.count(c.Ended()) == (stream.state is State.DONE)


# ---------------------------------------------------------------- there and back


CONTEXT = WriterContext("x1", 0, "m", include_usage=True)
SAID_PARTS = st.one_of(
    st.builds(text, st.sampled_from(["a", "b c", "é"])),
    st.builds(thought, st.sampled_from(["t", "u"])),
    st.builds(
        lambda name, args, signature: call(
            name, args, **({"thoughtSignature": signature} if signature else {})
        ),
        st.sampled_from(["f", "g"]),
        st.sampled_from([{}, {"a": "é"}]),
        st.sampled_from([None, None, SIGNED]),
    ),
)


@given(parts=st.lists(SAID_PARTS, min_size=1, max_size=5))
def test_what_the_model_said_goes_back_as_it_was(parts):
    """An answer, given back in a conversation, keeps text, calls, order and proofs."""
    answer = read_answer(msgspec.json.encode(chunk(*parts, finish="STOP")))
    message = c.Message("assistant", answer.choices[0].parts, where="messages[1]")
    hello = c.Message("user", (c.Text("Hi"),), where="messages[0]")
    asked = c.Request(model="m", messages=(hello, message))
    body = PROVIDER.write_request(asked, "gemini-2.5-flash", 1).body
    back = msgspec.json.decode(body)["contents"][1]["parts"]
    for part in back:
        part.get("functionCall", {}).pop("id", None)
    assert merged(back) == merged(parts)


def merged(parts: list[Json]) -> list[Json]:
    """Return `parts` with neighbors of one kind joined: the canonical form joins them."""
    out: list[Json] = []
    for part in parts:
        last = out[-1] if out else {}
        if "text" in part and "text" in last and part.keys() == last.keys():
            out[-1] = {**last, "text": last["text"] + part["text"]}
        else:
            out.append(dict(part))
    return out


@pytest.mark.parametrize("keeps", ["extra_content", "thinking_blocks", "both"])
def test_signatures_survive_openais_clients(keeps):
    """Through an OpenAI answer, a client that keeps some of it, and back to Gemini."""
    said = chunk(
        thought("hm"),
        call("f", {"a": 1}, id="x1", thoughtSignature=SIGNED),
        call("g", id="x2"),
        finish="STOP",
    )
    answer = read_answer(msgspec.json.encode(said))
    message = msgspec.json.decode(OPENAI.write_answer(answer, CONTEXT))["choices"][0][
        "message"
    ]
    if keeps == "extra_content":
        del message["thinking_blocks"]
    elif keeps == "thinking_blocks":
        for one in message["tool_calls"]:
            one.pop("extra_content", None)
    results = [
        {"role": "tool", "tool_call_id": call_id, "content": "1"}
        for call_id in ("x1", "x2")
    ]
    body = msgspec.json.encode(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "x"}, message, *results],
        }
    )
    request = OPENAI.read_request(body, read_members(body))
    rendered = PROVIDER.write_request(request, "gemini-4-argon", 1)
    parts = msgspec.json.decode(rendered.body)["contents"][1]["parts"]
    calls = [part for part in parts if "functionCall" in part]
    assert [part.get("thoughtSignature") for part in calls] == [SIGNED, None]
    assert sum("thoughtSignature" in part for part in parts) == 1
    assert rendered.dropped == ()


def test_signatures_survive_anthropics_clients():
    """Their tool calls carry none, so the thought in front of the call does."""
    for words in ([thought("hm")], [text("x")], []):
        said = chunk(
            *words,
            call("f", {"a": 1}, id="x1", thoughtSignature=SIGNED),
            finish="STOP",
        )
        answer = read_answer(msgspec.json.encode(said))
        content = msgspec.json.decode(ANTHROPIC.write_answer(answer, CONTEXT))[
            "content"
        ]
        result = {"type": "tool_result", "tool_use_id": "x1", "content": "1"}
        body = msgspec.json.encode({
            "model": "m", "max_tokens": 9,
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": content},
                {"role": "user", "content": [result]},
            ],
        })  # fmt: skip
        request = ANTHROPIC.read_request(body, read_members(body))
        rendered = PROVIDER.write_request(request, "gemini-4-argon", 1)
        parts = msgspec.json.decode(rendered.body)["contents"][1]["parts"]
        assert [part.get("thoughtSignature") for part in parts][-1] == SIGNED
        assert sum("thoughtSignature" in part for part in parts) == 1


# ---------------------------------------------------------------- what passes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stream_that_passes_is_not_touched(case):
    data = encode(case.said)
    for pieces in ([data], [bytes([byte]) for byte in data]):
        passage = ChunkPassage(True)
        out = b"".join(passage.feed(piece) for piece in pieces) + passage.close()
        assert out == data
        assert passage.usage == case.usage
        assert passage.model == "gemini-4-argon"


def test_a_stream_that_passes_is_truncated_at_a_frame():
    data = encode(CASES[0].said)
    passage = ChunkPassage(False)
    out = passage.feed(data[: len(encode(CASES[0].said[:2])) + 5])
    assert out == encode(CASES[0].said[:2])
    with pytest.raises(TruncatedStream):
        passage.close()


def test_an_error_in_a_stream_that_passes_is_noted():
    passage = ChunkPassage(False)
    data = encode([CASES[0].said[0], ERROR])
    assert passage.feed(data + b"data: ?\n\n") == data + b"data: ?\n\n"
    assert passage.close() == b""
    assert passage.error is not None
    assert passage.error.status == 503


def test_a_frame_without_end_is_a_violation():
    passage = ChunkPassage(False)
    with pytest.raises(ProtocolViolation):
        passage.feed(b"x" * (17 * 1024 * 1024))


def test_an_overview_says_who_and_how_much():
    seen = overview(msgspec.json.encode(whole(CASES[0].said)))
    assert (seen.model, seen.finish) == ("gemini-4-argon", "STOP")
    assert seen.usage == CASES[0].usage
    assert overview(msgspec.json.encode([ERROR])).usage is None
