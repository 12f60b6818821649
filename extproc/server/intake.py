"""What becomes of the workers' completion records: metrics, the ledger, alerts, the books."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from extproc.config.schema import Config
from extproc.exchange.completion import Completion
from extproc.runtime import Snapshot
from extproc.server.alerts import Alerts
from extproc.server.books import Books
from extproc.server.ledger import LEDGER_FILE, Ledger
from extproc.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class Intake:
    """Takes each record once.

    Attributes:
        ledger: what is charged to each budget; on disk.
        alerts: what somebody asked to be told of.
    """

    def __init__(
        self,
        state: Path,
        *,
        metrics: Metrics,
        books: Books,
        wall_clock: Callable[[], float],
    ) -> None:
        """Go on with the ledger in the folder `state`."""
        self.ledger = Ledger(state / LEDGER_FILE, clock=wall_clock)
        self.alerts = Alerts()
        self._metrics = metrics
        self._books = books

    def take(self, completions: Sequence[Completion]) -> None:
        """Keep what these records say."""
        self._metrics.record(completions)
        self._books.note(completions)
        try:
            self.ledger.charge(completions)
        except OSError as error:
            log.error("the ledger cannot be written: %s", error.strerror)  # noqa: TRY400
        charged = {meter for one in completions for meter, _ in one.budgets}
        self.alerts.look(charged, self.ledger.balances)

    def configure(self, snapshot: Snapshot, config: Config | None) -> None:
        """Count by what serves now; None: nobody has read its source yet."""
        webhook = config.accounting.webhook if config is not None else None
        url = webhook.get_secret_value() if webhook is not None else None
        self._metrics.configure(snapshot)
        self.alerts.configure(snapshot, url, self.ledger.balances)
