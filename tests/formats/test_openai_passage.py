"""Streams that pass: every byte, but the chunk that we asked for and the client did not."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from extproc.errors import TruncatedStream
from extproc.formats.held_event import MOST_HELD
from extproc.formats.openai_chat import PROVIDER
from extproc.framing import sse
from extproc.usage import Usage

HEAD = b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-08-06",'


def frame(rest: bytes) -> bytes:
    return b"data: " + HEAD + rest + b"}\n\n"


HELLO = frame(
    b'"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}],"usage":null'
)
QUOTES = frame(
    b'"choices":[{"index":0,"delta":{"content":"\\"usage\\": {\\"error\\": 1, '
    b'\\"finish_reason\\": \\"stop\\" data: [DONE]"},"finish_reason":null}],"usage":null'
)
FINISH = frame(
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null'
)
USAGE = frame(
    b'"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,'
    b'"prompt_tokens_details":{"cached_tokens":4},'
    b'"completion_tokens_details":{"reasoning_tokens":2}}'
)
DONE = b"data: [DONE]\n\n"
COUNTED = Usage(9, 5, cache_read_input_tokens=4, reasoning_output_tokens=2)

WHOLE = HELLO + QUOTES + HELLO + FINISH + USAGE + DONE
STRIPPED = HELLO + QUOTES + HELLO + FINISH + DONE

LINE_ENDS = [b"\n", b"\r\n", b"\r"]


def passed(pieces, *, show_usage):
    passage = PROVIDER.passage(show_usage)
    out = b"".join(passage.feed(piece) for piece in pieces)
    return out + passage.close(), passage


def split(text: bytes, cuts) -> list[bytes]:
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(bounds)]


def bytewise(text: bytes) -> list[bytes]:
    return [text[i : i + 1] for i in range(len(text))]


@pytest.mark.parametrize("end", LINE_ENDS, ids=repr)
@pytest.mark.parametrize("cut", [lambda text: [text], bytewise], ids=["whole", "bytes"])
@pytest.mark.parametrize(("show", "expected"), [(True, WHOLE), (False, STRIPPED)])
def test_only_the_usage_that_nobody_asked_for_is_left_out(show, expected, cut, end):
    out, passage = passed(cut(WHOLE.replace(b"\n", end)), show_usage=show)
    assert out == expected.replace(b"\n", end)
    assert passage.usage == COUNTED
    assert passage.model == "gpt-4o-2024-08-06"
    assert passage.error is None


@given(st.lists(st.integers(0, 10_000)), st.sampled_from(LINE_ENDS), st.booleans())
def test_no_split_changes_what_passes(cuts, end, show):
    pieces = split(WHOLE.replace(b"\n", end), cuts)
    out, passage = passed(pieces, show_usage=show)
    assert out == (WHOLE if show else STRIPPED).replace(b"\n", end)
    assert passage.usage == COUNTED


NOISE = st.sampled_from(
    [
        HELLO, QUOTES, b": comment\n\n", b"event: x\nid: 3\ndata: {}\n\n", b"\n", b"\n\n",
        b"data: not json\n\n", b'data: {"usage":{broken\n\n', b'data: {"error":{broken\n\n', b'data: {"choices": [], "usage": null}\n\n',
        b'data: {"choices": [1], "usage": {"prompt_tokens": 1}}\n\n',
        b"\xff\xfe", b"data:\n\n", b"retry: 5\n",
    ]
)  # fmt: skip


@given(
    st.lists(NOISE), st.lists(st.integers(0, 2000)), st.sampled_from(LINE_ENDS), st.booleans()
)  # fmt: skip
def test_whatever_else_a_stream_holds_passes_byte_for_byte(noise, cuts, end, show):
    text = (b"".join(noise) + b"\n\n" + FINISH + b"data: [DONE]").replace(b"\n", end)
    out, _ = passed(split(text, cuts), show_usage=show)
    assert out == text


@pytest.mark.parametrize("end", LINE_ENDS, ids=repr)
@pytest.mark.parametrize("show", [True, False])
def test_a_whole_event_is_never_held_back(show, end):
    """Each of its bytes has passed by the time its empty line has begun to pass."""
    passage = PROVIDER.passage(show)
    seen = b""
    for piece in (HELLO, QUOTES, FINISH):
        spelled = piece.replace(b"\n", end)
        seen += passage.feed(spelled)
        assert seen.endswith(spelled)


@pytest.mark.parametrize("show_usage", [True, False])
def test_an_event_passes_when_it_is_whole(show_usage):
    """Until then it might be left out, or have to be followed by an error of ours."""
    passage = PROVIDER.passage(show_usage)
    assert passage.feed(HELLO + HELLO[:20]) == HELLO
    assert passage.feed(HELLO[20:]) == HELLO
    for piece in bytewise(HELLO[:-1]):
        assert passage.feed(piece) == b""
    assert passage.feed(HELLO[-1:]) == HELLO


SPELLINGS = {
    "spaces": b'data: {"choices" : [ ], "usage" : {"prompt_tokens": 9, "completion_tokens": 5}}\n\n',
    "no space after the colon": b'data:{"usage":{"prompt_tokens":9,"completion_tokens":5},"choices":[]}\n\n',
    "named": b'event: message\ndata: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}\n\n',
    "two lines": b'data: {"choices":[],\ndata: "usage":{"prompt_tokens":9,"completion_tokens":5}}\n\n',
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_of_the_usage_chunk_is_known(spelled):
    out, passage = passed([HELLO + FINISH + spelled + DONE], show_usage=False)
    assert out == HELLO + FINISH + DONE
    assert passage.usage == Usage(9, 5)


def test_usage_beside_choices_is_read_and_passes():
    chunk = frame(
        b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":1,"completion_tokens":2}'
    )
    out, passage = passed([HELLO + chunk], show_usage=False)
    assert (out, passage.usage) == (HELLO + chunk, Usage(1, 2))


def test_the_last_usage_counts():
    early = USAGE.replace(b'"completion_tokens":5', b'"completion_tokens":1')
    _, passage = passed([early, HELLO, FINISH, USAGE, DONE], show_usage=True)
    assert passage.usage == COUNTED


def test_a_usage_chunk_without_its_empty_line_is_left_out_too():
    out, passage = passed([HELLO + FINISH + USAGE.rstrip()], show_usage=False)
    assert (out, passage.usage) == (HELLO + FINISH, COUNTED)


@pytest.mark.parametrize("show", [True, False])
@pytest.mark.parametrize("tail", [b"data: [DONE]", b"data: [DONE]\n", FINISH.rstrip()])
def test_the_unfinished_last_event_passes(tail, show):
    out, _ = passed([HELLO + tail], show_usage=show)
    assert out == HELLO + tail


@pytest.mark.parametrize("show", [True, False])
def test_every_truncation_is_noticed(show):
    """All is well only from the finish_reason on; what was whole until then has passed."""
    text = HELLO + QUOTES + FINISH
    enough = text.index(b'"finish_reason":"stop"') + len(b'"finish_reason":"')
    for length in range(enough):
        passage = PROVIDER.passage(show)
        out = passage.feed(text[:length])
        with pytest.raises(TruncatedStream):
            passage.close()
        assert text.startswith(out)
        assert length - len(out) < len(QUOTES)


@pytest.mark.parametrize("end", [FINISH, DONE])
def test_a_finish_reason_or_done_is_an_end(end):
    assert passed([HELLO, end], show_usage=True)[0] == HELLO + end


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b'{"error":{"message":"overloaded","type":"server_error","code":503}}', "overloaded"),
        (b'{"error": "overloaded"}', "overloaded"),
        (b'{"model":"m","error" : {"message":"overloaded"}}', "overloaded"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("show", [True, False])
def test_an_error_in_the_middle_is_read_and_passes(said, message, show):
    text = HELLO * 9 + b"data: " + said + b"\n\n"
    out, passage = passed(bytewise(text), show_usage=show)
    assert out == text
    assert passage.error is not None
    assert (passage.error.message, passage.error.status) == (message, 502)


def test_an_error_that_is_null_is_none():
    chunk = frame(b'"choices":[],"error":null')
    _, passage = passed([HELLO * 9, chunk, FINISH], show_usage=False)
    assert passage.error is None


def test_the_model_is_the_first_that_is_said():
    """Azure's first chunk is its verdict on the prompt and names none."""
    verdict = b'data: {"id":"","model":"","choices":[],"prompt_filter_results":[]}\n\n'
    out, passage = passed([verdict, HELLO, FINISH], show_usage=False)
    assert (out, passage.model) == (verdict + HELLO + FINISH, "gpt-4o-2024-08-06")


@pytest.mark.parametrize("show", [True, False])
def test_a_long_event_passes_as_it_comes(show):
    text = b'"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":"stop"}]'
    long = frame(text % (b"x" * 3 * MOST_HELD))
    passage = PROVIDER.passage(show)
    out = b""
    for start in range(0, len(long), 4096):
        out += passage.feed(long[start : start + 4096])
        assert start - len(out) <= MOST_HELD
    out += passage.feed(USAGE)
    assert out + passage.close() == long + (USAGE if show else b"")
    assert passage.usage == COUNTED


@pytest.mark.parametrize("show", [True, False])
def test_an_endless_event_takes_no_endless_memory(show, monkeypatch):
    monkeypatch.setattr("extproc.formats.held_event.MAX_FRAME", 4 * MOST_HELD)
    passage = PROVIDER.passage(show)
    text = b"data: " + b"x" * 10 * MOST_HELD
    out = b"".join(passage.feed(text[i : i + 1000]) for i in range(0, len(text), 1000))
    held = b"".join(passage._held._pieces)  # type: ignore[attr-defined]
    assert len(held) <= 4 * MOST_HELD
    out += passage.feed(b"\n\n" + FINISH + USAGE + DONE) + passage.close()
    assert out == text + b"\n\n" + FINISH + (USAGE if show else b"") + DONE
    assert passage.usage == COUNTED


@given(st.binary(max_size=400), st.lists(st.integers(0, 400)))
def test_cutting_frames_loses_no_byte(text, cuts):
    assert b"".join(sse.cut_frames(text)) == text
    passage = PROVIDER.passage(False)
    out = b"".join(passage.feed(piece) for piece in split(text, cuts))
    try:
        out += passage.close()
    except TruncatedStream:
        out += text[len(out) :]
    assert out == text
