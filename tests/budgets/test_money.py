"""Two hundred at once against a dollar and against limits, through real Envoys.

Every answer costs 2 cents (20 tokens of a tenth of a cent) and may cost 4.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.exchange.completion import Completion
from extproc.pricing import show
from tests.budgets.conftest import FULL
from tests.budgets.world import (
    ANSWER_NANOS,
    ANSWER_TOKENS,
    WORST_TOKENS,
    Asked,
    chat,
    key_of,
)

pytestmark = pytest.mark.envoy

DOLLAR = 1_000_000_000
AT_ONCE = 200
CELLS = {
    "json": ((False,), 0),
    "stream": ((True,), 0),
    "json-leaving": ((False,), 4),
    "stream-leaving": ((True,), 4),
    "mixed": ((True, False), 4),
}
"""Streamed or not in turn, and every how many clients one goes away."""
SHORT = {"dollar": ("json", "mixed"), "rpm": ("mixed",), "tpm": ("mixed",)}
"""What of it is played in `make test`."""


def cells(what):
    return list(CELLS) if FULL else SHORT[what]


def wave(name, number=AT_ONCE, *, streamed=(False,), leaving=0):
    """`number` requests, streamed or not in turn; every `leaving`-th client goes away.

    In the middle of a stream, or before an answer that would never come.
    """
    asking = []
    for i in range(number):
        stream, goes = streamed[i % len(streamed)], leaving and i % leaving == 0
        one: dict[str, Any] = {"key": key_of(name), "body": chat(stream=stream)}
        if goes and stream:
            one["leave_after"] = 200
        elif goes:
            one["leaves_as"] = f"leaves-{i}-"
            mute = f"[[mock: mark=leaves-{i}-]][[mock: silence seconds=60]]"
            one["body"] = chat(directive=mute)
        asking.append(one)
    return asking


def play(here, key, cell):
    """Ask once more; return what came of it, and all records of the key so far."""
    streamed, leaving = CELLS[cell]
    here.mock.forget()
    seen = here.ask(wave(key, streamed=streamed, leaving=leaving))
    here.asked[key] = here.asked.get(key, 0) + len(seen)
    return seen, here.records(key, here.asked[key])


def admitted_of(records):
    return sum(record.admission == "admitted" for record in records)


@pytest.mark.parametrize("cell", cells("dollar"))
def test_a_dollar_is_a_dollar(here, table, cell):
    key = f"dollar-{cell}"
    records: list[Completion] = []
    codes: set[str] = set()
    while "insufficient_quota" not in codes:
        seen, records = play(here, key, cell)
        refused = [one for one in seen if one.status not in (0, 200)]
        assert all(one.status in (402, 429) for one in refused)
        codes = {one.code for one in refused}
        assert codes <= {"insufficient_quota", "budget_reserved"}
        assert here.asked[key] < 30 * AT_ONCE, "the dollar is never spent"
    spent = sum(record.cost or 0 for record in records)
    over = max(0, spent - DOLLAR)
    table(
        f"$1, {cell}", len(records), admitted_of(records), f"${show(spent)}", "$1",
        f"${show(over)}",
    )  # fmt: skip
    assert over == 0
    # Nothing is left that would have been enough for one more.
    assert spent > DOLLAR - WORST_TOKENS * 1_000_000
    whole = [r for r in records if r.outcome == "ok"]
    assert all(record.cost == ANSWER_NANOS for record in whole)
    if CELLS[cell][1]:
        assert any(record.estimated for record in records)


def test_a_soft_dollar_is_overspent_by_no_more_than_what_was_under_way(here, table):
    seen: list[Asked] = []
    records: list[Completion] = []
    while not any(one.status == 402 for one in seen):
        seen += here.ask(wave("soft", streamed=(True, False)))
        records = here.records("soft", len(seen))
    admitted = sum(one.status == 200 for one in seen)
    spent = sum(record.cost or 0 for record in records)
    over = max(0, spent - DOLLAR)
    table("$1 soft", len(seen), admitted, f"${show(spent)}", "$1", f"${show(over)}")
    assert over <= ANSWER_NANOS


@pytest.mark.parametrize("cell", cells("rpm"))
def test_a_limit_on_requests_is_exact(here, table, cell):
    seen, records = play(here, f"rpm-{cell}", cell)
    admitted = admitted_of(records)
    table(
        f"30 requests/h, {cell}", len(records), admitted, admitted, 30,
        max(0, admitted - 30),
    )  # fmt: skip
    assert admitted == 30
    answered = [one for one in seen if one.status]
    for one in answered:
        assert one.headers["x-ratelimit-limit-requests"] == "30"
        if one.status == 429:
            assert one.code == "rate_limit_exceeded"
            assert 0 < int(one.headers["retry-after"]) <= 3660
            assert one.headers["x-ratelimit-remaining-requests"] == "0"
    left = [
        int(one.headers["x-ratelimit-remaining-requests"])
        for one in answered
        if one.status == 200
    ]
    assert len(left) == len(set(left)) > 0
    assert set(left) <= set(range(30))


@pytest.mark.parametrize("cell", cells("tpm"))
def test_a_limit_on_tokens_reserves_and_settles(here, table, cell):
    key = f"tpm-{cell}"
    records: list[Completion] = []
    admitted = -1
    while admitted < admitted_of(records):
        admitted = max(0, admitted_of(records))
        _, records = play(here, key, cell)
    used = [record.usage for record in records if record.usage is not None]
    tokens = sum(usage.input_tokens + usage.output_tokens for usage in used)
    over = max(0, tokens - 3000)
    table(f"3000 tokens/h, {cell}", len(records), admitted, tokens, 3000, over)
    one_request = max(usage.input_tokens + usage.output_tokens for usage in used)
    assert one_request > ANSWER_TOKENS
    assert over <= one_request
    assert tokens >= 3000 - 3 * WORST_TOKENS - 3 * one_request


def test_concurrency_is_a_ceiling_and_frees_itself(here, table):
    admitted = 0
    for _ in range(2):
        seen = here.ask(wave("parallel", 60, streamed=(True,)))
        admitted = sum(one.status == 200 for one in seen)
        # Those that came later may find a place that has become free.
        assert 7 <= admitted < 60
        assert {one.code for one in seen if one.status == 429} == {
            "concurrency_limit_exceeded"
        }
    here.ask(wave("parallel", 7))
    table("7 at once", 60, admitted, admitted, "-", 0)


def test_the_books_agree_with_the_provider(here, table):
    """What was settled, what the records say, and what the mock says it has counted."""
    here.mock.forget()
    seen = here.ask(wave("ledger", 120, streamed=(True, False, False)))
    assert [one.status for one in seen] == [200] * 120
    records = here.records("ledger", 120)
    told = [one.usage() for one in seen]
    assert sum(r.usage.input_tokens for r in records) == sum(
        u["prompt_tokens"] for u in told
    )
    assert sum(r.usage.output_tokens for r in records) == sum(
        u["completion_tokens"] for u in told
    )
    assert len(here.mock.requests()) == 120
    spent = sum(record.cost for record in records)
    assert spent == 120 * ANSWER_NANOS
    assert len({record.id for record in records}) == 120
    table(
        "books of 120",
        120,
        120,
        f"${show(spent)}",
        f"${show(120 * ANSWER_NANOS)}",
        "$0",
    )


LONG = " ".join(f"w{n}" for n in range(2_000))
SAY = f'Hi [[mock: answer="{LONG}"]]'
TOLD_AS: dict[str, tuple[dict[str, Any], list[bytes], bytes]] = {
    "chat/completions": (
        {"messages": [{"role": "user", "content": SAY}], "max_tokens": 5_000,
         "stream_options": {"include_usage": True}},
        [b'"finish_reason":"length"', b'"usage":{', b"data: [DONE]"],
        b'"completion_tokens":',
    ),
    "completions": (
        {"prompt": SAY, "max_tokens": 5_000, "stream_options": {"include_usage": True}},
        [b'"finish_reason":"length"', b'"usage":{', b"data: [DONE]"],
        b'"completion_tokens":',
    ),
    "responses": (
        {"input": SAY, "max_output_tokens": 5_000},
        [b"event: response.output_text.done", b"event: response.content_part.done",
         b"event: response.output_item.done", b"event: response.incomplete"],
        b'"output_tokens":',
    ),
    "messages": (
        {"messages": [{"role": "user", "content": SAY}], "max_tokens": 5_000},
        [b"event: content_block_stop", b'"stop_reason":"max_tokens"',
         b"event: message_stop"],
        b'"output_tokens":',
    ),
}  # fmt: skip
"""How each client format asks, the last frames of a cut stream, and what counts them."""


@pytest.mark.parametrize("path", TOLD_AS)
def test_a_stream_is_cut_off_when_the_money_is_gone_and_ends_well(here, table, path):
    """Read raw, to the last byte: the format's own finish, and HTTP's own end."""
    said, ends, counts = TOLD_AS[path]
    key = f"cut-{path.replace('/', '-')}"
    body = json.dumps({"model": "gpt-4o", "stream": True, **said}).encode()
    (one,) = here.ask([{"key": key_of(key), "body": body, "path": f"/v1/{path}"}])
    assert one.status == 200
    *frames, rest = one.body.split(b"\n\n")
    assert rest == b""
    assert one.ended
    for frame, end in zip(frames[-len(ends) :], ends, strict=True):
        assert end in frame
    (record,) = here.records(key, 1)
    assert (record.outcome, record.estimated) == ("ok", True)
    assert record.usage is not None
    assert record.cost is not None
    told = [int(frame.rpartition(counts)[2].partition(b",")[0].rstrip(b"}"))
            for frame in frames[-3:] if counts in frame]  # fmt: skip
    assert told == [record.usage.output_tokens]
    over = max(0, record.cost - 300_000_000)
    table(
        f"$0.3, cut off: {path}",
        1,
        1,
        f"${show(record.cost)}",
        "$0.3",
        f"${show(over)}",
    )
    assert 100_000_000 < record.cost <= 300_000_000


def test_a_restart_resets_nothing(here, table):
    """The ledger of before says that a cent is left; an answer may cost four."""
    (one,) = here.ask([{"key": key_of("restarted"), "body": chat()}])
    assert (one.status, one.code) == (402, "insufficient_quota")
    assert b"$0.01 of $1 are left" in one.body
    table("$1, restarted", 1, 0, "$0.99", "$1", "$0")


ANSWERS: dict[str, tuple[int, dict[str, Any]]] = {
    "an answer": (200, {}),
    "a stream": (200, {"stream": True}),
    "a stream that breaks": (
        200, {"stream": True, "directive": "[[mock: error-mid-stream after=3]]"},
    ),
    "what the provider refuses": (400, {"temperature": 99}),
    "what the provider has no room for": (
        429, {"directive": "[[mock: status=429 retry-after=2]]"},
    ),
    "a provider that is broken": (500, {"directive": "[[mock: status=500]]"}),
    "no answer": (503, {"directive": "[[mock: reset]]"}),
    "what we refuse": (400, {"model": 7}),
    "a model that is not there": (404, {"model": "none"}),
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_whatever_is_answered_says_where_the_limits_are(here, path):
    """Ours, in the client's dialect: the provider says of 10,000 requests and 2,000,000 tokens."""
    ours, others = "x-ratelimit-", "anthropic-ratelimit-"
    if path == "/v1/messages":
        ours, others = others, ours
    asking = [
        {"key": key_of("told"), "body": chat(**said), "path": path}
        for _, said in ANSWERS.values()
    ]
    for (name, (status, _)), one in zip(ANSWERS.items(), here.ask(asking), strict=True):
        assert one.status == status, (name, one.body)
        told = {
            tuple(sorted(n.removeprefix(ours).split("-"))): value
            for n, value in one.headers.items()
            if n.startswith(ours)
        }
        assert told["limit", "requests"] == "1000", name
        assert told["limit", "tokens"] == "100000", name
        assert 900 < int(told["remaining", "requests"]) <= 1000, name
        assert 50_000 < int(told["remaining", "tokens"]) <= 100_000, name
        assert told["requests", "reset"][-1] in "sZ", name
        assert not any(n.startswith(others) for n in one.headers), name
        costs = status == 200 and "stream" not in name
        assert ("x-extproc-cost" in one.headers) is costs, name


def test_an_answer_without_a_limit_says_nothing_of_the_providers(here):
    (one,) = here.ask([{"key": key_of("unlimited"), "body": chat()}])
    assert not any("ratelimit" in name for name in one.headers)


def test_what_a_client_calls_its_request_is_no_reason_to_charge_it_once(here):
    """Exactly once is by an id of ours: a client may repeat its own as it likes."""
    names = dict.fromkeys(
        ("x-request-id", "idempotency-key", "traceparent"), "the-same"
    )
    one = {"key": key_of("named"), "body": chat(), "headers": names}
    assert [seen.status for seen in here.ask([one] * 5)] == [200] * 5
    records = here.records("named", 5)
    assert sum(record.cost or 0 for record in records) == 5 * ANSWER_NANOS
    assert len({record.id for record in records}) == 5
    # The sixth is over the limit of five, whatever it is called.
    (sixth,) = here.ask([one])
    assert sixth.code == "rate_limit_exceeded"


def test_many_small_requests_are_not_kept_out_by_what_they_might_cost(here, table):
    """Thirty may cost six dollars, and cost sixty cents as ever; there are two dollars."""
    one = {"key": key_of("fair"), "body": chat(max_tokens=200)}
    # Every gateway has to see five before it knows what such answers usually are.
    for number in range(1, 6):
        assert [seen.status for seen in here.ask([one] * 3)] == [200] * 3
        here.records("fair", 3 * number)
    seen = here.ask([one] * 30)
    assert [one.status for one in seen] == [200] * 30
    spent = sum(record.cost or 0 for record in here.records("fair", 45))
    assert spent == 45 * ANSWER_NANOS
    table("$2, small ones at once", 45, 45, f"${show(spent)}", "$2", "$0")
