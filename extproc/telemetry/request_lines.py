"""A request as one flat line: for the log, and for the file of requests.

Written by control from completion records, so that it costs no request anything. No
prompt, no answer and no key is in it; what a client may spell as it likes is redacted by
whoever writes the line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from extproc.exchange.completion import Completion
from extproc.exchange.content import Content
from extproc.telemetry.access import Entry
from extproc.telemetry.confirm import LEFT, Ended, lost_its_worker

log = logging.getLogger(__name__)

OWN: Final = frozenset({"health", "live", "ready", "models", "local_reply"})
"""Operations that ask nobody. Among Envoy's own replies are those to probes, while there
is no worker yet; metrics count them all."""

PROBES: Final = frozenset({"live", "ready"})
"""Routes that are asked until there is somebody."""


class Told(NamedTuple):
    """What is known of one exchange."""

    completion: Completion
    content: Content | None = None
    """What was said, where that is kept."""

    @property
    def weight(self) -> int:
        """The bytes of what was said."""
        return 0 if self.content is None else self.content.weight


Requests = Literal["none", "failed", "all"]


def line_of(completion: Completion) -> dict[str, object]:
    """Return what is to be told of a request; what is not known is left out."""
    used = completion.usage
    said: dict[str, object] = {
        "request_id": completion.request_id,
        "gw_id": completion.id,
        "operation": completion.operation,
        "outcome": completion.outcome,
        "status": completion.status,
        "error": completion.error,
        "seconds": round(completion.duration, 4),
        "first_byte_seconds": _rounded(completion.first_byte),
        "key": completion.key,
        "organization": completion.organization,
        "team": completion.team,
        "user": completion.user,
        "end_user": completion.end_user,
        "model": completion.virtual_model or completion.original_model,
        "request_model": completion.request_model,
        "response_model": completion.response_model,
        "provider": completion.provider,
        "cluster": completion.cluster,
        "attempts": completion.attempts or None,
        "failed_attempts": [
            f"{one.provider}:{one.status or 'no answer'}"
            for one in completion.failed_attempts
        ]
        or None,
        "skipped": list(completion.skipped) or None,
        "streamed": completion.streamed,
        "input_tokens": used.input_tokens if used else None,
        "output_tokens": used.output_tokens if used else None,
        "estimated": completion.estimated or None,
        "cost_usd": None if completion.cost is None else completion.cost / 1e9,
        "limit": completion.limit,
        "dropped": list(completion.dropped) or None,
        "trace_id": trace_id(completion.traceparent),
    }
    return {name: value for name, value in said.items() if value is not None}


def trace_id(traceparent: str | None) -> str | None:
    """Return the trace of a ``traceparent``, to be looked for in the tracing system."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None


class RequestLines:
    """Logs requests that have ended, those that the configuration wants.

    Attributes:
        which: of the requests.
    """

    def __init__(self) -> None:
        self.which: Requests = "failed"

    def tell(self, ended: Iterable[Ended]) -> None:
        """Write a line for each that is wanted.

        Of one that Envoy ended it has Envoy's flags and details: nothing else says why.
        """
        if self.which == "none":
            return
        for one, entry in ended:
            broken = entry is not None and broken_by_envoy(entry)
            failed = broken or one.outcome not in ("ok", "canceled")
            level = logging.WARNING if failed else logging.INFO
            wanted = (failed or self.which == "all") and one.operation not in OWN
            if not (wanted or broken) or not log.isEnabledFor(level):
                continue
            fields = line_of(one)
            if broken and entry is not None:
                fields["envoy_details"] = entry.details
                if entry.flags:
                    fields["envoy_flags"] = entry.flags
            log.log(level, "request", extra={"fields": fields})


def broken_by_envoy(entry: Entry) -> bool:
    """Say whether Envoy answered with an error in everybody's place, or cut an answer."""
    if entry.route in PROBES:
        return False
    if entry.status >= 500:
        return not entry.details.startswith(("via_upstream", "gw_"))
    flags = set(filter(None, entry.flags.split(",")))
    return 200 <= entry.status < 400 and (
        lost_its_worker(entry) or (bool(flags) and not flags & LEFT)
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
