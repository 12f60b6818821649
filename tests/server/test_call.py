"""One ext_proc stream over its exchange: heavy work waits for a thread, and is waited for."""

from __future__ import annotations

import json
import math

from extproc._pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.exchange.commands import Route
from extproc.exchange.completion import Completion
from extproc.routing.state import RoutingState, Still
from extproc.runtime import Runtime, Snapshot
from extproc.server import call as calls
from extproc.server.call import Call, Office
from tests.exchange.test_exchange import KEY, RUNTIME


def office(records):
    return Office(
        runtime=RUNTIME,
        new_id=lambda: "gw-1",
        wall_clock=lambda: 1_800_000_000.0,
        record=records.append,
        routing=RoutingState(Still()),
    )


def request_headers():
    request = ProcessingRequest()
    sent = {
        ":method": "POST",
        ":path": "/v1/chat/completions",
        "authorization": f"Bearer {KEY}",
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
    call = Call(office([]))
    call.receive(request_headers(), 1.0)
    assert call.receive(request_body("x" * 2000), 1.0) == []
    work = call.work
    assert work is not None
    worked = work()
    assert isinstance(worked[0][0], Route)
    answers = call.resume(worked, 2.0)
    assert kinds(answers) == ["request_headers", "request_body"]
    assert call.work is None


def test_what_happens_while_a_thread_works_waits_its_turn(monkeypatch):
    monkeypatch.setattr(calls, "HEAVY_BYTES", 1000)
    records: list[Completion] = []
    call = Call(office(records))
    call.receive(request_headers(), 1.0)
    call.receive(request_body("x" * 2000), 1.0)
    call.close(1.5, clean=False)
    assert records == []
    assert call.work is not None
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
