"""Traces: a completion record becomes the spans of its exchange and attempts.

    client ─▶ Envoy (SERVER, its own) ─▶ exchange (INTERNAL) ─▶ attempt 1…n (CLIENT)

Built in control, so that no request does any of it. Names and attributes are those of
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/; what only a gateway has
is ``extproc.…``. Ids are made of ``gw.id``, so a record that comes twice is one span.

Importing this takes a third of a second: control does when traces are configured.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from extproc import __version__
from extproc.exchange.completion import Completion, FailedAttempt
from extproc.exchange.content import Content
from extproc.redact import Redactor
from extproc.telemetry import semconv
from extproc.telemetry.content import Display, Shown
from extproc.telemetry.request_lines import OWN
from extproc.telemetry.trace_context import is_sampled, number_of, parent_of

SCOPE: Final = InstrumentationScope("extproc", __version__)
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)

_MOST_NAME: Final = 256
"""Of text that a client or a provider chose."""

Value = str | bool | int | float | tuple[str, ...]
Attributes = Mapping[str, Value]


class Spans:
    """Builds spans for one destination."""

    def __init__(
        self,
        resource: Resource,
        redactor: Redactor,
        *,
        langfuse: bool = False,
        display: Display | None = None,
    ) -> None:
        """Build them for `resource`.

        Args:
            resource: who we are.
            redactor: what every text goes through.
            langfuse: with the attributes that it wants besides.
            display: shows what was said; without it nothing of that is told.
        """
        self._display = display
        self._resource = resource
        self._redactor = redactor
        self._langfuse = langfuse

    def of(
        self, completion: Completion, ratio: float, content: Content | None = None
    ) -> list[ReadableSpan]:
        """Return the spans of one record; none if it is not sampled, or asks nobody."""
        if completion.operation in OWN:
            return []
        parent = parent_of(completion)
        if not is_sampled(parent, ratio):
            return []
        state = TraceState.from_header([parent.state]) if parent.state else None
        own = SpanContext(
            parent.trace, number_of(completion.id, "exchange", 8), False, SAMPLED, state
        )
        above = (
            SpanContext(parent.trace, parent.span, True, SAMPLED, state)
            if parent.span
            else None
        )
        return [
            self._exchange(completion, own, above, content),
            *self._attempts(completion, own),
        ]

    def _exchange(
        self,
        one: Completion,
        own: SpanContext,
        above: SpanContext | None,
        content: Content | None,
    ) -> ReadableSpan:
        attributes = dict(_exchange_attributes(one))
        if self._langfuse:
            attributes |= _for_langfuse(one)
        return self._span(
            _name(one.operation, one.virtual_model or one.original_model),
            own,
            above,
            SpanKind.INTERNAL,
            attributes,
            (one.started, one.started + one.duration),
            _status(one),
            [*_skips(one), *_pieces(one)],
            self._said(content),
        )

    def _said(self, content: Content | None) -> Attributes:
        if self._display is None or content is None:
            return {}
        return dict(_said(self._display.show(content), langfuse=self._langfuse))

    def _attempts(self, one: Completion, own: SpanContext) -> Iterator[ReadableSpan]:
        times = attempt_times(one)
        for number, (begin, end) in enumerate(times, 1):
            last = number == len(times)
            failed = None if last else _failed(one, number, len(times))
            said: dict[str, str | bool | int | float | tuple[str, ...]] = {
                semconv.OPERATION_NAME: one.operation,
                "extproc.attempt": number,
            }
            status = Status(StatusCode.UNSET)
            events: list[Event] = []
            if last:
                provider, model, code = one.provider, one.request_model, one.status
                status = _status(one)
                if one.outcome != "ok":
                    said[semconv.ERROR_TYPE] = _error_type(one)
                said |= _given({"extproc.cluster": one.cluster})
                events = list(_pieces(one))
            elif failed is not None:
                provider, model, code = failed.provider, failed.model, failed.status
                said[semconv.ERROR_TYPE] = str(code or "no_answer")
                said |= _given(
                    {
                        "extproc.cluster": failed.cluster,
                        "extproc.retry_after": failed.retry_after,
                    }
                )
                status = Status(StatusCode.ERROR)
            else:
                provider = model = None
                code = 0
                said[semconv.ERROR_TYPE] = semconv.OTHER
                status = Status(StatusCode.ERROR)
            said |= _given(
                {
                    semconv.PROVIDER_NAME: provider,
                    semconv.REQUEST_MODEL: model,
                    "http.response.status_code": code or None,
                    "http.request.resend_count": number - 1 or None,
                    "langfuse.observation.type": "span" if self._langfuse else None,
                }
            )
            context = SpanContext(
                own.trace_id,
                number_of(one.id, f"attempt {number}", 8),
                False,
                SAMPLED,
                own.trace_state,
            )
            yield self._span(
                _name(one.operation, model),
                context,
                own,
                SpanKind.CLIENT,
                said,
                (begin, end),
                status,
                events,
            )

    def _span(  # noqa: PLR0917  a record
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        times: tuple[float, float],
        status: Status,
        events: Iterable[Event],
        said: Attributes = MappingProxyType({}),
    ) -> ReadableSpan:
        """Build one; `said` is redacted, and as long as it may be."""
        begin, end = times
        clean = {key: self._clean(value) for key, value in attributes.items()}
        if status.description is not None:
            text = self._redactor.text(status.description[:_MOST_NAME])
            status = Status(status.status_code, text)
        return ReadableSpan(
            name=self._redactor.text(name),
            context=context,
            parent=parent,
            resource=self._resource,
            attributes={**clean, **said},
            events=tuple(events),
            kind=kind,
            instrumentation_scope=SCOPE,
            status=status,
            start_time=_nanos(begin),
            end_time=_nanos(max(begin, end)),
        )

    def _clean(self, value: Value) -> Value:
        match value:
            case str():
                return self._redactor.text(value[:_MOST_NAME])
            case tuple():
                return tuple(self._redactor.text(one[:_MOST_NAME]) for one in value)
            case _:
                return value


def attempt_times(one: Completion) -> list[tuple[float, float]]:
    """Return when each attempt began and ended, in Unix seconds.

    One ends where the next begins; of those whose beginning nobody noted it is that of the
    one before.
    """
    if not one.attempts:
        return []
    end = one.started + one.duration
    begins: list[float] = []
    before = one.started
    for number in range(one.attempts):
        noted = one.attempts_at[number] if number < len(one.attempts_at) else 0.0
        # Envoy's clock is ours, but it notes milliseconds.
        before = min(end, max(before, noted))
        begins.append(before)
    return list(zip(begins, [*begins[1:], end], strict=True))


def _failed(one: Completion, number: int, attempts: int) -> FailedAttempt | None:
    """Return what is known of a failed attempt: all of them, or nothing."""
    if len(one.failed_attempts) != attempts - 1:
        return None
    return one.failed_attempts[number - 1]


def _exchange_attributes(
    one: Completion,
) -> Iterator[tuple[str, str | bool | int | float | tuple[str, ...]]]:
    used = one.usage
    yield from _given(
        {
            semconv.OPERATION_NAME: one.operation,
            semconv.PROVIDER_NAME: one.provider,
            semconv.REQUEST_MODEL: one.original_model or one.request_model,
            semconv.RESPONSE_MODEL: one.response_model,
            semconv.REQUEST_STREAM: one.streamed or None,
            semconv.TIME_TO_FIRST_CHUNK: one.first_byte if one.streamed else None,
            semconv.ERROR_TYPE: None if one.outcome == "ok" else _error_type(one),
            "http.response.status_code": one.status or None,
            "enduser.id": one.end_user,
            "extproc.gw_id": one.id,
            "extproc.request_id": one.request_id,
            "extproc.outcome": one.outcome,
            "extproc.key": one.key,
            "extproc.team": one.team,
            "extproc.user": one.user,
            "extproc.organization": one.organization,
            "extproc.virtual_model": one.virtual_model,
            "extproc.attempts": one.attempts,
            "extproc.translated": one.translated or None,
            "extproc.estimated": one.estimated or None,
            "extproc.dropped": one.dropped or None,
            "extproc.limit": one.limit,
            "extproc.tags": one.tags or None,
            "extproc.cost_usd": None if one.cost is None else one.cost / 1e9,
        }
    ).items()
    if used is None:
        return
    yield semconv.USAGE_INPUT_TOKENS, used.input_tokens
    yield semconv.USAGE_OUTPUT_TOKENS, used.output_tokens
    for name, count in (
        (semconv.USAGE_CACHE_READ, used.cache_read_input_tokens),
        (semconv.USAGE_CACHE_CREATION, used.cache_creation_input_tokens),
        (semconv.USAGE_REASONING, used.reasoning_output_tokens),
    ):
        if count:
            yield name, count


def _for_langfuse(one: Completion) -> dict[str, str | tuple[str, ...]]:
    """Return what Langfuse does not read out of OpenTelemetry's own attributes.

    https://langfuse.com/integrations/native/opentelemetry#property-mapping
    """
    said = _given(
        {
            "langfuse.observation.type": "generation",
            "langfuse.user.id": one.end_user or one.user,
            "langfuse.trace.tags": one.tags or None,
            "langfuse.observation.cost_details": None
            if one.cost is None
            else f'{{"total":{one.cost / 1e9:.9f}}}',
        }
    )
    return {key: value for key, value in said.items() if isinstance(value, str | tuple)}


def _said(shown: Shown, *, langfuse: bool) -> Iterator[tuple[str, str | bool]]:
    """Yield what was said: as JSON, for an attribute has no structure."""
    for name, value in (
        (semconv.SYSTEM_INSTRUCTIONS, shown.system),
        (semconv.INPUT_MESSAGES, shown.asked),
        (semconv.OUTPUT_MESSAGES, shown.answered),
        (semconv.TOOL_DEFINITIONS, shown.tools),
    ):
        if value:
            yield name, msgspec.json.encode(value).decode()
    if langfuse:
        # Where it looks first: it knows the conventions' own names of late only.
        whole = [{"role": "system", "parts": shown.system}] if shown.system else []
        yield (
            "langfuse.observation.input",
            msgspec.json.encode([*whole, *shown.asked]).decode(),
        )
        yield (
            "langfuse.observation.output",
            msgspec.json.encode(shown.answered).decode(),
        )
    if shown.cut:
        yield "extproc.content.cut", True


def _skips(one: Completion) -> Iterator[Event]:
    for skipped in one.skipped:
        provider, _, why = skipped.partition(":")
        yield Event(
            "extproc.target_skipped",
            {semconv.PROVIDER_NAME: provider, "extproc.reason": why},
            _nanos(one.started),
        )


def _pieces(one: Completion) -> Iterator[Event]:
    """Yield when the first and the last piece of an answer came, and how many."""
    if one.first_byte is None:
        return
    yield Event("extproc.first_chunk", {}, _nanos(one.started + one.first_byte))
    yield Event(
        "extproc.last_chunk",
        {"extproc.chunks": one.chunks, "extproc.answer_bytes": one.answer_bytes},
        _nanos(one.started + one.duration),
    )


def _status(one: Completion) -> Status:
    """Return what tracing systems colour: a request that is at fault is no error of ours.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status
    """
    if one.outcome in ("ok", "client_error", "canceled"):
        return Status(StatusCode.UNSET)
    return Status(StatusCode.ERROR, one.error)


def _error_type(one: Completion) -> str:
    if one.outcome == "upstream_error" and one.status:
        return str(one.status)
    error = one.error or one.outcome
    return error if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", error) else semconv.OTHER


def _name(operation: str, model: str | None) -> str:
    return f"{operation} {model[:_MOST_NAME]}" if model else operation


def _given(
    said: Mapping[str, str | bool | int | float | tuple[str, ...] | None],
) -> dict[str, str | bool | int | float | tuple[str, ...]]:
    return {name: value for name, value in said.items() if value is not None}


def _nanos(seconds: float) -> int:
    return round(seconds * 1e9)
