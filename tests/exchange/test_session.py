"""A realtime session from its first frame to its record."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from extproc.exchange import events
from extproc.exchange.commands import (
    AnswerBody,
    AnswerHeaders,
    Complete,
    Leave,
    Reserve,
    Route,
    TopUp,
)
from extproc.exchange.exchange import Exchange
from extproc.identity import Grant
from extproc.policy.claims import Admitted, Left
from extproc.pricing import Level, Price, PriceRow, PriceTable
from extproc.runtime import ModelSpec, Runtime, Snapshot
from extproc.usage import Usage
from tests.exchange.test_exchange import answered, headers, target
from tests.exchange.test_forward import LIMITED

KEY = Grant("all", hashlib.sha256(b"sk-all").hexdigest())
MODELS = (ModelSpec("whisper", (target("openai", model="whisper-1"),)),)
ASKED = headers("/v1/realtime?model=whisper", method="GET", key="sk-all")
UPGRADED = answered(101, "")


def runtime(*grants):
    return Runtime.of(Snapshot(generation=1, grants=grants, models=MODELS))


def frame(event):
    data = event if isinstance(event, bytes) else json.dumps(event).encode()
    return Frame(Opcode.TEXT, data).serialize(mask=False)


def done(input_tokens, output_tokens):
    usage = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    return frame({"type": "response.done", "response": {"usage": usage}})


CREATED = frame({"type": "response.created", "response": {}})


class Talk:
    """One session, and the runtime that new exchanges would have."""

    def __init__(self):
        self.now = runtime(KEY)
        self.exchange = Exchange(
            self.now, id="gw-1", started=1000.0, now=100.0, current=lambda: self.now
        )
        self.exchange.receive(ASKED, 100.0)
        (answer,) = self.exchange.receive(UPGRADED, 101.0)
        assert answer == AnswerHeaders(delete_headers=("sec-websocket-extensions",))

    def say(self, data, now=102.0, *, end=False) -> Any:
        return self.exchange.receive(events.ResponseBody(data, end=end), now)

    def expire(self, now) -> Any:
        return self.exchange.receive(events.Expired(), now)


def record(commands):
    (complete,) = [one for one in commands if isinstance(one, Complete)]
    return complete.completion


def test_frames_pass_as_they_come_and_their_usage_adds_up():
    talk = Talk()
    raw = b"".join((CREATED, frame(b"hi"), done(5, 7), CREATED, done(1, 2)))
    for at in range(0, len(raw), 11):
        piece = raw[at : at + 11]
        assert talk.say(piece) == [AnswerBody(piece, end=False)]
    found = record(talk.exchange.receive(events.Closed(), 103.0))
    assert found.usage == Usage(input_tokens=6, output_tokens=9)
    assert (found.status, found.outcome, found.estimated) == (101, "ok", False)
    assert (found.operation, found.request_model) == ("realtime", "whisper-1")


def test_a_provider_that_leaves_ends_it_too():
    talk = Talk()
    (said, leave, complete) = talk.say(done(1, 1), end=True)
    assert said == AnswerBody(done(1, 1), end=True)
    assert leave == Leave()
    assert (complete.completion.outcome, complete.completion.estimated) == ("ok", False)


def test_who_leaves_in_the_middle_of_an_answer_leaves_an_estimate():
    talk = Talk()
    talk.say(CREATED)
    assert record(talk.exchange.receive(events.Closed(), 103.0)).estimated


def ending(commands):
    """Return the event and the closing code with which a client is told."""
    body = commands[0]
    assert isinstance(body, AnswerBody)
    assert body.end
    raw = body.data
    size, head = (raw[1], 2) if raw[1] < 126 else (int.from_bytes(raw[2:4]), 4)
    said, last = raw[head : head + size], raw[head + size :]
    return json.loads(said)["error"], int.from_bytes(last[2:4])


def test_a_key_that_is_taken_away_ends_it_within_two_seconds():
    talk = Talk()
    for now in (102.0, 103.0, 104.0):
        talk.say(frame(b"hi"), now)
        assert talk.exchange.deadline <= now + 1
        assert talk.expire(talk.exchange.deadline) == []
    talk.now = runtime()
    assert talk.exchange.deadline <= 106.0
    commands = talk.expire(talk.exchange.deadline)
    error, code = ending(commands)
    assert (error["type"], error["code"], code) == (
        "invalid_request_error", "invalid_api_key", 1008,
    )  # fmt: skip
    found = record(commands)
    assert (found.outcome, found.error) == ("client_error", "invalid_api_key")


@pytest.mark.parametrize(
    "changed", [{"blocked": True}, {"expires": 1004.0}, {"endpoints": ("/v1/files",)}]
)
def test_a_key_that_no_longer_holds_ends_it(changed):
    talk = Talk()
    talk.now = runtime(msgspec.structs.replace(KEY, **changed))
    assert ending(talk.expire(105.0))[1] == 1008


def test_it_lasts_as_long_as_a_session_may():
    talk = Talk()
    talk.expire(3700.0)
    assert talk.exchange.deadline == 3701.0
    error, code = ending(talk.expire(3701.0))
    assert (error["code"], code) == ("session_expired", 1008)


def test_in_the_middle_of_a_frame_it_ends_without_a_word():
    talk = Talk()
    talk.say(CREATED[:5])
    talk.now = runtime()
    assert talk.expire(103.0)[0] == AnswerBody(b"", end=True)


def test_between_fragments_it_ends_with_the_closing_frame_alone():
    talk = Talk()
    talk.say(b"\x01\x02hi")
    talk.now = runtime()
    (said, *_) = talk.expire(103.0)
    assert said.data[:4] == b"\x88" + bytes((len(said.data) - 2,)) + b"\x03\xf0"


def test_what_no_server_sends_ends_it():
    talk = Talk()
    commands = talk.say(b"\xf1\x00")
    assert record(commands).error == "bad_upstream_answer"


PRICED = msgspec.structs.replace(
    LIMITED,
    prices=PriceTable.of(
        (PriceRow("openai", Price((Level(0, 2_000_000_000, 0),)), ("whisper-1",)),)
    ),
)


def limited(of=PRICED):
    exchange = Exchange(of, id="gw-1", started=1.0, now=100.0)
    (reserve,) = exchange.receive(ASKED, 100.0)
    assert isinstance(reserve, Reserve)
    left = tuple(Left(1, 1.0) for _ in reserve.admission.claims)
    exchange.receive(Admitted(left), 100.1)
    exchange.receive(UPGRADED, 101.0)
    return exchange


def test_each_answer_is_charged_as_it_comes_and_no_money_ends_it():
    exchange = limited()

    def say(data, now) -> Any:
        return exchange.receive(events.ResponseBody(data, end=False), now)

    assert say(CREATED, 102.0) == [AnswerBody(CREATED, end=False)]
    _, first = say(done(1000, 0), 102.0)
    assert isinstance(first, TopUp)
    exchange.receive(events.ToppedUp(granted=True), 102.0)
    _, second = say(done(1000, 0), 103.0)
    assert (first.nanos, second.nanos) == (2_000_000, 2_000_000)
    exchange.receive(events.ToppedUp(granted=False), 103.0)
    commands = exchange.receive(events.Expired(), exchange.deadline)
    error, code = ending(commands)
    assert (error["type"], code) == ("insufficient_quota", 1008)
    (complete,) = [one for one in commands if isinstance(one, Complete)]
    assert complete.settlement is not None
    assert complete.settlement.spent.nanos == 2 * first.nanos


def transcribed(**usage):
    kind = "conversation.item.input_audio_transcription.completed"
    return frame({"type": kind, "transcript": "hi", "usage": usage})


def updated(model, kind="session.updated"):
    heard = {"input": {"transcription": {"model": model}}}
    return frame({"type": kind, "session": {"audio": heard}})


TOKENS = {"type": "tokens", "input_tokens": 10, "output_tokens": 4, "total_tokens": 14}
TWO_PRICES = msgspec.structs.replace(
    LIMITED,
    prices=PriceTable.of(
        (
            PriceRow("openai", Price((Level(0, 2_000_000_000, 0),)), ("whisper-1",)),
            PriceRow("openai", Price((Level(0, 5_000_000_000, 0),)), ("scribe",)),
        )
    ),
)


def test_what_another_model_writes_down_has_its_own_price():
    exchange = limited(TWO_PRICES)

    def say(data, now) -> Any:
        return exchange.receive(events.ResponseBody(data, end=False), now)

    assert len(say(updated("scribe"), 101.0)) == 1
    _, first = say(transcribed(**TOKENS), 102.0)
    assert first.nanos == 10 * 5000
    exchange.receive(events.ToppedUp(granted=True), 102.0)
    _, second = say(done(1000, 1), 103.0)
    assert second.nanos == 1000 * 2000
    (complete,) = [
        one for one in exchange.receive(events.Closed(), 104.0)
        if isinstance(one, Complete)
    ]  # fmt: skip
    assert complete.completion.usage == Usage(input_tokens=1010, output_tokens=5)
    assert complete.settlement is not None
    assert complete.settlement.spent.nanos == first.nanos + second.nanos


WRITING = headers(
    "/v1/realtime?intent=transcription&model=whisper", method="GET", key="sk-all"
)


def writing():
    """Return a session of transcriptions alone, and where it was asked for."""
    exchange = Exchange(runtime(KEY), id="gw-1", started=1000.0, now=100.0)
    (route,) = exchange.receive(WRITING, 100.0)
    assert isinstance(route, Route)
    exchange.receive(UPGRADED, 101.0)
    return exchange, route.chain[0].heading.path


def test_a_session_of_transcriptions_is_metered_and_names_its_model_to_us_alone():
    exchange, path = writing()
    assert path == "/v1/realtime?intent=transcription"
    said = b"".join((
        updated("none", "session.created"), updated("whisper-1"),
        transcribed(**TOKENS), transcribed(type="duration", seconds=2.1),
    ))  # fmt: skip
    for at in range(0, len(said), 7):
        exchange.receive(events.ResponseBody(said[at : at + 7], end=False), 102.0)
    found = record(exchange.receive(events.Closed(), 103.0))
    assert found.usage == Usage(input_tokens=10, output_tokens=4, audio_seconds=3)
    assert (found.request_model, found.estimated) == ("whisper-1", False)


@pytest.mark.parametrize(
    "event",
    [
        updated("dearer"),
        frame({
            "type": "transcription_session.updated",
            "session": {"input_audio_transcription": {"model": "dearer"}},
        }),
    ],
)  # fmt: skip
def test_a_session_of_transcriptions_cannot_turn_to_another_model(event):
    exchange, _ = writing()
    commands = exchange.receive(events.ResponseBody(event, end=False), 102.0)
    error, code = ending(commands)
    assert (error["code"], code) == ("model_not_found", 1008)
    assert "whisper-1" in error["message"]


def test_an_error_in_the_place_of_a_session_is_told_as_any_other():
    exchange = Exchange(runtime(KEY), id="gw-1", started=1000.0, now=100.0)
    exchange.receive(ASKED, 100.0)
    exchange.receive(answered(400), 101.0)
    body = b'{"error": {"message": "no such thing", "type": "invalid_request_error"}}'
    told: Any = exchange.receive(events.ResponseBody(body, end=True), 101.0)
    assert told[0].status == 400
    assert b"no such thing" in told[1].data


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/event-stream", b'data: {"choices": []}\n\n', 502),
        ("application/json", b'{"object": "realtime.session"}', 200),
        ("text/html", b"<p>It works!", 200),
    ],
)
def test_an_answer_in_the_place_of_a_session_is_no_session(content_type, body, status):
    exchange = Exchange(runtime(KEY), id="gw-1", started=1000.0, now=100.0)
    exchange.receive(ASKED, 100.0)
    told = exchange.receive(answered(200, content_type), 101.0)
    told += exchange.receive(events.ResponseBody(body, end=False), 101.5)
    told += exchange.receive(events.ResponseBody(b"", end=True), 102.0)
    assert record(told).status == status
