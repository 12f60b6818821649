"""Tells people of alerts: one POST to each webhook that wants them, until it is taken.

    {"type": "budget_alert", "id": "…", "key": "budget/team/search/month", "state": "firing",
     "summary": "team 'search' has spent 80 % of its month's budget", "at": 1801440000, …}

or, where the webhook is Slack's or speaks like it, ``{"text": "…"}``. The same ``id`` comes
with every attempt, after a restart too, in the header ``x-extproc-alert-id`` too; with a secret the header
``x-extproc-signature`` is ``t=SECONDS,v1=HEX``: HMAC-SHA256 of ``SECONDS.BODY``. No request
waits for any of it, and a webhook that is away holds no other one up.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal

import httpx
import msgspec

from extproc.redact import Redactor
from extproc.server.alert_book import Alert, AlertBook, Kind, name_of

log = logging.getLogger(__name__)

MOST_WAITING: Final = 1_000
"""Alerts that are not sent yet, of each webhook; more are dropped and logged."""
PAUSES: Final = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Seconds before each further attempt: a quarter of an hour in all."""
ANSWER_SECONDS: Final = 10.0
"""For one attempt."""
FOREVER: Final = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})
"""Statuses that the same body would get again."""

Shape = Literal["json", "slack"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Somebody who wants to know."""

    url: str = dataclasses.field(repr=False)
    kinds: frozenset[Kind]
    shape: Shape = "json"
    secret: str | None = dataclasses.field(default=None, repr=False)


Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[int]]
"""(URL, body, headers) -> status. Raises httpx.HTTPError or OSError: nobody answers."""


class Webhooks:
    """Sends alerts; `post` does it, `clock` gives Unix seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        post: Post | None = None,
        new_id: Callable[[], str] = lambda: os.urandom(8).hex(),
        told: Callable[[Kind, bool], None] = lambda _kind, _well: None,
        book: AlertBook | None = None,
    ) -> None:
        """`told` hears of every alert whether somebody has taken it; `book` keeps them."""
        self._book = book or AlertBook()
        self._told = told
        self._clock = clock
        self._post = post or post_json
        self._new_id = new_id
        self._redactor = Redactor()
        self._queues: dict[Webhook, asyncio.Queue[tuple[str, Alert]]] = {}
        self._changed = asyncio.Event()

    def configure(self, webhooks: Sequence[Webhook], redactor: Redactor) -> None:
        """Tell `webhooks` from now on; what waits for others is dropped."""
        self._redactor = redactor
        if set(webhooks) != self._queues.keys():
            self._queues = {
                one: self._queues.get(one) or self._waiting(one) for one in webhooks
            }
            names = {name_of(one.url) for one in webhooks}
            for gone in self._book.page.waiting.keys() - names:
                del self._book.page.waiting[gone]
                self._book.changed()
            self._changed.set()

    def _waiting(self, webhook: Webhook) -> asyncio.Queue[tuple[str, Alert]]:
        """Return a new queue, with what an earlier control could not deliver."""
        queue: asyncio.Queue[tuple[str, Alert]] = asyncio.Queue(MOST_WAITING)
        kept = self._book.page.waiting.get(name_of(webhook.url), {})
        for name, alert in list(kept.items())[:MOST_WAITING]:
            queue.put_nowait((name, alert))
        return queue

    def tell(self, alert: Alert) -> None:
        """Send `alert` some time; never waits."""
        name = self._new_id()
        for webhook, queue in self._queues.items():
            if alert.kind not in webhook.kinds:
                continue
            try:
                queue.put_nowait((name, alert))
                self._book.page.waiting.setdefault(name_of(webhook.url), {})[name] = (
                    alert
                )
                self._book.changed()
            except asyncio.QueueFull:
                self._told(alert.kind, False)
                log.warning("an alert is lost: too many are waiting")

    async def run(self) -> None:
        """Send until canceled."""
        while True:
            self._changed.clear()
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._serve(webhook, queue))
                    for webhook, queue in self._queues.items()
                ]
                await self._changed.wait()
                for task in running:
                    task.cancel()

    async def _serve(
        self, webhook: Webhook, queue: asyncio.Queue[tuple[str, Alert]]
    ) -> None:
        while True:
            name, alert = await queue.get()
            body = encode(name, alert, webhook.shape, self._redactor)
            well = await self._deliver(webhook, name, body)
            kept = self._book.page.waiting.get(name_of(webhook.url), {})
            kept.pop(name, None)
            self._book.changed()
            self._told(alert.kind, well)
            if not well:
                log.warning("an alert is lost: %s", alert.kind)

    async def _deliver(self, webhook: Webhook, name: str, body: bytes) -> bool:
        for pause in (*PAUSES, None):
            headers = {"content-type": "application/json", "x-extproc-alert-id": name}
            if webhook.secret is not None:
                now = int(self._clock())
                headers["x-extproc-signature"] = sign(webhook.secret, now, body)
            try:
                status = await self._post(webhook.url, body, headers)
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
                status = 0
            if 200 <= status < 300:
                return True
            if pause is None or status in FOREVER:
                break
            await asyncio.sleep(pause)
        return False


def sign(secret: str, at: int, body: bytes) -> str:
    """Return the header by which a receiver knows that we have sent `body`, and when."""
    signed = b"%d." % at + body
    return f"t={at},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


_TYPES: Final = {
    "budget": "budget_alert",
    "health": "health_alert",
    "errors": "error_alert",
}


def encode(name: str, alert: Alert, shape: Shape, redactor: Redactor) -> bytes:
    """Return the body."""
    summary = redactor.text(alert.summary)
    if shape == "slack":
        # https://api.slack.com/reference/surfaces/formatting#escaping
        text = summary.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        mark = ":red_circle:" if alert.state == "firing" else ":large_green_circle:"
        return msgspec.json.encode({"text": f"{mark} *{alert.state}*: {text}"})
    return msgspec.json.encode(
        {
            "type": _TYPES[alert.kind],
            "id": name,
            "key": redactor.text(alert.key),
            "state": alert.state,
            "summary": summary,
            "at": alert.at,
            **redactor.fields(alert.details),
        }
    )


async def post_json(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """POST `body`, follow nobody elsewhere, and return the status; nothing else is read.

    Raises:
        httpx.HTTPError: nobody answers.
        httpx.InvalidURL, ValueError: nobody can be asked there.
        TimeoutError: not in `ANSWER_SECONDS`.
    """
    async with (
        asyncio.timeout(ANSWER_SECONDS),
        httpx.AsyncClient(timeout=ANSWER_SECONDS, follow_redirects=False) as client,
        client.stream("POST", url, content=body, headers=dict(headers)) as answer,
    ):
        return answer.status_code
