"""What control does with each record: counts it, charges it, files it, tells of it.

Records come from the workers; what no worker lived or was asked to record comes from
Envoy's access log (`extproc.telemetry.confirm`). Each counts once, by its id.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from extproc.config.file_names import CONTROL_SOCKET, LOG_SOCKET
from extproc.config.schema import Config
from extproc.exchange.completion import Completion
from extproc.exchange.content import Content
from extproc.exchange.local_reply import LOCAL
from extproc.pricing import cost
from extproc.runtime import Runtime, Snapshot, TargetSpec
from extproc.server import journals
from extproc.server.alert_book import ALERTS_FILE, KINDS, AlertBook
from extproc.server.alerts import Alerts
from extproc.server.books import Books
from extproc.server.control_link import ControlLink
from extproc.server.envoy_log import EnvoyLog
from extproc.server.error_rate import ErrorRate
from extproc.server.ledger import LEDGER_FILE, Ledger
from extproc.server.traces import Traces
from extproc.server.webhooks import Webhook, Webhooks
from extproc.telemetry import logs
from extproc.telemetry.confirm import RESET, Confirmations, Ended
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.request_lines import RequestLines
from extproc.usage import Usage

log = logging.getLogger(__name__)


def webhooks_of(config: Config) -> Iterator[Webhook]:
    """Yield everybody who is told of alerts."""
    if (budgets := config.accounting.webhook) is not None:
        yield Webhook(url=budgets.get_secret_value(), kinds=frozenset({"budget"}))
    for one in config.telemetry.alerts.webhooks:
        yield Webhook(
            url=one.url.get_secret_value(),
            kinds=frozenset(one.kinds),
            shape=one.format,
            secret=None if one.secret is None else one.secret.get_secret_value(),
        )


class Intake:
    """Between the link to the workers and all that is made of records.

    Attributes:
        alerts: what budgets have reached.
        book: what of that, and of what else is wrong, has been told.
        webhooks: who is told of that, and of what else is wrong.
        errors: how many requests fail.
        envoy_log: what Envoy says.
        ledger: what is charged to each budget.
        link: to the workers.
        traces: to whom they go.
    """

    def __init__(
        self,
        *,
        state: Path,
        run: Path,
        metrics: Metrics,
        books: Books,
        wall_clock: Callable[[], float],
        monotonic: Callable[[], float],
        stats: Callable[[str], Awaitable[dict[str, int]]],
    ) -> None:
        """`state` is the folder of what lasts, `run` that of the sockets."""
        alerts = metrics.registry.counter("extproc_alerts")
        for kind in KINDS:
            for result in ("sent", "lost"):
                alerts.labels(kind, result)
        self.book = AlertBook(state / ALERTS_FILE, clock=wall_clock)
        self.webhooks = Webhooks(
            clock=wall_clock,
            told=lambda kind, well: alerts.labels(
                kind, "sent" if well else "lost"
            ).inc(),
            book=self.book,
        )
        self.alerts = Alerts(self.webhooks.tell, clock=wall_clock, book=self.book)
        self.errors = ErrorRate(clock=wall_clock)
        exports = metrics.registry.counter("extproc_telemetry_exports")
        self.traces = Traces(
            lambda _, well: exports.labels("traces", "ok" if well else "failed").inc()
        )
        self.ledger = Ledger(state / LEDGER_FILE, clock=wall_clock)
        self.link = ControlLink(
            run / CONTROL_SOCKET,
            self._recorded,
            balances=lambda: self.ledger.balances,
        )
        self._lines = RequestLines()
        self.envoy_log = EnvoyLog(
            run / LOG_SOCKET,
            Confirmations(
                clock=wall_clock,
                steady=monotonic,
                alive=self.link.alive,
                answers=self.link.answers,
                left=lambda id_: journals.is_left(state / journals.FOLDER, id_),
                price=self._price,
            ),
            settle=self._settled,
            stats=stats,
            spans=self.traces.envoy,
            count=self._count_ready,
        )
        self.link.on_contents = self._heard
        self._contents: dict[str, Content] = {}
        """What was said in the exchanges of the records that are not counted yet."""
        self._metrics = metrics
        self._books = books
        self._runtime: Runtime | None = None
        self._specs: dict[str, TargetSpec] = {}

    def configure(
        self, snapshot: Snapshot, runtime: Runtime | None, config: Config | None
    ) -> None:
        """Count by what serves now; without `config` nobody has read its source yet."""
        if config is not None:
            self.webhooks.configure(list(webhooks_of(config)), logs.redactor())
            self.traces.configure(config.telemetry, logs.redactor())
            self._lines.which = config.telemetry.logs.requests
        self._runtime = runtime
        self._specs = {
            spec.cluster: spec for model in snapshot.models for spec in model.targets
        }
        self._metrics.configure(snapshot)
        self.alerts.configure(snapshot, self.ledger.balances)

    def _heard(self, contents: Sequence[Content]) -> None:
        self._contents |= {one.id: one for one in contents}

    def _recorded(self, completions: Sequence[Completion]) -> None:
        # What Envoy answered itself its own log tells of, also where no worker heard.
        ours = [one for one in completions if one.operation != LOCAL]
        self.envoy_log.confirmations.recorded(ours)
        self._file(ours)
        self._count_ready()

    def _settled(self, ended: Sequence[Ended]) -> None:
        new = self.link.unseen([one.completion for one in ended])
        self._file(new)
        self._count(new)
        ids = {one.id for one in new}
        self._lines.tell(one for one in ended if one.completion.id in ids)
        if any(one.budgets for one in new):
            self.link.rebalance()

    def _count_ready(self) -> None:
        """Count what is certain by now, and correct the books where Envoy knows better."""
        join = self.envoy_log.confirmations
        self._count(join.ready())
        corrected = join.corrected()
        self._books.note(corrected)
        self.link.broke([one for one in corrected if one.error == RESET])
        self._lines.tell(join.ended())

    def _count(self, completions: Sequence[Completion]) -> None:
        """Tell of records: once each, and it is lost with control."""
        if not completions:
            return
        self._metrics.record(completions)
        self.errors.note(completions)
        self.traces.tell(completions, self._contents)
        for one in completions:
            self._contents.pop(one.id, None)

    def _file(self, completions: Sequence[Completion]) -> None:
        """Keep what must not be lost, before the worker hears that it is kept."""
        self._books.note(completions)
        try:
            self.ledger.charge(completions)
        except OSError as error:
            log.error("the ledger cannot be written: %s", error.strerror)  # noqa: TRY400
        charged = {meter for one in completions for meter, _ in one.budgets}
        self.alerts.look(charged, self.ledger.balances)

    def _price(self, cluster: str, model: str, usage: Usage) -> int | None:
        spec = self._specs.get(cluster)
        if spec is None or self._runtime is None:
            return None
        price = self._runtime.prices.find(spec.provider, spec.type, model)
        return None if price is None else cost(price, usage)
