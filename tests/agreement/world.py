"""A whole gateway under mixed traffic, and everybody's account of it.

`extproc run` with two workers over Redis, a database, an OTLP receiver, and mock providers
that keep books. What a request is called in them is what its client says is its end user.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import sqlalchemy as sa
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from extproc.db.database import Database
from extproc.db.tables import UsageRecord
from extproc.telemetry.request_lines import OWN
from tests.budgets.world import key_of
from tests.databases import Postgres
from tests.harness import (
    FORGIVING,
    KEY,
    Mock,
    mock_config,
    temporary_folder,
    wait_for,
)
from tests.otlp import Receiver
from tests.redis_server import RedisServer
from tests.running import Run

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
CLIENTS = 12
LONG = " ".join(f"w{n}" for n in range(400))
TOTAL = {"period": "total"}
KEYS: dict[str, dict[str, Any]] = {
    "app": {"budgets": [{"usd": 1000, **TOTAL}]},
    "soft": {"budgets": [{"usd": 1000, "mode": "soft", **TOTAL}]},
    "free": {},
    "poor": {"budgets": [{"usd": 0.0005, **TOTAL}]},
    "slow": {"rate_limits": {"requests_per_hour": 1}},
}

End = Literal["whole", "refused", "local", "failed", "broken", "cut", "left"]
"""`refused`: by a worker; `local`: by Envoy; `failed`: the provider's error is the answer;
`broken`: an error inside a stream; `cut`: a stream that breaks off; `left`: the client."""


@dataclass(frozen=True)
class Kind:
    """One way in which a request goes."""

    name: str
    end: End = "whole"
    model: str = "gpt-4o"
    path: str = CHAT
    stream: bool = False
    directive: str = ""
    key: str = "app"
    leave_after: int | None = None
    """Bytes of the answer; 0: before there is any."""
    method: str = "POST"
    more: tuple[tuple[str, Any], ...] = ()


def _served() -> Iterator[Kind]:
    for model in ("gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash"):
        for path in (CHAT, MESSAGES):
            for stream in (False, True):
                for key in ("app", "free"):
                    name = f"{model} {path} {'stream' if stream else 'json'} {key}"
                    yield Kind(name, model=model, path=path, stream=stream, key=key)


KINDS = (
    *_served(),
    *(
        Kind(
            f"fallback {stream}", model="both", stream=stream,
            directive="fail-first n=1 key={mark} status=503",
        )
        for stream in (False, True)
    ),
    Kind("fallback after a reset", "failed", model="both", directive="reset"),
    *(
        Kind(f"cached {model}", model=model, directive="cached tokens=3", key="soft")
        for model in ("gpt-4o", "claude-sonnet-4-5")
    ),
    Kind("a field that Anthropic has not", model="claude-sonnet-4-5", more=(("logit_bias", {"1": 1}),)),
    Kind("a target that cannot", model="both", more=(("n", 2),)),
    Kind("a wrong key", "refused", key="nobody"),
    Kind("an unknown model", "refused", model="no-such-model"),
    Kind("a field that cannot be said", "refused", model="claude-sonnet-4-5", more=(("n", 3),)),
    Kind("no money", "refused", key="poor"),
    Kind("too fast", "refused", key="slow"),
    Kind("unknown URL", "local", path="/v1/nothing"),
    Kind("wrong method", "local", method="PUT"),
    *(Kind(f"status {n}", "failed", directive=f"status={n}") for n in (400, 429, 500)),
    *(
        Kind(f"error in a stream {model}", "broken", model=model, stream=True,
             directive="error-mid-stream after=5")
        for model in ("gpt-4o", "claude-sonnet-4-5")
    ),
    Kind("not its format", "failed", model="claude-sonnet-4-5", directive="malformed-json"),
    *(
        Kind(f"reset in a stream {model}", "cut", model=model, stream=True,
             directive="reset-mid-stream after=5")
        for model in ("gpt-4o", "claude-sonnet-4-5")
    ),
    *(
        Kind(f"gone in a stream {model}", "left", model=model, stream=True,
             directive=f'answer="{LONG}"]][[mock: stall-mid-stream after=30', leave_after=700)
        for model in ("gpt-4o", "claude-sonnet-4-5")
    ),
    Kind("gone before", "left", directive="silence", leave_after=0),
)  # fmt: skip


@dataclass
class Seen:
    """What one client saw."""

    kind: Kind
    mark: str
    status: int = 0
    usage: dict[str, int] | None = None
    """`input`, `cached` (a part of it) and `output`, as the client was told."""
    request_id: str = ""


def body_of(kind: Kind, mark: str) -> bytes:
    text = f"Hi [[mock: mark={mark}]]"
    if kind.directive:
        text += f"[[mock: {kind.directive.format(mark=mark)}]]"
    said: dict[str, Any] = {
        "model": kind.model,
        "stream": kind.stream,
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": text}],
        **dict(kind.more),
    }
    if kind.path == MESSAGES:
        said["metadata"] = {"user_id": mark}
    else:
        said["user"] = mark
        if kind.stream:
            said["stream_options"] = {"include_usage": True}
    return json.dumps(said).encode()


async def ask(http: httpx.AsyncClient, kind: Kind, mark: str) -> Seen:
    seen = Seen(kind, mark)
    data = b""
    with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError, TimeoutError):
        async with (
            asyncio.timeout(1 if kind.leave_after == 0 else 60),
            http.stream(
                kind.method,
                kind.path,
                content=body_of(kind, mark),
                headers={
                    "authorization": f"Bearer {key_of(kind.key)}",
                    "content-type": "application/json",
                },
            ) as answer,
        ):
            seen.status = answer.status_code
            seen.request_id = answer.headers["x-request-id"]
            async for piece in answer.aiter_raw():
                data += piece
                if kind.leave_after is not None and len(data) >= kind.leave_after:
                    return seen
            if kind.end == "whole":
                seen.usage = read_usage(kind, data)
    return seen


def read_usage(kind: Kind, data: bytes) -> dict[str, int]:
    """Return what the answer says of its tokens, as a client adds it up."""
    if kind.stream:
        frames = [
            json.loads(line.removeprefix(b"data: "))
            for line in data.splitlines()
            if line.startswith(b"data: {")
        ]
        told: dict[str, Any] = {}
        for frame in frames:
            message = frame.get("message") or {}
            told |= message.get("usage") or frame.get("usage") or {}
    else:
        told = json.loads(data)["usage"]
    if kind.path == MESSAGES:
        given = (
            told["input_tokens"]
            + (told.get("cache_read_input_tokens") or 0)
            + (told.get("cache_creation_input_tokens") or 0)
        )
        cached = told.get("cache_read_input_tokens") or 0
        return {"input": given, "cached": cached, "output": told["output_tokens"]}
    details = told.get("prompt_tokens_details") or {}
    return {
        "input": told["prompt_tokens"],
        "cached": details.get("cached_tokens") or 0,
        "output": told["completion_tokens"],
    }


Samples = dict[str, dict[frozenset[tuple[str, str]], float]]
"""By name and labels."""


def _same(value: Any) -> Any:
    return value


class World(Run):
    """The gateway, and what there is to read of it."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.redis = RedisServer()
        stack.callback(self.redis.stop)
        self.postgres = Postgres()
        stack.callback(self.postgres.close)
        self.receiver = Receiver()
        stack.callback(self.receiver.stop)
        self.served = folder / "served.jsonl"
        self.mock = Mock(folder, "--books", str(self.served), pace_ms=1)
        stack.callback(self.mock.stop)
        config = mock_config(
            self.mock.url,
            keys=[{"id": n, "key": key_of(n), **said} for n, said in KEYS.items()],
            prices={"gpt-4o": {"input": 10, "output": 100}},
            accounting={"store": self.redis.url, "deadline": 5},
            # Who reads at once need not wait until a cut stream is known to be over.
            timeouts={"last_bytes": 0.2},
            telemetry={
                "otlp": {"endpoint": self.receiver.http, "interval": "500ms"},
                "traces": {"to_providers": True},
            },
            **FORGIVING,
        )
        database = {"EXTPROC_DATABASE_URL": self.postgres.url}
        super().__init__(folder, config, workers=2, seconds=180, **database)
        stack.callback(self.process.stop)
        self.seen: list[Seen] = []
        self.pushed: dict[str, Any] = {}
        self.spans: list[Span] = []
        self.kept: World = self
        self.told: list[str] = []
        """What the session ends with."""

    def ask(
        self, number: int, kinds: tuple[Kind, ...] = KINDS, name: str = "a"
    ) -> None:
        """Ask so often, each kind as often as any other, in an order of chance."""
        asking = [(kinds[n % len(kinds)], f"{name}-{n}") for n in range(number)]
        random.Random(7).shuffle(asking)
        todo = iter(asking)

        async def client(http: httpx.AsyncClient) -> None:
            for kind, mark in todo:
                self.seen.append(await ask(http, kind, mark))

        async def main() -> None:
            async with httpx.AsyncClient(base_url=self.url) as http:
                await asyncio.gather(*(client(http) for _ in range(CLIENTS)))

        asyncio.run(main())

    def frozen(self) -> World:
        """Return all accounts as they are now, whatever happens to the gateway then."""
        records = self.by("extproc_requests_total", "operation")
        asked = sum(n for name, n in records.items() if name not in OWN)

        def traced() -> bool | None:
            # Envoy's spans are there too: those of its own answers among them.
            kinds = Counter(span.kind for span in self.receiver.spans)
            whole = kinds[Span.SPAN_KIND_INTERNAL] >= asked
            return (whole and kinds[Span.SPAN_KIND_SERVER] >= len(self.seen)) or None

        wait_for(traced, lambda: f"{asked} {len(self.receiver.spans)}", 60)
        spans = self.receiver.spans
        self.receiver.forget()
        # The second one began after this moment.
        self.receiver.wait(lambda: len(self.receiver.requests["metrics"]) > 1)
        now = copy.copy(self)
        now.seen, now.pushed = list(self.seen), self.receiver.metrics
        now.spans = spans
        kept = self.metrics(), self.rows(), self.books()
        for name, value in zip(("metrics", "rows", "books"), kept, strict=True):
            setattr(now, name, functools.partial(_same, value))
        return now

    def metrics(self) -> Samples:
        """Return every sample of control's; none while it is away."""
        with contextlib.suppress(httpx.HTTPError, OSError):
            url = f"{self.control_url()}/metrics"
            text = httpx.get(url).raise_for_status().text
            found: Samples = {}
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    labels = frozenset(sample.labels.items())
                    found.setdefault(sample.name, {})[labels] = sample.value
            return found
        return {}

    def well(self) -> bool:
        """Say whether all that it stands on is there, and a request is served."""
        with contextlib.suppress(httpx.HTTPError, OSError):
            known = self.operators("/admin/health").json()
            workers = [one["answers"] for one in known["workers"]]
            return (
                known["ready"]
                and workers == [True, True]
                and known["database"]["problem"] is None
                and not known["store"]["away"]
                and self.serves()
            )
        return False

    def serves(self) -> bool:
        """Say whether a request is served."""
        answer = httpx.post(
            f"{self.url}{CHAT}",
            content=body_of(Kind("well", key="free"), "well"),
            headers={
                "authorization": f"Bearer {key_of('free')}",
                "content-type": "application/json",
            },
            timeout=60,
        )
        return answer.status_code == 200

    def operators(self, path: str) -> httpx.Response:
        """Ask control."""
        url = f"{self.control_url()}{path}"
        return httpx.get(url, headers={"x-api-key": KEY}, timeout=20)

    def by(self, name: str, *labels: str) -> Counter[Any]:
        """Return a metric's values added up by `labels`; by one its plain values."""
        sums: Counter[Any] = Counter()
        for said, value in self.metrics().get(name, {}).items():
            values = tuple(dict(said)[label] for label in labels)
            sums[values[0] if len(labels) == 1 else values] += value  # type: ignore[assignment]
        return sums

    def counted(self, *labels: str) -> Counter[Any]:
        """Return what control has counted of `ask`: not the probes of the start."""
        sums: Counter[Any] = Counter()
        for said, value in self.metrics().get("extproc_requests_total", {}).items():
            told = dict(said)
            probe = told["operation"] == "local_reply" and told["status"] == "503"
            if told["operation"] != "ready" and not probe:
                sums[tuple(told[label] for label in labels)] += int(value)
        return sums

    def heard(self) -> int:
        return self.counted().total()

    def rows(self) -> list[UsageRecord]:
        database = Database(self.postgres.url)
        with database.read() as session:
            rows = list(session.scalars(sa.select(UsageRecord)))
        database.close()
        return rows

    def books(self) -> list[dict[str, Any]]:
        """Return the providers' own lines."""
        return [json.loads(line) for line in self.served.read_text().splitlines()]

    def settled(self, requests: int) -> None:
        """Wait until control has heard of so many, and nothing is under way any more."""

        def quiet() -> bool | None:
            found = self.metrics()
            if not found:
                return None
            queue = sum(found["extproc_usage_queue_bytes"].values())
            # Entries that Envoy could not deliver while control was on its way up.
            waiting = sum(found["extproc_confirmations_waiting"].values())
            probes = self.by("extproc_requests_total", "operation")["ready"]
            done = self.heard() >= requests and not queue and waiting <= probes
            return True if done else None

        wait_for(quiet, lambda: f"{self.by('extproc_requests_total', 'operation')}", 60)


@contextlib.contextmanager
def world() -> Iterator[World]:
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        yield World(folder, stack)
