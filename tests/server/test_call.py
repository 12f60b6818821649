"""One ext_proc stream over its exchange: heavy work waits for a thread, and is waited for."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import math
import random

import msgspec
import pytest

from extproc._pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.exchange.commands import Route, Settlement
from extproc.exchange.completion import Completion
from extproc.identity import (
    NANOS,
    Accounting,
    Allowance,
    Budget,
    RateLimit,
    Subject,
    Subjects,
)
from extproc.policy.books import Books
from extproc.policy.claims import NOTHING, Admitted, Left, Verdict
from extproc.routing.state import RoutingState, Still
from extproc.runtime import (
    Limits,
    Runtime,
    Snapshot,
)
from extproc.server import call as calls
from extproc.server.bodies import AHEAD_SECONDS, Bodies
from extproc.server.call import Call, Office
from extproc.server.network_till import NetworkTill
from extproc.server.pieces import read_piece
from extproc.server.till import make_till
from extproc.state.pipeline import Pipeline
from extproc.state.redis import RedisError, RedisStore, connect
from tests.casebook import CLIENTS, PROVIDER_FORMATS, runtime_of_all
from tests.exchange.test_exchange import KEY, RUNTIME
from tests.redis_server import RedisServer
from tests.streams import stream_of


def office(records):
    return Office(
        runtime=RUNTIME,
        new_id=lambda: "gw-1",
        wall_clock=lambda: 1_800_000_000.0,
        record=records.append,
        routing=RoutingState(Still()),
        till=make_till(Accounting(), clock=lambda: 1_800_000_000.0),
    )


def request_headers(**more):
    request = ProcessingRequest()
    sent = {
        ":method": "POST",
        ":path": "/v1/chat/completions",
        "authorization": f"Bearer {KEY}",
        **more,
    }
    for name, value in sent.items():
        request.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    return request.SerializeToString()


def request_body(text="Hi", *, end=True):
    request = ProcessingRequest()
    say = {"model": "gpt", "messages": [{"role": "user", "content": text}]}
    request.request_body.body = json.dumps(say).encode()
    request.request_body.end_of_stream = end
    return request.SerializeToString()


def kinds(messages):
    return [ProcessingResponse.FromString(m).WhichOneof("response") for m in messages]


def test_a_light_request_is_answered_at_once():
    call = Call(office([]))
    assert call.deadline == math.inf
    assert call.receive(request_headers(), 1.0) == []
    assert call.deadline == 1.0 + RUNTIME.limits.request_seconds
    answers = call.receive(request_body(), 1.0)
    assert kinds(answers) == ["request_headers", "request_body"]
    assert not call.finished


def test_a_heavy_request_is_left_to_a_thread(monkeypatch):
    monkeypatch.setattr(calls, "HEAVY_BYTES", 1000)
    monkeypatch.setattr(calls, "LIGHT_BYTES", 1000)
    call = Call(office([]))
    call.receive(request_headers(), 1.0)
    assert call.receive(request_body("x" * 2000), 1.0) == []
    work = call.work
    assert callable(work)
    worked = work()
    assert isinstance(worked, tuple)
    assert isinstance(worked[0][0], Route)
    answers = call.resume(worked, 2.0)
    assert kinds(answers) == ["request_headers", "request_body"]
    assert call.work is None


def test_what_happens_while_a_thread_works_waits_its_turn(monkeypatch):
    monkeypatch.setattr(calls, "HEAVY_BYTES", 1000)
    monkeypatch.setattr(calls, "LIGHT_BYTES", 1000)
    records: list[Completion] = []
    call = Call(office(records))
    call.receive(request_headers(), 1.0)
    call.receive(request_body("x" * 2000), 1.0)
    call.close(1.5, clean=False)
    assert records == []
    assert call.work is not None
    assert callable(call.work)
    call.resume(call.work(), 2.0)
    (record,) = records
    assert (record.outcome, record.virtual_model) == ("canceled", "gpt")


def test_a_deadline_is_answered_and_recorded():
    records: list[Completion] = []
    call = Call(office(records))
    call.receive(request_headers(), 1.0)
    assert kinds(call.expire(100.0)) == ["immediate_response"]
    assert call.finished
    assert [record.status for record in records] == [408]
    assert call.expire(101.0) == []
    call.close(102.0, clean=True)
    assert len(records) == 1


def test_a_stream_that_never_began_leaves_no_record():
    records: list[Completion] = []
    call = Call(office(records))
    assert call.expire(1.0) == []
    call.close(1.0, clean=True)
    assert records == []


def test_a_reload_changes_no_exchange_under_way():
    shared = office([])
    call = Call(shared)
    call.receive(request_headers(), 1.0)
    shared.runtime = Runtime.of(Snapshot(generation=2))
    answers = call.receive(request_body(), 1.0)
    assert kinds(answers)[0] == "request_headers", "its key and model still count"
    late = Call(shared)
    assert kinds(late.receive(request_headers(), 1.0)) == ["immediate_response"]


LIMITED = msgspec.structs.replace(
    RUNTIME,
    limited=True,
    _subjects=Subjects.of(
        (Subject("global", "", Allowance((RateLimit("requests", 1, 60),))),)
    ),
)


def limited(records, till):
    made = office(records)
    made.runtime, made.till = LIMITED, till
    return made


def test_memory_decides_at_once():
    records: list[Completion] = []
    shared = limited(records, office([]).till)
    numbers = itertools.count()
    shared.new_id = lambda: f"gw-{next(numbers)}"
    for expected in (["request_headers", "request_body"], ["immediate_response"]):
        call = Call(shared)
        call.receive(request_headers(), 1.0)
        assert kinds(call.receive(request_body(), 1.0)) == expected
    assert [record.status for record in records] == [429]


class Slow:
    """A till whose verdict is not there yet."""

    def __init__(self):
        self.books = Books()
        self.settled: list[Settlement] = []
        self.verdict: asyncio.Future[Verdict] = asyncio.Future()

    def admit(self, _):
        return self.verdict

    def settle(self, settlement):
        self.settled.append(settlement)


@pytest.mark.parametrize("heavy", [False, True])
def test_the_network_is_waited_for(monkeypatch, heavy):
    if heavy:
        monkeypatch.setattr(calls, "HEAVY_BYTES", 10)
        monkeypatch.setattr(calls, "LIGHT_BYTES", 10)

    async def play():
        till = Slow()
        call = Call(limited([], till))
        loop = asyncio.get_running_loop()
        call.receive(request_headers(), 1.0)
        assert call.receive(request_body(), 1.0) == []
        if heavy:
            assert call.resume(await call.begin(loop), 1.5) == []
        waited = call.begin(loop)
        till.verdict.set_result(Admitted((Left(0, 1.0),)))
        answers = call.resume(await waited, 2.0)
        assert kinds(answers) == ["request_headers", "request_body"]
        call.close(3.0, clean=False)
        assert [settlement.spent.requests for settlement in till.settled] == [1]

    asyncio.run(play())


EVERY = Allowance(
    (RateLimit("requests", 9, 60), RateLimit("total_tokens", 90_000, 60)),
    budgets=(Budget(NANOS, "month"),),
)
STREAM = b"".join(
    b"data: %s\n\n"
    % json.dumps(
        {
            "id": "c", "object": "chat.completion.chunk", "model": "gpt", "created": 1,
            "choices": [{"index": 0, "delta": {"content": "w"}, "finish_reason": finish}],
        }
    ).encode()
    for finish in (None, None, "stop")
) + b"data: [DONE]\n\n"  # fmt: skip


def response_headers():
    request = ProcessingRequest()
    sent = {":status": "200", "content-type": "text/event-stream"}
    for name, value in sent.items():
        request.response_headers.headers.headers.add(key=name, raw_value=value.encode())
    fields = request.attributes["envoy.filters.http.ext_proc"].fields
    fields["response.code_details"].string_value = "via_upstream"
    return request.SerializeToString()


def response_body(data, *, end):
    request = ProcessingRequest()
    request.response_body.body = data
    request.response_body.end_of_stream = end
    return request.SerializeToString()


def test_the_store_is_asked_once_and_no_answer_waits_for_it(monkeypatch):
    """Six claims in one round trip to a real Redis, which the answer finds gone."""
    trips = []
    run = Pipeline.run

    async def counted(pipeline, script, *arguments):
        trips.append(script)
        return await run(pipeline, script, *arguments)

    monkeypatch.setattr(Pipeline, "run", counted)
    server = RedisServer()

    async def play():
        store = RedisStore(connect(server.url, timeout=5))
        till = NetworkTill(
            store, clock=lambda: 1_800_000_000.0,
            accounting=Accounting(deadline_seconds=5.0), error=RedisError,
        )  # fmt: skip
        records: list[Completion] = []
        shared = office(records)
        shared.till = till
        shared.runtime = msgspec.structs.replace(
            RUNTIME,
            limited=True,
            _subjects=Subjects.of(
                (Subject("global", "", EVERY), Subject("model", "gpt", EVERY))
            ),
        )
        call = Call(shared)
        call.receive(request_headers(), 1.0)
        assert call.receive(request_body(), 1.0) == []
        assert isinstance(call.work, asyncio.Future)
        verdict = await asyncio.wait_for(call.work, 5)
        assert isinstance(verdict, Admitted)
        assert len(verdict.left) == 6
        assert not verdict.leased
        assert kinds(call.resume(verdict, 2.0)) == ["request_headers", "request_body"]
        assert len(trips) == 1
        server.kill()
        half = len(STREAM) // 2
        for message, kind in (
            (response_headers(), "response_headers"),
            (response_body(STREAM[:half], end=False), "response_body"),
            (response_body(STREAM[half:], end=True), "response_body"),
        ):
            assert kinds(call.receive(message, 3.0)) == [kind]
            assert call.work is None
        assert [record.outcome for record in records] == ["ok"]
        assert till.levels()["extproc_worker_unsettled"] == 1
        assert len(trips) == 1
        await store.close()

    try:
        asyncio.run(play())
    finally:
        server.stop()


def test_who_leaves_before_the_verdict_owes_nothing():
    async def play():
        till = Slow()
        records: list[Completion] = []
        call = Call(limited(records, till))
        call.receive(request_headers(), 1.0)
        call.receive(request_body(), 1.0)
        call.close(1.5, clean=False)
        assert records == []
        till.verdict.set_result(Admitted((Left(0, 1.0),)))
        assert call.resume(await till.verdict, 2.0) == []
        assert [settlement.spent for settlement in till.settled] == [NOTHING]
        assert [record.outcome for record in records] == ["canceled"]

    asyncio.run(play())


class FormatsOffice:
    """An office with a model for each provider format, of its name."""

    def __init__(self):
        self.runtime = runtime_of_all(KEY)

    def calls(self, provider, client, content_type, pieces):
        """Return what a call says to each message of an answer, and its record."""
        records: list[Completion] = []
        call = Call(msgspec.structs.replace(office(records), runtime=self.runtime))
        replies = []
        for at, sent in enumerate(self.told(provider, client, content_type, pieces)):
            if call.finished:
                break
            replies.append((call.receive(sent, 1.0 + at / 8), call.deadline))
        if not call.finished:
            call.close(9.0, clean=True)
        return replies, records

    def together(self, messages, groups):
        """Return all that a call says to messages that come in groups, and its record."""
        records: list[Completion] = []
        call = Call(msgspec.structs.replace(office(records), runtime=self.runtime))
        replies: list[bytes] = []
        for group in groups:
            if not call.finished:
                call.hear(messages[group], 1.0, replies)
        if not call.finished:
            call.close(1.0, clean=True)
        return [ProcessingResponse.FromString(one) for one in replies], records

    def told(self, provider, client, content_type, pieces):
        """Return Envoy's messages about a request and its answer."""
        asked = {"model": provider, "stream": True, **ASKED[client]}
        head, body, answer = (ProcessingRequest() for _ in range(3))
        sent = {":path": CLIENTS[client], ":method": "POST"}
        for name, value in {**sent, "authorization": f"Bearer {KEY}"}.items():
            head.request_headers.headers.headers.add(key=name, raw_value=value.encode())
        body.request_body.body = json.dumps(asked).encode()
        for name, value in {
            ":status": "200",
            "content-type": content_type,
        }.items():
            answer.response_headers.headers.headers.add(
                key=name, raw_value=value.encode()
            )
        said = answer.attributes["envoy.filters.http.ext_proc"].fields
        said["upstream.request_attempt_count"].number_value = 1
        said["response.code_details"].string_value = "via_upstream"
        end, last = ProcessingRequest(), ProcessingRequest()
        end.request_body.end_of_stream = True
        last.response_body.end_of_stream = True
        messages = [one.SerializeToString() for one in (head, body, end, answer)]
        for piece in pieces:
            message = ProcessingRequest()
            message.response_body.body = piece
            noted = message.metadata_context.filter_metadata["gw.att"]
            noted.fields["n"].string_value = "1"
            messages.append(message.SerializeToString())
        return [*messages, last.SerializeToString()]


ASKED: dict[str, dict[str, object]] = {
    "openai_chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "openai_completions": {"prompt": "Hi"},
    "openai_responses": {"input": "Hi"},
    "anthropic": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
}


@pytest.fixture(scope="module")
def formats_office():
    return FormatsOffice()


def cut_up(whole, seed):
    """Cut bytes at random places, some of them between two of its events."""
    chooser = random.Random(seed)
    events_end = [at + 2 for at in range(len(whole)) if whole[at : at + 2] == b"\n\n"]
    anywhere = [chooser.randrange(len(whole)) for _ in range(6)]
    edges = sorted({0, len(whole), *anywhere, *events_end[::2]})
    return [whole[start:stop] for start, stop in itertools.pairwise(edges)]


@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("ends", ["well", "early", "in garbage", "in lists of lists"])
def test_a_piece_that_is_only_passed_to_its_stream_is_answered_as_any_event(
    formats_office, monkeypatch, provider, client, ends
):
    stream = stream_of(provider, "wörd ")
    whole = b"".join(stream.pieces(6))
    nested = b'data: {"choices":' + b"[" * 2000 + b"\n\n"
    whole = {
        "well": whole,
        "early": whole[: len(whole) // 2],
        "in garbage": whole + stream.piece + b"data: {]\n\n" * 2 + bytes(20),
        "in lists of lists": b"".join(stream.start) + nested,
    }[ends]
    pieces = cut_up(whole, f"{provider} {client} {ends}")
    glances = []

    def glance(message, kind):
        glances.append(read_piece(message, kind))
        return glances[-1]

    monkeypatch.setattr(calls, "read_piece", glance)
    quick = formats_office.calls(provider, client, stream.content_type, pieces)
    monkeypatch.setattr(calls, "read_piece", lambda _message, _kind: None)
    assert formats_office.calls(provider, client, stream.content_type, pieces) == quick
    assert sum(one is not None for one in glances) >= min(3, len(quick[0]) - 4)
    assert len(quick[1]) == 1


@pytest.mark.parametrize("provider", ["openai_chat", "anthropic"])
@pytest.mark.parametrize("most", [10, 40, 300, 10_000])
def test_a_piece_that_is_only_kept_is_answered_as_any_event(
    formats_office, monkeypatch, provider, most
):
    runtime = formats_office.runtime
    limits = msgspec.structs.replace(runtime.limits, max_answer_bytes=most)
    monkeypatch.setattr(
        formats_office, "runtime", msgspec.structs.replace(runtime, limits=limits)
    )
    pieces = cut_up(json.dumps({"choices": [{"text": "x" * 200}]}).encode(), most)
    quick = formats_office.calls(provider, "openai_chat", "application/json", pieces)
    monkeypatch.setattr(calls, "read_piece", lambda _message, _kind: None)
    general = formats_office.calls(provider, "openai_chat", "application/json", pieces)
    assert quick == general
    assert len(quick[1]) == 1


def summed(told):
    """Return what replies come to: each that is no body, all bytes of bodies, the end."""
    responses, (record,) = told
    rest, body, ends = [], b"", []
    for one in responses:
        if one.HasField("response_body"):
            piece = one.response_body.response.body_mutation.streamed_response
            body += piece.body
            ends.append(piece.end_of_stream)
        else:
            rest.append(one)
    assert not any(ends[:-1])
    return rest, body, ends[-1:], msgspec.structs.replace(record, chunks=0)


def groupings(size, seed):
    """Yield ways to cut so many messages into groups: none, some at random, one each."""
    chooser = random.Random(seed)
    for part in (0.0, 0.2, 0.5, 0.8, 1.0):
        edges = [at for at in range(1, size) if chooser.random() < part]
        yield [slice(*pair) for pair in itertools.pairwise([0, *edges, size])]


@pytest.mark.parametrize("provider", PROVIDER_FORMATS)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("content", ["stream", "cut short", "error", "whole"])
def test_messages_that_come_together_are_answered_as_one_by_one(
    formats_office, provider, client, content
):
    stream = stream_of(provider, "wörd ")
    whole = b"".join(stream.pieces(3))
    kind, pieces = {
        "stream": (stream.content_type, [*stream.pieces(3)]),
        "cut short": (stream.content_type, [whole[: len(whole) // 2]]),
        "error": ("application/json", [b'{"error":{"message":"No."}}']),
        "whole": ("application/json", [b'{"model":"m","usage":', b"{}}"]),
    }[content]
    messages = formats_office.told(provider, client, kind, pieces)
    ways = groupings(len(messages), f"{provider} {client}")
    *grouped, alone = [
        summed(formats_office.together(messages, groups)) for groups in ways
    ]
    assert alone[0]
    for told in grouped:
        assert told == alone


LONG = 300 * 1024


ROOMY = msgspec.structs.replace(RUNTIME, limits=Limits())


def crowded(bodies):
    shared = office([])
    shared.runtime = ROOMY
    shared.bodies.limit = bodies
    return shared


def body_piece(data, *, end=False):
    request = ProcessingRequest()
    request.request_body.body = data
    request.request_body.end_of_stream = end
    return request.SerializeToString()


@pytest.mark.parametrize("size", [8_000, 2 * LONG])
def test_a_long_body_waits_for_room_and_goes_on_when_another_has_been_sent(size):
    async def play():
        shared = crowded(2 * LONG)
        first, second = Call(shared), Call(shared)
        text = json.dumps(
            {"model": "gpt", "messages": [{"role": "user", "content": "a" * LONG}]}
        ).encode()
        for call in (first, second):
            call.receive(request_headers(), 1.0)
            for at in range(0, len(text) - 9, size):
                piece = text[at : min(at + size, len(text) - 9)]
                assert call.receive(body_piece(piece), 1.0) == []
        assert first.turn is None
        turn = second.turn
        assert turn is not None
        assert first.receive(body_piece(text[-9:], end=True), 1.0) == []
        loop = asyncio.get_running_loop()
        answers = first.resume(await first.begin(loop), 2.0)
        assert kinds(answers) == ["request_headers", "request_body"]
        # Of what is said the edge still has to send much.
        assert first.parting
        assert not turn.done()
        first.part()
        assert turn.done()
        assert second.turn is None
        second.close(3.0, clean=False)
        assert (shared.bodies.held, shared.bodies.waiting) == (0, 0)

    asyncio.run(play())


def test_who_has_no_room_for_long_is_told_so_and_leaves_the_line():
    async def play():
        shared = crowded(2 * LONG)
        first, second = Call(shared), Call(shared)
        for call in (first, second):
            call.receive(request_headers(), 1.0)
            call.receive(body_piece(b"{" + b" " * LONG), 1.0)
        assert second.deadline == 1.0 + RUNTIME.limits.request_seconds / 2
        (answer,) = second.expire(second.deadline)
        said = ProcessingResponse.FromString(answer).immediate_response
        assert said.status.code == 503
        assert json.loads(said.body)["error"]["type"] == "service_unavailable"
        headers = {
            one.header.key: one.header.raw_value for one in said.headers.set_headers
        }
        assert headers["retry-after"] == b"1"
        second.close(40.0, clean=True)
        assert shared.bodies.waiting == 0
        (answer,) = first.expire(100.0)
        said = ProcessingResponse.FromString(answer).immediate_response
        assert said.status.code == 408
        first.close(100.0, clean=True)
        assert first.parting, "the edge has it to send"
        first.part()
        assert shared.bodies.held == 0

    asyncio.run(play())


def test_room_that_comes_at_the_last_moment_is_taken():
    async def play():
        shared = crowded(3 * LONG)
        first, second, third = three = [Call(shared) for _ in range(3)]
        for call in three:
            call.receive(request_headers(), 1.0)
            call.receive(body_piece(b"{" + b" " * LONG), 1.0)
        late = second.deadline
        assert third.deadline == late
        first.close(late, clean=False)
        assert second.turn is None
        assert second.deadline > late
        assert kinds(third.expire(late)) == ["immediate_response"]

    asyncio.run(play())


def test_while_others_wait_a_body_has_to_come_as_fast_as_it_must_to_be_in_time():
    async def play():
        shared = crowded(10 * LONG)
        now = 1.0
        shared.bodies = Bodies(10 * LONG, lambda: now)
        slow, steady, waiting = three = [Call(shared) for _ in range(3)]
        seconds = RUNTIME.limits.request_seconds
        for call, announced in zip(three, (6, 4, 5), strict=True):
            length = str(announced * LONG)
            call.receive(request_headers(**{"content-length": length}), 1.0)
        for call in (slow, steady):
            call.receive(body_piece(b"{" + b" " * LONG), 1.0)
        assert slow.deadline == steady.deadline == 1.0 + seconds, "nobody waits"
        waiting.receive(body_piece(b"{" + b" " * LONG), 1.0)
        turn = waiting.turn
        assert turn is not None
        begun = AHEAD_SECONDS + seconds / 6
        assert slow.deadline == pytest.approx(1.0 + begun, abs=0.01)
        assert steady.deadline == pytest.approx(
            1.0 + AHEAD_SECONDS + seconds / 4, abs=0.01
        )
        for part in range(2):
            now = 1.0 + seconds * (part + 1) / 4
            steady.receive(body_piece(b" " * LONG), now)
            assert steady.deadline > now + AHEAD_SECONDS
        assert steady.deadline < 1.0 + seconds
        answers = slow.expire(slow.deadline)
        said = ProcessingResponse.FromString(answers[0]).immediate_response
        assert said.status.code == 408
        slow.part()
        assert turn.done()
        assert steady.deadline == 1.0 + seconds, "nobody waits any more"

    asyncio.run(play())


def test_far_too_much_at_once_is_refused():
    shared = crowded(1000)
    call = Call(shared)
    call.receive(request_headers(), 1.0)
    (answer,) = call.receive(body_piece(b"{" + b" " * 3000), 1.0)
    said = ProcessingResponse.FromString(answer).immediate_response
    assert said.status.code == 503
    assert call.finished


def holders(text):
    """Return the containers that hold bytes with `text` in them."""
    gc.collect()
    return [
        one
        for one in gc.get_objects()
        if isinstance(one, dict | list | tuple) and len(one) < 100
        for item in (one.values() if isinstance(one, dict) else one)
        if isinstance(item, bytes) and text in item
    ]


def test_no_long_body_is_held_while_its_answer_comes():
    async def play():
        call = Call(crowded(LONG))
        call.receive(request_headers(), 1.0)
        call.receive(request_body("x" * LONG), 1.0)
        call.resume(await call.begin(asyncio.get_running_loop()), 2.0)
        async with asyncio.timeout(10):
            while holders(b"x" * LONG):  # the thread has it until it is done
                await asyncio.sleep(0.01)
        exchange = call._exchange
        assert exchange is not None
        assert exchange.plan is not None
        assert exchange.plan.demand.members.keys() == {"model"}
        assert [leg.attempt.body for leg in exchange.legs] == [b""]

    asyncio.run(play())


def whole_answer_headers(**headers):
    request = ProcessingRequest()
    sent = {":status": "200", "content-type": "application/json", **headers}
    for name, value in sent.items():
        request.response_headers.headers.headers.add(key=name, raw_value=value.encode())
    fields = request.attributes["envoy.filters.http.ext_proc"].fields
    fields["response.code_details"].string_value = "via_upstream"
    return request.SerializeToString()


def asked(shared):
    """Return a call whose answer is awaited."""
    call = Call(shared)
    call.receive(request_headers(), 1.0)
    assert kinds(call.receive(request_body(), 1.0))[0] == "request_headers"
    return call


COMPLETION = json.dumps(
    {
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpt",
        "choices": [
            {
                "index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "w" * LONG},
            }
        ],
    }
).encode()  # fmt: skip


def test_a_long_answer_that_has_to_be_whole_waits_for_room_too():
    async def play():
        shared = crowded(2 * LONG)
        first, second = asked(shared), asked(shared)
        for call in (first, second):
            assert call.receive(whole_answer_headers(), 2.0) == []
            assert call.receive(response_body(COMPLETION[:-9], end=False), 2.0) == []
        assert first.turn is None
        turn = second.turn
        assert turn is not None
        assert first.receive(response_body(COMPLETION[-9:], end=True), 2.0) == []
        loop = asyncio.get_running_loop()
        answers = first.resume(await first.begin(loop), 3.0)
        assert kinds(answers) == ["response_headers", "response_body"]
        assert first.finished
        first.close(3.0, clean=True)
        assert not turn.done(), "it is on its way"
        first.part()
        assert turn.done()
        assert second.turn is None
        second.close(4.0, clean=False)
        assert (shared.bodies.held, shared.bodies.waiting) == (0, 0)

    asyncio.run(play())


def test_an_answer_that_has_no_room_for_long_is_ended_in_the_clients_words():
    async def play():
        shared = crowded(2 * LONG)
        records: list[Completion] = []
        shared.record = records.append
        first, second = asked(shared), asked(shared)
        for call in (first, second):
            call.receive(whole_answer_headers(), 2.0)
            call.receive(response_body(COMPLETION[:-9], end=False), 2.0)
        assert 2.0 < second.deadline <= 2.0 + RUNTIME.limits.request_seconds / 2
        answers = second.expire(second.deadline)
        said = [ProcessingResponse.FromString(answer) for answer in answers]
        head = said[0].response_headers.response.header_mutation.set_headers
        told = {one.header.key: one.header.raw_value for one in head}
        assert (told[":status"], told["retry-after"]) == (b"503", b"1")
        body = said[1].response_body.response.body_mutation.streamed_response
        assert json.loads(body.body)["error"]["type"] == "service_unavailable"
        assert second.finished
        assert [(one.outcome, one.status) for one in records] == [
            ("gateway_error", 503)
        ]
        second.close(40.0, clean=True)
        first.close(40.0, clean=False)
        assert (shared.bodies.held, shared.bodies.waiting) == (0, 0)

    asyncio.run(play())


def test_a_stream_holds_no_room():
    shared = crowded(1000)
    call = asked(shared)
    call.receive(response_headers(), 2.0)
    for _ in range(10):
        call.receive(response_body(STREAM[: len(STREAM) // 2], end=False), 2.0)
        assert shared.bodies.held == 0
    call.close(3.0, clean=False)
