"""A share of failures is told where there is enough to take a share of, and forgotten."""

from __future__ import annotations

import msgspec

from extproc.exchange.completion import Completion
from extproc.server.error_rate import SLOT_SECONDS, WINDOW_SECONDS, ErrorRate

ONE = Completion(
    id="gw-1", operation="chat", started=1.0, duration=1.0, outcome="ok", status=200,
    provider="openai",
)  # fmt: skip


class Rate:
    def __init__(self) -> None:
        self.now = 0.0
        self._rate = ErrorRate(clock=lambda: self.now)

    def ask(self, number: int, **changes: object) -> None:
        self._rate.note([msgspec.structs.replace(ONE, **changes)] * number)

    def keys(self, share: float = 0.05, least: int = 20) -> list[str]:
        return sorted(one.key for one in self._rate.conditions(share, least))


def test_the_whole_and_the_provider_that_does_it() -> None:
    rate = Rate()
    rate.ask(90)
    rate.ask(10, outcome="upstream_error", provider="azure")
    rate.ask(10, provider="azure")
    assert rate.keys() == ["errors/", "errors/azure"]
    assert rate.keys(share=0.2) == ["errors/azure"]
    [one] = rate._rate.conditions(0.2, 20)
    assert one.details == {"requests": 20, "failed": 10, "provider": "azure"}


def test_of_few_requests_nothing_is_said() -> None:
    rate = Rate()
    rate.ask(19, outcome="gateway_error")
    assert rate.keys() == []
    rate.ask(1)
    assert rate.keys() == ["errors/", "errors/openai"]


def test_what_clients_do_wrong_is_no_failure_and_probes_are_no_requests() -> None:
    rate = Rate()
    rate.ask(50, outcome="client_error", status=400)
    rate.ask(50, outcome="canceled", status=0)
    rate.ask(50, operation="ready", outcome="gateway_error")
    assert rate.keys() == []


def test_it_is_forgotten_after_the_window() -> None:
    rate = Rate()
    rate.ask(50, outcome="gateway_error")
    rate.now += WINDOW_SECONDS
    assert rate.keys()
    rate.now += SLOT_SECONDS
    rate.ask(50)
    assert rate.keys() == []


def test_providers_have_a_cap() -> None:
    rate = Rate()
    for number in range(300):
        rate.ask(1, provider=f"p{number}", outcome="gateway_error")
    assert len(rate.keys(least=1)) == 200
