"""What each party has counted of the same requests, line by line, side by side.

A party that cannot know a thing has nothing in that line. Clients know how what they asked
ends; metrics are sums; traces are the exchanges' spans; rows are the database's, of requests
with a key; books are the mock providers' own lines.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.agreement.world import Seen, World
from tests.otlp import attributes

PARTIES = ("clients", "metrics", "traces", "rows", "books")
OUTCOMES = {
    "whole": "ok",
    "refused": "client_error",
    "failed": "upstream_error",
    "broken": "upstream_error",
    "cut": "upstream_error",
    "left": "canceled",
}
"""What becomes of a request by how it ends for its client."""
USAGE = {
    "input": "gen_ai.usage.input_tokens",
    "cached": "gen_ai.usage.cache_read.input_tokens",
    "output": "gen_ai.usage.output_tokens",
}
COLUMNS = {
    "input": "input_tokens",
    "cached": "cache_read_input_tokens",
    "output": "output_tokens",
}
KINDS = {"input": "input", "cached": "cache_read", "output": "output"}
"""Of `extproc_tokens`."""


class Line(NamedTuple):
    """One thing that is counted."""

    what: str
    said: Mapping[str, float]

    @property
    def agrees(self) -> bool:
        first, *others = self.said.values()
        return bool(others) and all(
            math.isclose(first, one, rel_tol=1e-9) for one in others
        )


def outcome_of(one: Seen) -> str:
    if one.kind.key == "slow" and one.status == 200:
        return "ok"
    return OUTCOMES[one.kind.end]


def accounts_of(here: World) -> Iterator[Line]:
    """Yield every line."""
    rows, books = here.rows(), here.books()
    spans = [(span, attributes(span.attributes)) for span in here.spans]
    exchanges = [said for span, said in spans if span.kind == Span.SPAN_KIND_INTERNAL]
    of_keys = [said for said in exchanges if "extproc.key" in said]
    asked = [one for one in here.seen if one.kind.end != "local"]
    keyed = [one for one in asked if one.kind.key != "nobody"]
    local = len(here.seen) - len(asked)
    counted = here.counted("operation", "outcome", "status")

    yield Line(
        "requests",
        {
            "clients": len(here.seen),
            "metrics": counted.total(),
            "traces": sum(span.kind == Span.SPAN_KIND_SERVER for span, _ in spans),
        },
    )
    yield Line(
        "  answered by Envoy itself",
        {
            "clients": local,
            "metrics": sum(n for (name, *_), n in counted.items() if name == "local_reply"),
            "traces": len(here.seen) - len(exchanges),
        },
    )  # fmt: skip
    yield Line(
        "  with a key",
        {
            "clients": len(keyed),
            "metrics": sum(here.by("extproc_admissions_total").values()),
            "traces": len(of_keys),
            "rows": len(rows),
        },
    )
    by_clients = Counter(map(outcome_of, keyed))
    by_traces = Counter(said["extproc.outcome"] for said in of_keys)
    by_rows = Counter(row.outcome for row in rows)
    by_metrics: Counter[str] = Counter()
    for (operation, outcome, status), number in counted.items():
        # A key that nobody knows is nobody's.
        if operation != "local_reply" and status != "401":
            by_metrics[outcome] += number
    for outcome in sorted(by_clients | by_traces | by_rows | by_metrics):
        yield Line(
            f"  {outcome}",
            {
                "clients": by_clients[outcome],
                "metrics": by_metrics[outcome],
                "traces": by_traces[outcome],
                "rows": by_rows[outcome],
            },
        )
    yield from _attempts(here, of_keys, rows, books)
    yield from _tokens(here, of_keys, rows, books)
    yield from _money(here, of_keys, rows)


def _attempts(
    here: World, exchanges: list[dict[str, Any]], rows: list[Any], books: list[Any]
) -> Iterator[Line]:
    # Who leaves before there is an answer leaves before anybody knows who was asked.
    gone = {one.mark for one in here.seen if one.kind.leave_after == 0}
    yield Line(
        "attempts at providers",
        {
            "metrics": sum(here.by("extproc_attempts_total", "result").values()),
            "traces": sum(s.kind == Span.SPAN_KIND_CLIENT for s in here.spans),
            "rows": sum(row.attempts for row in rows),
            "books": sum(line["mark"] not in gone for line in books),
        },
    )
    yield Line(
        "answered by a fallback",
        {
            "clients": sum(one.kind.name.startswith("fallback ") and one.kind.end == "whole" for one in here.seen),
            "metrics": here.by("extproc_fallbacks_total", "reason")["server_error"],
            "traces": sum(said["extproc.attempts"] > 1 and said["extproc.outcome"] == "ok" for said in exchanges),
            "rows": sum(row.attempts > 1 and row.outcome == "ok" for row in rows),
            # Nothing else that is asked is answered so.
            "books": sum(line["status"] == 503 for line in books),
        },
    )  # fmt: skip
    yield Line(
        "answered with a part from a provider's cache",
        {
            "clients": sum((one.usage or {}).get("cached", 0) > 0 for one in here.seen),
            "metrics": sum(here.by("extproc_prompt_cache_hits_total").values()),
            "traces": sum(USAGE["cached"] in said for said in exchanges),
            "rows": sum(row.cache_read_input_tokens > 0 for row in rows),
            "books": sum((line["cached"] or 0) > 0 for line in books),
        },
    )


def _tokens(
    here: World, exchanges: list[dict[str, Any]], rows: list[Any], books: list[Any]
) -> Iterator[Line]:
    told = [one.usage for one in here.seen if one.usage is not None]
    marks = {one.mark for one in here.seen if one.usage is not None}
    whole = [row for row in rows if row.end_user in marks]
    traced = {said["extproc.gw_id"]: said for said in exchanges}
    served = [
        line for line in books
        if line["mark"] in marks and line["status"] == 200 and line["whole"]
    ]  # fmt: skip
    for kind, attribute in USAGE.items():
        yield Line(
            f"{kind} tokens of whole answers",
            {
                "clients": sum(usage[kind] for usage in told),
                "traces": sum(traced[row.id].get(attribute, 0) for row in whole),
                "rows": sum(getattr(row, COLUMNS[kind]) for row in whole),
                "books": sum(line[kind] or 0 for line in served),
            },
        )
    for kind, attribute in USAGE.items():
        yield Line(
            f"{kind} tokens of all",
            {
                "metrics": here.by("extproc_tokens_total", "kind")[KINDS[kind]],
                "traces": sum(said.get(attribute, 0) for said in exchanges),
                "rows": sum(getattr(row, COLUMNS[kind]) for row in rows),
            },
        )


def _money(
    here: World, exchanges: list[dict[str, Any]], rows: list[Any]
) -> Iterator[Line]:
    yield Line(
        "dollars",
        {
            "metrics": sum(here.by("extproc_cost_usd_total").values()),
            "traces": sum(said.get("extproc.cost_usd", 0) for said in exchanges),
            "rows": sum(row.cost or 0 for row in rows) / 1e9,
        },
    )
    charged = [row.cost or 0 for row in rows if row.key in {"app", "soft"}]
    yield Line(
        "dollars charged to budgets",
        {
            "metrics": sum(here.by("extproc_settled_usd_total").values()),
            "rows": sum(charged) / 1e9,
        },
    )


def table_of(lines: list[Line]) -> str:
    """Return them for people, with a last line that says how many differ."""
    cells = [
        ("", *PARTIES),
        *((line.what, *(_shown(line, party) for party in PARTIES)) for line in lines),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    table = "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
        for row in cells
    )
    differing = sum(not line.agrees for line in lines)
    return f"{table}\n{len(lines)} counts and sums, {differing} differing\n"


def _shown(line: Line, party: str) -> str:
    number = line.said.get(party)
    if number is None:
        return "-"
    return f"{number:.6f}" if line.what.startswith("dollars") else f"{number:.0f}"
