"""`[[mock: …]]`: the parser, and what each directive does to a real client."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from typing import Any

import httpx
import pytest

import extproc.local.mock
from extproc.local.mock import MockServer
from extproc.local.mock.directives import TABLE, Conduct, UnknownDirective, split

OPENAI = {"authorization": "Bearer sk-mock-1"}
ANTHROPIC = {"x-api-key": "sk-mock-1", "anthropic-version": "2023-06-01"}
SIDES: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "openai": ("/v1/chat/completions", OPENAI, {"model": "gpt-4o"}),
    "anthropic": (
        "/v1/messages",
        ANTHROPIC,
        {"model": "claude-haiku-4-5", "max_tokens": 500},
    ),
}
both = pytest.mark.parametrize("side", SIDES)


def request_of(side: str, text: str, **fields: Any) -> dict[str, Any]:
    """Return what `httpx` needs to ask one of the providers."""
    path, headers, body = SIDES[side]
    messages = [{"role": "user", "content": text}]
    return {
        "method": "POST",
        "url": path,
        "headers": headers,
        "json": {**body, "messages": messages, **fields},
    }


def ask(http: httpx.Client, side: str, text: str, **fields: Any) -> httpx.Response:
    return http.request(**request_of(side, text, **fields))


def stream(http: httpx.Client, side: str, text: str, **fields: Any) -> httpx.Response:
    return ask(http, side, text, stream=True, **fields)


def events(text: str) -> int:
    return text.count("data: ")


PARSED: dict[str, dict[str, Any]] = {
    "status=429 retry-after=2": {"status": 429, "retry_after": 2.0},
    'status=500 message="a b"': {"status": 500, "message": "a b"},
    "context-length": {"context_length": True},
    "filtered": {"filtered": True},
    "fail-first n=2 key=abc": {"fail_times": 2, "fail_key": "abc"},
    "fail-first key=x status=429": {
        "fail_times": 1,
        "fail_key": "x",
        "fail_status": 429,
    },
    "error-mid-stream after=7": {"error_after": 7},
    "error-mid-stream type=x": {"error_after": 2, "error_type": "x"},
    "reset": {"reset": True},
    "reset-mid-stream after=0": {"reset_after": 0},
    "cut-mid-chunk": {"cut_after": 2},
    "silence seconds=0.5": {"silence": 0.5},
    "slow-first-token ms=250": {"delay": 0.25},
    "stall-mid-stream after=3 seconds=1": {"stall_after": 3, "stall_seconds": 1.0},
    "malformed-json": {"malformed_json": True},
    "not-json": {"not_json": 502},
    "not-json status=200": {"not_json": 200},
    "empty-body": {"empty_body": True},
    "truncate after=4": {"truncate_after": 4},
    "huge bytes=10": {"huge_bytes": 10},
    "no-usage": {"no_usage": True},
    "cached tokens=3": {"cached_tokens": 3},
    "reasoning tokens=9": {"reasoning_tokens": 9},
    r'answer="say \"x\"\n]] \\"': {"answer": 'say "x"\n]] \\'},
    'preamble="Well."': {"preamble": "Well."},
    'tool-args="{\\"a\\": 1"': {"tool_args": '{"a": 1'},
    "finish=content_filter": {"finish": "content_filter"},
    "stop_reason=pause_turn": {"finish": "pause_turn"},
    "mark=ask-7": {"mark": "ask-7"},
    "split=byte": {"cut_every": 1},
    "split=5": {"cut_every": 5},
    "split=crlf": {"line_end": "\r\n"},
    "split=cr": {"line_end": "\r"},
    'headers x-a=1 x-b="two words"': {"headers": {"x-a": "1", "x-b": "two words"}},
}


@pytest.mark.parametrize("source", PARSED)
def test_a_directive_is_taken_out_of_the_text(source: str) -> None:
    text, conduct = split(f"before [[mock: {source}]] after")
    assert text == "before after"
    assert conduct == replace(Conduct(), **PARSED[source])


def test_every_directive_is_parsed_here_and_documented() -> None:
    names = {*TABLE, "split"}
    assert {source.partition("=")[0].split()[0] for source in PARSED} == names
    documented = extproc.local.mock.__doc__ or ""
    assert all(f"`{name}" in documented for name in names)


def test_several_directives_add_up() -> None:
    text, conduct = split("[[mock: no-usage]] hi [[mock: split=3]][[mock: split=cr]]")
    assert text == "hi"
    assert (conduct.no_usage, conduct.cut_every, conduct.line_end) == (True, 3, "\r")


@pytest.mark.parametrize(
    "source",
    ["nonsense", "status", "status=many", "reset after=1", "reset ;", "split=0", "split", "", 'answer="'],
)  # fmt: skip
def test_what_is_not_understood_is_refused(source: str) -> None:
    with pytest.raises(UnknownDirective):
        split(f"hi [[mock: {source}]]")


@both
def test_status_and_retry_after(http: httpx.Client, side: str) -> None:
    text = '[[mock: status=429 retry-after=1.5 message="slow down"]]'
    for reply in (ask(http, side, text), stream(http, side, text)):
        assert reply.status_code == 429
        assert reply.headers["retry-after"] == "1.5"
        assert reply.json()["error"]["message"] == "slow down"


@both
def test_a_status_without_an_entry_borrows_its_class(
    http: httpx.Client, side: str
) -> None:
    reply = ask(http, side, "[[mock: status=507]]")
    usual = ask(http, side, "[[mock: status=500]]")
    assert reply.status_code == 507
    assert reply.json()["error"] == usual.json()["error"]


@both
def test_the_models_name_may_carry_a_directive(http: httpx.Client, side: str) -> None:
    """It reaches the one target that has this name, whatever the text says."""
    model = f"{SIDES[side][2]['model']}[[mock: status=503]]"
    assert ask(http, side, "hi", model=model).status_code == 503


@both
def test_a_prompt_that_is_too_long(http: httpx.Client, side: str) -> None:
    reply = ask(http, side, "hi [[mock: context-length]]")
    says = {"openai": "maximum context length", "anthropic": "prompt is too long"}
    assert reply.status_code == 400
    assert says[side] in reply.json()["error"]["message"]


@both
def test_a_prompt_that_the_filter_refuses(http: httpx.Client, side: str) -> None:
    reply = ask(http, side, "hi [[mock: filtered]]")
    says = {"openai": "usage policy", "anthropic": "content filtering policy"}
    assert reply.status_code == 400
    assert says[side] in reply.json()["error"]["message"]


@both
def test_the_first_requests_of_a_key_fail(http: httpx.Client, side: str) -> None:
    text = f"[[mock: fail-first n=2 key={side} status=529 retry-after=3]]"
    replies = [ask(http, side, text) for _ in range(4)]
    assert [reply.status_code for reply in replies] == [529, 529, 200, 200]
    assert replies[0].headers["retry-after"] == "3"


@both
def test_an_error_in_the_middle_of_a_stream(http: httpx.Client, side: str) -> None:
    reply = stream(http, side, "hi [[mock: error-mid-stream after=3 type=odd]]")
    assert reply.status_code == 200
    last = reply.text.rstrip().split("\n\n")[-1]
    assert events(reply.text) == 4
    assert last.startswith("event: error\n") == (side == "anthropic")
    assert json.loads(last.partition("data: ")[2])["error"]["type"] == "odd"


@both
def test_a_reset(http: httpx.Client, side: str) -> None:
    with pytest.raises(httpx.ReadError):
        ask(http, side, "[[mock: reset]]")


def partly(http: httpx.Client, request: dict[str, Any]) -> tuple[str, Exception | None]:
    """Return what could be read, and what ended it."""
    got = ""
    with http.stream(**request) as reply:
        try:
            for piece in reply.iter_text():
                got += piece
        except httpx.TransportError as exc:
            return got, exc
    return got, None


@both
def test_a_reset_in_the_middle(http: httpx.Client, side: str) -> None:
    text = "hi [[mock: reset-mid-stream after=3]]"
    got, error = partly(http, request_of(side, text, stream=True))
    assert events(got) == 3
    assert isinstance(error, httpx.ReadError)
    got, error = partly(http, request_of(side, text))
    assert got.startswith("{")
    assert isinstance(error, httpx.ReadError)


@both
@pytest.mark.parametrize("after", [0, 3, 999])
def test_a_connection_cut_inside_a_chunk(
    http: httpx.Client, side: str, after: int
) -> None:
    text = f"hi [[mock: cut-mid-chunk after={after}]]"
    got, error = partly(http, request_of(side, text, stream=True))
    assert isinstance(error, httpx.RemoteProtocolError)
    if after < 999:
        # The cut event is there in part: its `data: ` may be, its end is not.
        assert got.count("\n\n") == after
    whole, error = partly(http, request_of(side, text))
    assert isinstance(error, httpx.RemoteProtocolError)
    assert not whole.endswith("}}")


@both
def test_silence_ends_without_an_answer(http: httpx.Client, side: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        ask(http, side, "[[mock: silence seconds=0.02]]")


@both
def test_who_leaves_a_silent_mock_is_counted(
    mock: MockServer, http: httpx.Client, side: str
) -> None:
    before = mock.hangups
    with pytest.raises(httpx.ReadTimeout):
        http.request(**request_of(side, "[[mock: silence]]"), timeout=0.05)
    deadline = time.monotonic() + 2
    while mock.hangups == before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert mock.hangups == before + 1


@both
def test_a_slow_first_token_comes_after_the_headers(
    http: httpx.Client, side: str
) -> None:
    request = request_of(side, "hi [[mock: slow-first-token ms=80]]", stream=True)
    with http.stream(**request) as reply:
        headers_at = time.monotonic()
        next(reply.iter_raw())
        assert time.monotonic() - headers_at > 0.06
    started = time.monotonic()
    assert ask(http, side, "hi [[mock: slow-first-token ms=80]]").status_code == 200
    assert time.monotonic() - started > 0.07


@both
def test_a_stall_in_the_middle(http: httpx.Client, side: str) -> None:
    text = "hi [[mock: stall-mid-stream after=3 seconds=0.08]]"
    arrivals: list[float] = []
    with http.stream(**request_of(side, text, stream=True)) as reply:
        arrivals.extend(time.monotonic() for _ in reply.iter_raw())
    gaps = [b - a for a, b in itertools.pairwise(arrivals)]
    assert max(gaps) > 0.06
    assert len(gaps) > 5


@both
def test_malformed_json(http: httpx.Client, side: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        ask(http, side, "hi [[mock: malformed-json]]").json()
    told = stream(http, side, "hi [[mock: malformed-json]]").text.split("\n\n")
    payloads = [event.partition("data: ")[2] for event in told]
    with pytest.raises(json.JSONDecodeError):
        json.loads(payloads[2])
    assert json.loads(payloads[1])
    assert json.loads(payloads[3])


@both
def test_a_page_instead_of_json(http: httpx.Client, side: str) -> None:
    for reply in (
        ask(http, side, "hi [[mock: not-json]]"),
        stream(http, side, "hi [[mock: not-json]]"),
    ):
        assert reply.status_code == 502
        assert reply.headers["content-type"] == "text/html"
        assert "<html>" in reply.text


@both
def test_an_empty_body(http: httpx.Client, side: str) -> None:
    for reply in (
        ask(http, side, "hi [[mock: empty-body]]"),
        stream(http, side, "hi [[mock: empty-body]]"),
    ):
        assert (reply.status_code, reply.content) == (200, b"")


@both
def test_a_stream_that_ends_too_early_ends_in_order(
    http: httpx.Client, side: str
) -> None:
    reply = stream(http, side, "hi [[mock: truncate after=4]]")
    assert events(reply.text) == 4
    assert "[DONE]" not in reply.text
    assert "message_stop" not in reply.text


@both
def test_a_huge_answer(http: httpx.Client, side: str) -> None:
    whole = ask(http, side, "[[mock: huge bytes=100000]]")
    assert 100_000 < len(whole.content) < 102_000
    pieces = stream(http, side, "[[mock: huge bytes=100000]]")
    assert len(pieces.content) > 100_000
    assert events(pieces.text) < 20


@both
def test_no_usage(http: httpx.Client, side: str) -> None:
    fields = {"stream_options": {"include_usage": True}} if side == "openai" else {}
    assert "usage" not in ask(http, side, "hi [[mock: no-usage]]").json()
    told = stream(http, side, "hi [[mock: no-usage]]", **fields)
    assert '"usage"' not in told.text


def test_cached_and_reasoning_tokens(http: httpx.Client) -> None:
    text = "one two three [[mock: cached tokens=4]] [[mock: reasoning tokens=50]]"
    usage = ask(http, "openai", text).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 4
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 50
    assert usage["completion_tokens"] > 50
    usage = ask(http, "anthropic", text).json()["usage"]
    plain = ask(http, "anthropic", text.replace("cached", "reasoning")).json()["usage"]
    assert usage["cache_read_input_tokens"] == 4
    assert usage["input_tokens"] + 4 == plain["input_tokens"]


@both
def test_an_answer_word_for_word(http: httpx.Client, side: str) -> None:
    text = r'[[mock: answer="Grüße,\n\"you\"."]]'
    assert (
        json.dumps('Grüße,\n"you".', ensure_ascii=False) in ask(http, side, text).text
    )


def tools_of(side: str) -> list[dict[str, Any]]:
    if side == "openai":
        return [{"type": "function", "function": {"name": "clock"}}]
    return [{"name": "clock", "input_schema": {"type": "object"}}]


@both
def test_tool_arguments_as_they_were_told(http: httpx.Client, side: str) -> None:
    """A gateway meets arguments that are not JSON; so must its tests."""
    text = r'clock [[mock: tool-args="{\"zone\": "]] [[mock: preamble="Well."]]'
    reply = ask(http, side, text, tools=tools_of(side)).text
    told = stream(http, side, text, tools=tools_of(side)).text
    assert "Well." in reply
    assert r'"{\"zone\": "' in reply
    assert r'"{\"zone\": "' in told


def test_finish_reasons_on_request(http: httpx.Client) -> None:
    text = "hi [[mock: finish=content_filter]]"
    (choice,) = ask(http, "openai", text).json()["choices"]
    assert choice["finish_reason"] == "content_filter"
    assert '"finish_reason":"content_filter"' in stream(http, "openai", text).text
    for reason in ("pause_turn", "refusal", "model_context_window_exceeded"):
        text = f"hi [[mock: stop_reason={reason}]]"
        assert ask(http, "anthropic", text).json()["stop_reason"] == reason
        assert f'"stop_reason":"{reason}"' in stream(http, "anthropic", text).text


@both
@pytest.mark.parametrize(("cut", "size"), [("byte", 1), ("7", 7)])
def test_a_body_in_pieces(http: httpx.Client, side: str, cut: str, size: int) -> None:
    text = f'hi [[mock: split={cut}]] [[mock: answer="short"]]'
    with http.stream(**request_of(side, text, stream=True)) as reply:
        pieces = list(reply.iter_raw())
    assert max(map(len, pieces)) == size
    assert b"".join(pieces).count(b"data: ") > 3
    assert ask(http, side, text).json()


@both
@pytest.mark.parametrize(("cut", "end"), [("crlf", "\r\n"), ("cr", "\r")])
def test_other_line_ends(http: httpx.Client, side: str, cut: str, end: str) -> None:
    plain = stream(http, side, "hi [[mock: no-usage]] [[mock: split=99999]]").content
    ended = stream(http, side, f"hi [[mock: no-usage]] [[mock: split={cut}]]").content
    # The requests differ, so their ids do too; the lines do not.
    assert ended.count(end.encode()) == plain.count(b"\n")
    assert b"\n" not in ended.replace(end.encode(), b"")


@both
def test_more_headers(http: httpx.Client, side: str) -> None:
    for answer in (ask, stream):
        reply = answer(http, side, 'hi [[mock: headers x-a=1 x-b="two words"]]')
        assert reply.headers["x-a"] == "1"
        assert reply.headers["x-b"] == "two words"


@both
def test_an_unknown_directive_is_a_400(http: httpx.Client, side: str) -> None:
    reply = ask(http, side, "hi [[mock: explode]]")
    assert reply.status_code == 400
    assert "explode" in reply.json()["error"]["message"]
