"""Exchanges under limits and budgets: what they reserve, are told, and owe."""

from __future__ import annotations

import hashlib
import json
from typing import Any, cast

import msgspec
import pytest

from extproc.exchange import events
from extproc.exchange.commands import (
    AnswerBody,
    Complete,
    Reserve,
    Respond,
    Route,
    TopUp,
)
from extproc.exchange.exchange import Exchange
from extproc.identity import (
    NANOS,
    UNLIMITED,
    Allowance,
    Budget,
    Grant,
    RateLimit,
    Subject,
    Unit,
)
from extproc.policy.books import Books
from extproc.policy.claims import NOTHING, Admitted, Denied, Left, Spent
from extproc.pricing import Level, Price, PriceRow
from extproc.runtime import ModelSpec, Runtime, Snapshot
from extproc.usage import Usage
from tests.exchange.test_exchange import ANSWER, MESSAGE, answered, target

KEY = "sk-test-0123456789abcdef"
STARTED = 1_800_000_000.0
PRICES = (
    PriceRow("openai", Price((Level(0, 2_000_000_000, 8_000_000_000),)), ("gpt",)),
    PriceRow(
        "anthropic", Price((Level(0, 3_000_000_000, 15_000_000_000),)), ("claude",)
    ),
)
MONTH = Budget(NANOS, "month")


def allow(*, budgets=(), concurrency=None, **rates: Any):
    return Allowance(
        tuple(RateLimit(cast("Unit", unit), n, 60) for unit, n in rates.items()),
        concurrency,
        budgets,
    )


def runtime(allowance=UNLIMITED, subjects=(), **more):
    grant = more.pop("grant", {})
    return Runtime.of(
        Snapshot(
            1,
            grants=(
                Grant(
                    "app", hashlib.sha256(KEY.encode()).hexdigest(),
                    allowance=allowance, **grant,
                ),
            ),
            models=(
                ModelSpec("gpt", (target("openai"),)),
                ModelSpec("claude", (target("anthropic"),)),
                ModelSpec("both", (target("openai", "gpt"), target("anthropic", "claude"))),
                ModelSpec("free", (target("openai"),)),
            ),
            prices=PRICES,
            subjects=subjects,
            **more,
        )
    )  # fmt: skip


def ask(
    rt,
    model="gpt",
    *,
    path="/v1/chat/completions",
    books=None,
    headers=None,
    separators=None,
    **body,
):
    ex = Exchange(rt, id="gw-1", started=STARTED, now=0.0, books=books)
    sent = {":method": "POST", ":path": path, "authorization": f"Bearer {KEY}"}
    assert (
        ex.receive(events.RequestHeaders(sent | (headers or {}), end=False), 0.0) == []
    )
    plain = {} if "input" in body else {"messages": [{"role": "user", "content": "Hi"}]}
    said = {"model": model, **plain, **body}
    raw = json.dumps(said, separators=separators).encode()
    return ex, ex.receive(events.RequestBody(raw, end=True), 0.1)


def claims(commands):
    (reserve,) = commands
    assert isinstance(reserve, Reserve)
    return reserve.admission.claims


def admit(ex, commands, remaining=7, reset=12.5):
    left = tuple(Left(remaining, reset) for _ in claims(commands))
    (route,) = ex.receive(Admitted(left), 0.2)
    assert isinstance(route, Route)
    return route


def settled(commands):
    (complete,) = [c for c in commands if isinstance(c, Complete)]
    return complete.settlement, complete.completion


def test_what_has_no_limit_asks_nobody():
    _, (route,) = ask(runtime())
    assert isinstance(route, Route)
    assert route.limits == ()


def test_every_subject_of_a_request_has_its_say():
    one = allow(requests=5)
    named = {
        "global": "", "organization": "acme", "team": "search", "user": "ann",
        "end_user": "bot-*", "model": "gpt", "deployment": "openai/gpt",
    }  # fmt: skip
    rt = runtime(
        one,
        tuple(Subject(kind, name, one) for kind, name in named.items()),  # type: ignore[arg-type]
        grant={"organization": "acme", "team": "search", "user": "ann"},
    )
    _, commands = ask(rt, user="bot-7")
    assert [claim.meter for claim in claims(commands)] == [
        "global//requests/60",
        "organization/acme/requests/60",
        "team/search/requests/60",
        "user/ann/requests/60",
        "key/app/requests/60",
        "end_user/bot-7/requests/60",
        "model/gpt/requests/60",
        "deployment/openai/gpt/requests/60",
    ]


@pytest.mark.parametrize(
    "said",
    [
        {"body": {"user": "ann"}},
        {"body": {"safety_identifier": "ann"}},
        {"headers": {"x-end-user": "ann"}},
        {
            "path": "/v1/messages",
            "body": {"metadata": {"user_id": "ann"}, "max_tokens": 5},
        },
    ],
)
def test_an_end_user_is_named_by_body_or_header(said):
    rt = runtime(subjects=(Subject("end_user", "ann", allow(requests=1)),))
    _, commands = ask(
        rt, path=said.get("path", "/v1/chat/completions"),
        headers=said.get("headers"), **said.get("body", {}),
    )  # fmt: skip
    assert [claim.meter for claim in claims(commands)] == ["end_user/ann/requests/60"]


def test_limits_are_told_in_the_clients_dialect():
    rt = runtime(allow(requests=10, total_tokens=9_000))
    ex, commands = ask(rt, max_tokens=100)
    assert admit(ex, commands).limits == (
        ("x-ratelimit-limit-requests", "10"),
        ("x-ratelimit-remaining-requests", "7"),
        ("x-ratelimit-reset-requests", "12.5s"),
        ("x-ratelimit-limit-tokens", "9000"),
        ("x-ratelimit-remaining-tokens", "7"),
        ("x-ratelimit-reset-tokens", "12.5s"),
    )
    ex, commands = ask(rt, "claude", path="/v1/messages", max_tokens=100)
    assert admit(ex, commands).limits[:3] == (
        ("anthropic-ratelimit-requests-limit", "10"),
        ("anthropic-ratelimit-requests-remaining", "7"),
        ("anthropic-ratelimit-requests-reset", "2027-01-15T08:00:13Z"),
    )


@pytest.mark.parametrize(
    ("said", "status"),
    [({"model": "none"}, 404), ({"model": 7}, 400), ({"stream": 5}, 400)],
)
def test_what_we_refuse_says_where_the_limits_are_and_takes_nothing(said, status):
    rt = runtime(allow(requests=10, budgets=(MONTH,)))
    ex, commands = ask(rt, **{"model": "claude", **said}, path="/v1/messages")
    assert [(c.meter, c.amount) for c in claims(commands)] == [
        ("key/app/requests/60", 0)
    ]
    assert ex.receive(events.RequestTrailers(), 0.15) == []
    respond, _, complete = ex.receive(Admitted((Left(7, 12.5),)), 0.2)
    assert isinstance(respond, Respond)
    assert respond.status == status
    assert dict(respond.headers)["anthropic-ratelimit-requests-remaining"] == "7"
    settlement, record = settled([complete])
    assert settlement is not None
    assert settlement.spent == NOTHING
    assert (record.admission, record.status) == ("free", status)


def test_who_is_refused_and_gone_or_not_told_in_time_owes_nothing_either():
    rt = runtime(allow(requests=10))
    for event, outcome in (
        (events.Closed(), "canceled"),
        (events.Expired(), "client_error"),
    ):
        ex, _ = ask(rt, "none")
        settlement, record = settled(ex.receive(event, 9.0))
        assert settlement is not None
        assert settlement.spent == NOTHING
        assert record.outcome == outcome


def test_what_is_let_in_without_a_store_is_told_of_no_limit():
    ex, _ = ask(runtime(allow(requests=10)))
    (route,) = ex.receive(Admitted((), leased=True), 0.2)
    assert isinstance(route, Route)
    assert route.limits == ()


REFUSALS: dict[str, Any] = {
    "requests": (
        {"requests": 3}, {}, (429, "rate_limit_exceeded", "requests"),
        "Rate limit reached for key 'app': 3 requests in a minute, 2 left. Try again",
    ),
    "tokens": (
        {"total_tokens": 300}, {}, (429, "rate_limit_exceeded", "tokens"),
        "Rate limit reached for key 'app': 300 tokens in a minute",
    ),
    "concurrency": (
        {"concurrency": 3}, {}, (429, "concurrency_limit_exceeded", "requests"),
        "3 requests of key 'app' are under way, which is the limit",
    ),
    "held money": (
        {"budgets": (MONTH,)}, {"waiting": True}, (429, "budget_reserved", "requests"),
        "What is left of the budget of key 'app' is reserved by requests that are under",
    ),
    "spent money": (
        {"budgets": (MONTH,)}, {}, (402, "insufficient_quota", "insufficient_quota"),
        "The budget of key 'app' is used up: $0.000000002 of $1 are left",
    ),
    "no store": (
        {"requests": 3}, {"storeless": True}, (503, "limits_unavailable", None),
        "Limits and budgets cannot be checked now",
    ),
}  # fmt: skip


LIMITS = {
    "requests": "key requests",
    "tokens": "key total_tokens",
    "concurrency": "key running",
    "held money": "key usd",
    "spent money": "key usd",
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_names_the_limit_and_when_to_ask_again(case):
    limits, denied, (status, code, kind), text = REFUSALS[case]
    ex, commands = ask(runtime(allow(**limits)))
    claims(commands)
    verdict = Denied(0, Left(2, 9.5), 9.5, **denied)
    respond, *_ = refused = ex.receive(verdict, 0.2)
    assert isinstance(respond, Respond)
    error = json.loads(respond.body)["error"]
    assert (respond.status, error["code"]) == (status, code)
    assert kind in (None, error["type"])
    assert text in error["message"]
    waits = dict(respond.headers).get("retry-after")
    assert waits == {402: None, 503: "1"}.get(status, "10")
    if case == "requests":
        assert dict(respond.headers)["x-ratelimit-remaining-requests"] == "2"
    settlement, record = settled(refused)
    assert settlement is None
    assert (record.outcome, record.cost) == (
        "gateway_error" if case == "no store" else "client_error",
        None,
    )
    assert (record.admission, record.limit) == (
        ("unavailable", None) if case == "no store" else ("denied", LIMITS[case])
    )
    assert record.reserved is None


def test_a_refusal_of_anthropics_dialect_is_a_rate_limit_error():
    rt = runtime(allow(requests=3))
    ex, _ = ask(rt, "claude", path="/v1/messages", max_tokens=5)
    respond, *_ = ex.receive(Denied(0, Left(0, 9.0), 9.0), 0.2)
    assert isinstance(respond, Respond)
    assert json.loads(respond.body)["error"]["type"] == "rate_limit_error"
    assert dict(respond.headers)["anthropic-ratelimit-requests-remaining"] == "0"


def test_a_hard_budget_reserves_the_worst_of_the_dearest_target():
    rt = runtime(allow(budgets=(MONTH,)))
    _, commands = ask(rt, "both", max_tokens=1_000, n=2)
    (claim,) = claims(commands)
    prompt = (len(json.dumps({
        "model": "both", "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 1000, "n": 2,
    })) // 2 + len("10002") + 1)  # fmt: skip
    # The second target cannot give two answers, and is not asked.
    assert claim.amount == prompt * 2_000 + 2_000 * 8_000
    _, commands = ask(rt, "both", max_tokens=1_000)
    assert claims(commands)[0].amount > 1_000 * 15_000
    assert claims(commands)[0].ends == 1_801_440_000


def test_a_hard_budget_bounds_an_answer_that_nobody_bounded():
    ex, commands = ask(runtime(allow(budgets=(MONTH,))))
    route = admit(ex, commands)
    assert json.loads(route.chain[0].body)["max_completion_tokens"] == 777
    assert claims(commands)[0].amount >= 777 * 8_000


@pytest.mark.parametrize("separators", [None, (",", ":")])
def test_a_bound_stands_beside_the_name_that_the_provider_knows(separators):
    rt = runtime(allow(budgets=(MONTH,)))
    ex, commands = ask(rt, "both", separators=separators, user="ann")
    assert json.loads(admit(ex, commands).chain[0].body) == {
        "model": "gpt", "messages": [{"role": "user", "content": "Hi"}],
        "max_completion_tokens": 777, "user": "ann",
    }  # fmt: skip


def test_a_clients_own_bound_is_left_alone():
    ex, commands = ask(runtime(allow(budgets=(MONTH,))), max_tokens=50)
    body = json.loads(admit(ex, commands).chain[0].body)
    assert "max_completion_tokens" not in body
    assert body["max_tokens"] == 50


def test_a_soft_budget_reserves_what_such_answers_usually_are():
    rt = runtime(allow(budgets=(msgspec.structs.replace(MONTH, hard=False),)))
    books = Books()
    _, commands = ask(rt, books=books)
    first = claims(commands)[0].amount
    assert first == pytest.approx(1_000 * 8_000, rel=0.01)
    for tokens in (10, 20, 30, 40, 50, 60):
        books.outputs.learn("app", "gpt", tokens)
    _, commands = ask(rt, books=books)
    assert claims(commands)[0].amount == pytest.approx(60 * 8_000, rel=0.2)
    _, commands = ask(rt, books=books, max_tokens=5)
    assert claims(commands)[0].amount < 60 * 8_000


def test_an_unknown_length_never_refuses_by_itself():
    rt = runtime(allow(total_tokens=300))
    _, commands = ask(rt)
    assert claims(commands)[0].amount == 300
    _, commands = ask(rt, messages=[{"role": "user", "content": "x" * 2_000}])
    assert claims(commands)[0].amount > 300


def test_a_model_without_a_price_is_refused_or_counted():
    budget = allow(budgets=(MONTH,))
    rt = runtime(budget)
    _, commands = ask(rt, "free")
    assert claims(commands)[0].amount == 0
    strict = msgspec.structs.replace(rt.accounting, unpriced="refuse")
    _, (respond, *_) = ask(runtime(budget, accounting=strict), "free")
    assert isinstance(respond, Respond)
    error = json.loads(respond.body)["error"]
    assert (respond.status, error["code"]) == (403, "model_not_priced")


def test_a_whole_answer_is_settled_with_its_own_counts_and_says_its_cost():
    ex, commands = ask(runtime(allow(requests=5, budgets=(MONTH,))), max_tokens=9)
    admit(ex, commands)
    ex.receive(answered(), 1.0)
    commands = ex.receive(
        events.ResponseBody(json.dumps(ANSWER).encode(), end=True), 2.0
    )
    head = commands[0]
    costs = 9 * 2_000 + 2 * 8_000
    assert dict(head.set_headers)["x-extproc-cost"] == "0.000034"
    settlement, record = settled(commands)
    assert settlement is not None
    assert settlement.spent == Spent(1, 9, 2, costs)
    assert (record.cost, record.usage, record.estimated) == (
        costs,
        Usage(9, 2, cache_read_input_tokens=4),
        False,
    )
    assert record.budgets == (("key/app/month/UTC/1798761600", 1_801_440_000),)


def test_a_translated_answer_says_its_cost_too():
    ex, commands = ask(runtime(), "claude", max_tokens=9)
    assert isinstance(commands[0], Route)
    ex.receive(answered(), 1.0)
    commands = ex.receive(
        events.ResponseBody(json.dumps(MESSAGE).encode(), end=True), 2.0
    )
    assert dict(commands[0].set_headers)["x-extproc-cost"] == "0.000057"


def test_what_reached_nobody_is_released():
    for end in ("closed", "unreachable"):
        ex, commands = ask(runtime(allow(requests=5)))
        if end == "closed":
            commands = ex.receive(events.Closed(), 0.3)
            # The verdict comes too late, and is nobody's business any more.
            assert ex.receive(Admitted((Left(1, 1.0),)), 0.4) == []
        else:
            admit(ex, commands)
            commands = ex.receive(
                answered(503, "text/plain", details="no_healthy_upstream", end=True),
                1.0,
            )
        settlement, record = settled(commands)
        assert settlement is not None
        assert (settlement.spent, record.cost) == (NOTHING, None)


def test_a_providers_error_costs_a_request_and_no_money():
    ex, commands = ask(runtime(allow(requests=5, budgets=(MONTH,))))
    admit(ex, commands)
    ex.receive(answered(400), 1.0)
    body = b'{"error": {"message": "no", "type": "invalid_request_error"}}'
    commands = ex.receive(events.ResponseBody(body, end=True), 2.0)
    settlement, record = settled(commands)
    assert settlement is not None
    assert (settlement.spent, record.cost) == (Spent(1), None)


def test_an_interrupted_stream_is_settled_from_what_was_produced():
    ex, commands = ask(runtime(allow(budgets=(MONTH,))), stream=True, max_tokens=99)
    admit(ex, commands)
    ex.receive(answered(kind="text/event-stream"), 1.0)
    for word in range(12):
        delta = {"index": 0, "delta": {"content": f"w{word}"}, "finish_reason": None}
        chunk = {
            "id": "c",
            "object": "chat.completion.chunk",
            "model": "m",
            "created": 1,
        }
        data = f"data: {json.dumps({**chunk, 'choices': [delta]})}\n\n".encode()
        ex.receive(events.ResponseBody(data, end=False), 1.5)
    settlement, record = settled(ex.receive(events.Closed(), 2.0))
    assert settlement is not None
    assert record.estimated
    assert record.usage is not None
    assert 8 <= record.usage.output_tokens <= 12
    assert settlement.spent.output_tokens == record.usage.output_tokens
    assert settlement.spent.nanos == record.cost
    assert record.cost == (
        record.usage.input_tokens * 2_000 + record.usage.output_tokens * 8_000
    )


def test_counting_tokens_costs_no_money():
    ex, commands = ask(
        runtime(allow(requests=5, budgets=(MONTH,))), "claude",
        path="/v1/messages/count_tokens",
    )  # fmt: skip
    assert [claim.counts for claim in claims(commands)] == ["requests", "nanos"]
    admit(ex, commands)
    ex.receive(answered(), 1.0)
    commands = ex.receive(events.ResponseBody(b'{"input_tokens": 5}', end=True), 2.0)
    settlement, record = settled(commands)
    assert settlement is not None
    assert settlement.spent.nanos == 0
    assert not record.cost


def test_a_record_says_whose_it_is():
    ex, _ = ask(
        runtime(
            grant={"organization": "acme", "team": "t", "user": "u", "tags": ("x",)}
        ),
        user="ann",
    )
    _, record = settled(ex.receive(events.Closed(), 1.0))
    said = (record.organization, record.team, record.user, record.end_user, record.tags)
    assert said == ("acme", "t", "u", "ann", ("x",))


def test_a_verdict_that_does_not_come_is_answered():
    ex, commands = ask(runtime(allow(requests=1)))
    respond, *_ = commands = ex.receive(events.Expired(), 99.0)
    assert isinstance(respond, Respond)
    assert respond.status == 503
    settlement, _ = settled(commands)
    assert settlement is not None
    assert settlement.spent == NOTHING


def words(number, first=0):
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m", "created": 1}
    return b"".join(
        b"data: %s\n\n"
        % json.dumps(
            {
                **chunk,
                "choices": [
                    {"index": 0, "delta": {"content": f"w{n} "}, "finish_reason": None}
                ],
            }
        ).encode()
        for n in range(first, first + number)
    )


def streaming(rt, **body):
    ex, commands = ask(rt, stream=True, **body)
    admit(ex, commands)
    ex.receive(answered(kind="text/event-stream"), 1.0)
    return ex, commands


def said(commands):
    return b"".join(c.data for c in commands if isinstance(c, AnswerBody))


SOFT = msgspec.structs.replace(MONTH, hard=False)


def test_a_soft_stream_reserves_more_as_it_runs_and_before_it_has_to():
    ex, commands = streaming(runtime(allow(budgets=(SOFT,))), max_tokens=10_000)
    reserved = claims(commands)[0].amount
    assert reserved == pytest.approx(10_000 * 8_000, rel=0.01)
    books = Books()
    for _ in range(9):
        books.outputs.learn("app", "gpt", 300)
    ex, commands = ask(runtime(allow(budgets=(SOFT,))), books=books, stream=True)
    assert claims(commands)[0].amount == pytest.approx(300 * 8_000, rel=0.1)
    admit(ex, commands)
    ex.receive(answered(kind="text/event-stream"), 1.0)
    assert not any(
        isinstance(c, TopUp)
        for c in ex.receive(events.ResponseBody(words(200), end=False), 1.1)
    )
    _, more = ex.receive(events.ResponseBody(words(60), end=False), 1.2)
    assert isinstance(more, TopUp)
    assert more.nanos == 300 * 8_000
    # Asked once, until there is an answer.
    assert len(ex.receive(events.ResponseBody(words(90), end=False), 1.3)) == 1
    ex.receive(events.ToppedUp(granted=True), 1.4)
    assert len(ex.receive(events.ResponseBody(words(90), end=False), 1.5)) == 1
    assert len(ex.receive(events.ResponseBody(words(90), end=False), 1.6)) == 2
    # Refused, and not a key that has its streams cut: it runs on.
    ex.receive(events.ToppedUp(granted=False), 1.7)
    assert len(ex.receive(events.ResponseBody(words(900), end=False), 1.8)) == 1
    _, record = settled(ex.receive(events.ResponseBody(b"", end=True), 1.9))
    assert record.admission == "admitted"
    assert record.reserved == claims(commands)[0].amount + 300 * 8_000


def test_a_hard_budget_has_reserved_for_all_there_can_be():
    ex, _ = streaming(runtime(allow(budgets=(MONTH,))), max_tokens=100)
    for n in range(100):
        commands = ex.receive(events.ResponseBody(words(1, n), end=False), 1.1)
        assert len(commands) == 1


def test_who_has_it_so_is_cut_off_with_a_finish_of_its_own():
    rt = runtime(allow(budgets=(MONTH,)), grant={"cut_off": True})
    ex, commands = streaming(rt, max_tokens=300, stream_options={"include_usage": True})
    # As many as usual, though the budget is hard.
    assert claims(commands)[0].amount < 200 * 8_000 + 200_000
    first = ex.receive(events.ResponseBody(words(170), end=False), 1.1)
    assert isinstance(first[-1], TopUp)
    ex.receive(events.ToppedUp(granted=False), 1.2)
    last = ex.receive(events.ResponseBody(words(5, 170), end=False), 1.3)
    assert last[0].end
    frames = [f for f in (said(first) + said(last)).split(b"\n\n") if f]
    assert frames[-1] == b"data: [DONE]"
    parsed = [json.loads(f.removeprefix(b"data: ")) for f in frames[:-1]]
    text = "".join(
        c["delta"].get("content") or "" for p in parsed for c in p["choices"]
    )
    assert text == "".join(f"w{n} " for n in range(175))
    finishes = [c["finish_reason"] for p in parsed for c in p["choices"]]
    assert [f for f in finishes if f] == ["length"]
    settlement, record = settled(last)
    assert settlement is not None
    assert settlement.spent.output_tokens == parsed[-1]["usage"]["completion_tokens"]
    assert 175 <= settlement.spent.output_tokens <= 220
    assert (record.outcome, record.estimated) == ("ok", True)


def test_a_cut_is_spelled_as_the_client_does():
    rt = runtime(allow(budgets=(MONTH,)), grant={"cut_off": True})
    ex, commands = ask(
        rt, "claude", path="/v1/messages", max_tokens=300, stream=True,
        messages=[{"role": "user", "content": "Hi"}],
    )  # fmt: skip
    admit(ex, commands)
    ex.receive(answered(kind="text/event-stream"), 1.0)
    opening = [
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0,
         "content_block": {"type": "text", "text": ""}},
    ]  # fmt: skip
    deltas = [
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "text_delta", "text": "word "}}
    ] * 270  # fmt: skip

    def events_of(items):
        return b"".join(
            b"event: %s\ndata: %s\n\n" % (i["type"].encode(), json.dumps(i).encode())
            for i in items
        )

    first = ex.receive(events.ResponseBody(events_of(opening + deltas), end=False), 1.1)
    assert isinstance(first[-1], TopUp)
    ex.receive(events.ToppedUp(granted=False), 1.2)
    last = ex.receive(events.ResponseBody(events_of(deltas[:1]), end=False), 1.3)
    names = [
        line.removeprefix(b"event: ")
        for line in said(last).split(b"\n")
        if line.startswith(b"event: ")
    ]
    assert names[-3:] == [b"content_block_stop", b"message_delta", b"message_stop"]
    assert b'"stop_reason":"max_tokens"' in said(last)
