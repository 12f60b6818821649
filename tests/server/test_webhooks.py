"""An alert reaches a receiver that is strict, and one that fails first; a dead one waits alone."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict

from extproc.redact import Redactor
from extproc.server import webhooks as module
from extproc.server.alert_book import KINDS, Alert, AlertBook, Page, name_of
from extproc.server.webhooks import Webhook, Webhooks
from tests.answerer import MOST, Answerer, bomb, drip, elsewhere, flood
from tests.sink import Sink

SECRET = "whsec-0123456789abcdef"
NOW = 1_801_440_000
ALL = frozenset(KINDS)
ALERT = Alert(
    kind="health",
    key="token/azure",
    summary="<azure> & bob@example.com: Bearer abcdefghijklmnop failed",
    at=NOW,
    details={"note": "password=hunter2hunter2"},
)


class Body(BaseModel):
    """What the documentation says that a receiver gets."""

    model_config = ConfigDict(strict=True, extra="allow")
    type: Literal["budget_alert", "health_alert", "error_alert"]
    id: str
    key: str
    state: Literal["firing", "resolved"]
    summary: str
    at: int


class Slack(BaseModel):
    """https://api.slack.com/messaging/webhooks: it refuses what it does not know."""

    model_config = ConfigDict(strict=True, extra="forbid")
    text: str


class Receiver:
    """Takes only what is signed, well formed and new; `answers` come first, one each."""

    def __init__(self, sink: Sink, *, secret: str | None = SECRET) -> None:
        self.answers: list[int] = []
        self.taken: list[Body | Slack] = []
        self.refused: list[str] = []
        self.tries: list[str] = []
        self._secret = secret
        self._ids: set[str] = set()
        sink.answer = self.judge

    def judge(self, seen: dict[str, Any]) -> tuple[int, str, bytes]:
        headers, body = seen["headers"], seen["head"].encode("latin-1")
        self.tries.append(headers["x-extproc-alert-id"])
        if self.answers:
            return self.answers.pop(0), "text/plain", b"not now"
        try:
            self._take(headers, body)
        except (ValueError, KeyError, AssertionError) as error:
            self.refused.append(repr(error))
            return 400, "text/plain", b"wrong"
        return 200, "text/plain", b"ok"

    def _take(self, headers: dict[str, str], body: bytes) -> None:
        assert headers["content-type"] == "application/json"
        if self._secret is not None:
            found = re.fullmatch(
                r"t=(\d+),v1=([0-9a-f]{64})", headers["x-extproc-signature"]
            )
            assert found is not None
            signed = f"{found[1]}.".encode() + body
            right = hmac.new(self._secret.encode(), signed, hashlib.sha256).hexdigest()
            assert hmac.compare_digest(right, found[2])
        one: Body | Slack
        if set(json.loads(body)) == {"text"}:
            one = Slack.model_validate_json(body)
        else:
            one = Body.model_validate_json(body)
            assert one.id == headers["x-extproc-alert-id"]
            assert one.id not in self._ids
            self._ids.add(one.id)
        self.taken.append(one)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as one:
        yield one


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0, 0.0))


def deliver(
    alerts: list[Alert], *webhooks: Webhook, until: Callable[[], object]
) -> None:
    async def play() -> None:
        sender = Webhooks(clock=lambda: NOW)
        sender.configure(webhooks, Redactor())
        task = asyncio.ensure_future(sender.run())
        for alert in alerts:
            sender.tell(alert)
        async with asyncio.timeout(20):
            while not until():
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(play())


def test_what_nobody_has_taken_is_told_by_the_next_control(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the same id, and only that: what was taken is told no more."""
    path = tmp_path / "alerts.json"
    receiver = Receiver(sink)

    async def play(alerts: list[Alert], tries: int, *, taken: bool) -> None:
        book = AlertBook(path)
        waiting = book.page.waiting
        sender = Webhooks(clock=lambda: NOW, book=book)
        sender.configure([to(sink)], Redactor())
        tasks = [asyncio.ensure_future(one.run()) for one in (sender, book)]
        for alert in alerts:
            sender.tell(alert)
        async with asyncio.timeout(20):
            while len(receiver.tries) < tries or any(waiting.values()) == taken:
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(play([ALERT], 1, taken=True))
    monkeypatch.setattr(module, "PAUSES", (3_600.0,))
    receiver.answers = [500]
    asyncio.run(play([ALERT], 2, taken=False))
    assert sink.url not in path.read_text()
    asyncio.run(play([], 3, taken=True))
    assert receiver.tries[2] == receiver.tries[1] != receiver.tries[0]
    assert len(receiver.taken) == 2
    kept = msgspec.json.decode(path.read_bytes(), type=Page).waiting
    assert kept == {name_of(to(sink).url): {}}


def to(sink: Sink, **more: Any) -> Webhook:
    return Webhook(url=f"{sink.url}/hook", **{"kinds": ALL, "secret": SECRET, **more})


def test_it_is_signed_redacted_and_well_formed(sink: Sink) -> None:
    receiver = Receiver(sink)
    deliver([ALERT], to(sink), until=lambda: receiver.taken or receiver.refused)
    assert receiver.refused == []
    [body] = receiver.taken
    said = body.model_dump()
    assert said.pop("id")
    assert said == {
        "type": "health_alert", "key": "token/azure", "state": "firing", "at": NOW,
        "summary": "<azure> & [redacted:email]: Bearer [redacted:bearer] failed",
        "note": "password=[redacted:password]",
    }  # fmt: skip


def test_slack_gets_a_text_with_nothing_in_it_that_it_reads_otherwise(
    sink: Sink,
) -> None:
    receiver = Receiver(sink, secret=None)
    slack = to(sink, shape="slack", secret=None)
    deliver([ALERT], slack, until=lambda: receiver.taken or receiver.refused)
    assert receiver.refused == []
    [body] = receiver.taken
    assert isinstance(body, Slack)
    assert "&lt;azure&gt; &amp; [redacted:email]" in body.text


@pytest.mark.parametrize("status", [500, 503, 429, 408, 301])
def test_who_fails_is_asked_again_with_the_same_id(sink: Sink, status: int) -> None:
    receiver = Receiver(sink)
    receiver.answers = [status, status]
    deliver([ALERT], to(sink), until=lambda: receiver.taken)
    assert len(receiver.tries) == 3
    assert len(set(receiver.tries)) == 1


@pytest.mark.parametrize(
    ("answers", "tries"),
    [pytest.param([400], 1, id="refused"), pytest.param([500] * 4, 4, id="gone")],
)
def test_who_does_not_take_it_gets_the_next_one(
    sink: Sink, answers: list[int], tries: int
) -> None:
    receiver = Receiver(sink)
    receiver.answers = list(answers)
    deliver([ALERT, ALERT], to(sink), until=lambda: receiver.taken)
    assert len(receiver.tries) == tries + 1
    assert len(receiver.taken) == 1


def test_one_that_is_away_holds_no_other_up(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSES", (3_600.0,))
    receiver = Receiver(sink)
    dead = Webhook(url="http://127.0.0.1:9/", kinds=ALL)
    deliver([ALERT], dead, to(sink), until=lambda: receiver.taken)


@pytest.mark.parametrize("answer", [flood, drip, bomb])
def test_of_what_a_webhook_answers_nothing_but_the_status_is_read(answer: Any) -> None:
    with Answerer(answer) as server:
        deliver(
            [ALERT] * 2, Webhook(url=server.url, kinds=ALL),
            until=lambda: len(server.asked) == 2,
        )  # fmt: skip
        assert server.sent < MOST // 2


def test_a_webhook_that_sends_us_elsewhere_is_not_followed() -> None:
    with Answerer(elsewhere) as server:
        deliver(
            [ALERT], Webhook(url=f"{server.url}/hook", kinds=ALL),
            until=lambda: len(server.asked) == 4,
        )  # fmt: skip
        assert {head.split()[1] for head in server.asked} == {b"/hook"}


def test_an_address_that_nobody_can_ask_costs_its_own_alerts_alone(sink: Sink) -> None:
    receiver = Receiver(sink)
    wrong = ("http://[::1", "http://xn--/", "file:///etc/passwd", "http://a/\r\nb: c")
    deliver(
        [ALERT], *(Webhook(url=url, kinds=ALL) for url in wrong), to(sink),
        until=lambda: len(receiver.taken) == 1,
    )  # fmt: skip


def test_each_gets_the_kinds_that_it_wants(sink: Sink) -> None:
    receiver = Receiver(sink)
    budget = Alert(kind="budget", key="budget/x", summary="much", at=NOW)
    deliver(
        [ALERT, budget],
        to(sink, kinds=frozenset({"budget"})),
        until=lambda: receiver.taken,
    )
    assert [one.type for one in receiver.taken if isinstance(one, Body)] == [
        "budget_alert"
    ]


def test_no_url_and_no_secret_is_shown() -> None:
    shown = repr(Webhook(url="https://hooks.test/T/secret", kinds=ALL, secret=SECRET))
    assert "hooks.test" not in shown
    assert SECRET not in shown
