"""What is known of an exchange so far; in the end it becomes its `Completion`."""

from __future__ import annotations

from extproc.exchange.completion import Completion, Outcome
from extproc.usage import Usage


class Tally:
    """Written to by both halves, read once."""

    __slots__ = (
        "answer_bytes", "attempts", "cluster", "dropped", "estimated",
        "failed_attempts", "first_byte", "id", "key", "operation", "original_model",
        "provider", "request_bytes", "request_model", "response_model", "skipped",
        "started", "status", "streamed", "translated", "usage", "virtual_model",
    )  # fmt: skip

    def __init__(self, *, id: str, started: float) -> None:  # noqa: A002  gw.id
        self.id = id
        self.started = started
        """Unix seconds."""
        self.operation = "unknown"
        self.status = 0
        self.key: str | None = None
        self.original_model: str | None = None
        self.virtual_model: str | None = None
        self.request_model: str | None = None
        self.response_model: str | None = None
        self.provider: str | None = None
        self.cluster: str | None = None
        self.attempts = 0
        self.failed_attempts: tuple[str, ...] = ()
        self.skipped: tuple[str, ...] = ()
        """Targets of the chain that could not be asked, and why."""
        self.streamed = False
        self.translated = False
        self.usage: Usage | None = None
        self.estimated = False
        self.first_byte: float | None = None
        self.request_bytes = 0
        self.answer_bytes = 0
        self.dropped: tuple[str, ...] = ()

    def complete(
        self, *, duration: float, outcome: Outcome, error: str | None
    ) -> Completion:
        """Close the books."""
        return Completion(
            id=self.id,
            operation=self.operation,
            started=self.started,
            duration=duration,
            outcome=outcome,
            status=self.status,
            error=error,
            key=self.key,
            original_model=self.original_model,
            virtual_model=self.virtual_model,
            request_model=self.request_model,
            response_model=self.response_model,
            provider=self.provider,
            cluster=self.cluster,
            attempts=self.attempts,
            failed_attempts=self.failed_attempts,
            skipped=self.skipped,
            streamed=self.streamed,
            translated=self.translated,
            usage=self.usage,
            estimated=self.estimated,
            first_byte=self.first_byte,
            request_bytes=self.request_bytes,
            answer_bytes=self.answer_bytes,
            dropped=self.dropped,
        )
