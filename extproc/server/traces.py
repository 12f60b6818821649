"""Traces and the file of requests, in control: what goes where, and what waits to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from extproc.config.telemetry import ContentConfig, RequestLogConfig, TelemetryConfig
from extproc.exchange.completion import Completion
from extproc.exchange.content import Content
from extproc.redact import PERSONAL, Redactor
from extproc.telemetry.content import Display
from extproc.telemetry.destination import Destination
from extproc.telemetry.outbox import Outbox
from extproc.telemetry.request_file import RequestFile
from extproc.telemetry.request_lines import Told

if TYPE_CHECKING:
    from extproc.telemetry.trace_export import Said

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
"""The method that Envoy calls."""
ACCEPTED: Final = b""
"""An ``ExportTraceServiceResponse`` that finds no fault."""
FILE: Final = "request_log"
"""The sink that is a file."""
END_SECONDS: Final = 2.0
"""That the last spans have to arrive when control ends."""


class Outlet(NamedTuple):
    """A destination under the name that metrics give it."""

    name: str
    destination: Destination


def outlets_of(telemetry: TelemetryConfig) -> Iterator[Outlet]:
    """Yield everybody who is sent traces."""
    instance = f"{socket.gethostname()}:{os.getpid()}"
    otlp, langfuse, datadog = telemetry.otlp, telemetry.langfuse, telemetry.datadog
    if otlp is not None and otlp.traces:
        headers = {name: text.get_secret_value() for name, text in otlp.headers.items()}
        yield Outlet(
            "otlp",
            Destination(
                endpoint=otlp.endpoint,
                protocol=otlp.protocol,
                headers=headers,
                service_name=otlp.service_name,
                instance=instance,
            ),
        )
    if langfuse is not None:
        # https://langfuse.com/integrations/native/opentelemetry
        public, secret = langfuse.public_key, langfuse.secret_key
        pair = f"{public.get_secret_value()}:{secret.get_secret_value()}"
        yield Outlet(
            "langfuse",
            Destination(
                endpoint=f"{langfuse.endpoint}/api/public/otel",
                headers={
                    "authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
                    "x-langfuse-ingestion-version": "4",
                },
                instance=instance,
            ),
        )
    if datadog is not None:
        # https://docs.datadoghq.com/llm_observability/instrumentation/otel_instrumentation
        yield Outlet(
            "datadog",
            Destination(
                endpoint=datadog.endpoint or f"https://otlp.{datadog.site}",
                headers={
                    "dd-api-key": datadog.api_key.get_secret_value(),
                    "dd-otlp-source": "llmobs",
                },
                service_name=datadog.ml_app,
                instance=instance,
            ),
        )


class Traces:
    """The outbox of every destination, the file of requests among them."""

    def __init__(self, told: Callable[[str, bool], None]) -> None:
        """`told` hears of every export whether it has arrived."""
        self._told = told
        self._seen: object = None
        self._boxes: list[Outbox[Said]] = []
        self._lost: dict[str, int] = {}
        self._changed = asyncio.Event()

    def configure(self, telemetry: TelemetryConfig, redactor: Redactor) -> None:
        """Send as `telemetry` says from now on; what waits for others is dropped."""
        outlets = list(outlets_of(telemetry))
        now = (
            outlets, telemetry.traces, telemetry.request_log, telemetry.content, redactor,
        )  # fmt: skip
        if now == self._seen:
            return
        self._seen = now
        for box in self._boxes:
            self._lost[box.name] = self._lost.get(box.name, 0) + box.lost + box.waiting
        self._boxes = [self._box(outlet, telemetry, redactor) for outlet in outlets]
        if (wanted := telemetry.request_log) is not None:
            self._boxes.append(_file_box(wanted, telemetry.content, redactor))
        self._changed.set()

    @property
    def lost(self) -> dict[tuple[str, ...], int]:
        """What was dropped, by destination."""
        names = {*self._lost, *(box.name for box in self._boxes)}
        now = {box.name: box.lost for box in self._boxes}
        return {
            (name,): self._lost.get(name, 0) + now.get(name, 0)
            for name in sorted(names)
        }

    @property
    def waiting(self) -> dict[tuple[str, ...], int]:
        """What has not arrived, by destination."""
        return {(box.name,): box.waiting for box in self._boxes}

    def state(self) -> dict[str, dict[str, object]]:
        """Return both, and who is away, for people."""
        lost, waiting = self.lost, self.waiting
        away = {box.name: box.away for box in self._boxes}
        return {
            name: {
                "waiting": waiting.get((name,), 0),
                "lost": number,
                "away": away.get(name, False),
            }
            for (name,), number in lost.items()
        }

    def tell(
        self,
        completions: Iterable[Completion],
        contents: Mapping[str, Content] = MappingProxyType({}),
    ) -> None:
        """Trace requests that have ended; `contents` is what was said, by ``gw.id``."""
        if self._boxes:
            said = tuple(Told(one, contents.get(one.id)) for one in completions)
            for box in self._boxes:
                box.put(said)

    def envoy(self, export: bytes) -> bytes:
        """Take Envoy's own spans."""
        for box in self._boxes:
            if box.name != FILE:
                box.put((export,))
        return ACCEPTED

    async def run(self) -> None:
        """Send until canceled; then what is left, if that is quick."""
        try:
            while True:
                self._changed.clear()
                async with asyncio.TaskGroup() as tasks:
                    running = [tasks.create_task(box.run()) for box in self._boxes]
                    await self._changed.wait()
                    for task in running:
                        task.cancel()
        finally:
            await self._flush()

    async def _flush(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(box.run()) for box in self._boxes]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    for box in self._boxes:
                        await box.flushed()
            for task in running:
                task.cancel()

    def _box(
        self, outlet: Outlet, telemetry: TelemetryConfig, redactor: Redactor
    ) -> Outbox[Said]:
        # A third of a second, and no business of who has no traces.
        from extproc.telemetry.trace_export import TraceExporter  # noqa: PLC0415

        exporter = TraceExporter(
            outlet.destination,
            redactor,
            ratio=telemetry.traces.sample,
            langfuse=outlet.name == "langfuse",
            display=_display(telemetry.content, redactor)
            if telemetry.content.traces
            else None,
        )
        return Outbox(outlet.name, exporter.export, told=self._told, weigh=_weigh)


def _display(content: ContentConfig, redactor: Redactor) -> Display:
    kept = redactor.without(PERSONAL) if content.personal else redactor
    return Display(kept, content.max_characters)


def _weigh(said: Said) -> int:
    return said.weight if isinstance(said, Told) else 0


def _file_box(
    wanted: RequestLogConfig, content: ContentConfig, redactor: Redactor
) -> Outbox[Said]:
    file = RequestFile(
        wanted.path,
        redactor,
        max_bytes=wanted.max_bytes,
        keep=wanted.keep,
        display=_display(content, redactor) if content.request_log else None,
    )

    def write(said: Sequence[Said]) -> bool:
        return file.write([one for one in said if isinstance(one, Told)])

    return Outbox(FILE, write, weigh=_weigh)
