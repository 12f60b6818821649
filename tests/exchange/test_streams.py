"""What an open stream holds: little, and no more of it with every chunk.

Bytes are those that Python allocates between two points, counted by tracemalloc. What a
Responses stream says at its end repeats the whole answer, so that this client's writer has
to keep the text, once.
"""

from __future__ import annotations

import gc
import itertools
import sys
import tracemalloc
from collections.abc import Callable, Iterable

import pytest

from extproc.exchange import events
from extproc.exchange.commands import AnswerBody, Complete
from extproc.exchange.exchange import Exchange
from tests import casebook
from tests.casebook import CLIENTS, PROVIDER_FORMATS
from tests.streams import Stream, stream_of

STATE_BYTES = 20_000
"""Of one open stream, its request's bookkeeping included."""

CHUNKS = 200

OPEN = 40
"""Streams that are held open together: what they share counts once."""

MOST_CALLS = {
    "openai_chat": 24, "openai_responses": 24, "anthropic": 23, "gemini": 28,
    "converse": 29, "cohere": 22,
}  # fmt: skip
"""Of functions, for a piece of a stream. Gemini's text is measured for the places that it
cites, Bedrock's messages have checksums."""

GROWTH_BYTES = 2000
"""What counters may grow by; a chunk that was kept would show two hundred times."""

PAIRS = list(itertools.product(PROVIDER_FORMATS, CLIENTS))
TOOLS = [client for client in CLIENTS if client != "openai_completions"]
CALLED = [
    (provider, client)
    for provider, client in itertools.product(PROVIDER_FORMATS, TOOLS)
    if provider != "gemini"  # whose calls come whole
]
NAMED = {case.name: case for case in casebook.cases()}


def begun(provider: str, client: str, stream: Stream) -> Exchange:
    """Return an exchange whose stream has begun."""
    name = "streamed" if client == "openai_completions" else "tool_call"
    case = NAMED[name]
    request = casebook.asked_to_stream(case.request(client) or b"", client)
    model = None if provider == client else case.model(provider)
    asked = casebook.ask(client, provider, request, model)
    assert asked.attempt is not None
    exchange = asked.exchange
    head = {":status": "200", "content-type": stream.content_type}
    exchange.receive(
        events.ResponseHeaders(
            status=200, headers=head, end=False, details="via_upstream", attempts=1
        ),
        0.0,
    )
    send(exchange, stream.start)
    return exchange


def send(exchange: Exchange, pieces: Iterable[bytes]) -> int:
    """Feed pieces; return how many bytes the client got."""
    size = 0
    for piece in pieces:
        for command in exchange.receive(events.ResponseBody(piece, end=False), 0.0):
            if isinstance(command, AnswerBody):
                size += len(command.data)
    return size


def finish(exchange: Exchange, stream: Stream) -> None:
    """End a stream; it must have been in order all along."""
    send(exchange, stream.end)
    commands = exchange.receive(events.ResponseBody(b"", end=True), 0.0)
    (record,) = [one.completion for one in commands if isinstance(one, Complete)]
    assert record.outcome == "ok", record.error


def calls_of(exchange: Exchange, piece: bytes) -> int:
    """Return how many functions a piece calls, those of C included.

    But `find`, which stands for an operator that is slower, and is none.
    """
    count = 0

    def note(_frame: object, what: str, argument: object) -> None:
        nonlocal count
        found = getattr(argument, "__name__", "") == "find"
        count += what in {"call", "c_call"} and not found

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        send(exchange, [piece])
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(
    ("provider", "client", "arguments"),
    [(*one, False) for one in PAIRS] + [(*one, True) for one in CALLED],
)
def test_a_piece_takes_few_calls_of_functions(provider, client, arguments):
    """From the exchange down, and the test's own four: some 0.2 µs each, on any machine."""
    stream = stream_of(provider, "word ", arguments=arguments)
    exchange = begun(provider, client, stream)
    send(exchange, [stream.piece] * 3)
    most = MOST_CALLS[provider] + (3 if arguments and provider == "openai_chat" else 0)
    assert calls_of(exchange, stream.piece) <= most
    finish(exchange, stream)


def held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.fixture(scope="module")
def counting():
    gc.collect()
    gc.freeze()  # so that a collection looks at what the tests make only
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize(("provider", "client"), PAIRS)
@pytest.mark.usefixtures("counting")
def test_an_open_stream_holds_little(provider, client):
    stream = stream_of(provider, "word ")
    finish(begun(provider, client, stream), stream)  # what is cached is not counted
    assert not always(lambda: state_of_one(provider, client, stream) >= STATE_BYTES)


def state_of_one(provider: str, client: str, stream: Stream) -> float:
    """Return what each of many open streams holds."""
    before = held()
    exchanges = [begun(provider, client, stream) for _ in range(OPEN)]
    for exchange in exchanges:
        assert send(exchange, [stream.piece] * 20)
    each = (held() - before) / OPEN
    finish(exchanges[0], stream)
    return each


def always(found: Callable[[], bool]) -> bool:
    """Say whether it is found each time.

    The interpreter itself takes memory now and then, once: its table of interned strings
    doubles from 2 MB to 4, whoever adds the next one.
    """
    return all(found() for _ in range(3))


def grows(provider: str, client: str, stream: Stream, limit: float) -> bool:
    """Say whether a stream holds more than `limit` bytes more after further pieces."""
    return always(lambda: grown(provider, client, stream) > limit)


def grown(provider: str, client: str, stream: Stream) -> int:
    exchange = begun(provider, client, stream)
    pieces = [stream.piece] * CHUNKS
    assert send(exchange, pieces[:100])
    before = held()
    assert send(exchange, pieces)
    more = held() - before
    finish(exchange, stream)
    return more


@pytest.mark.parametrize(
    ("provider", "client"), [one for one in PAIRS if one[1] != "openai_responses"]
)
@pytest.mark.usefixtures("counting")
def test_a_stream_holds_no_more_after_many_chunks(provider, client):
    assert not grows(provider, client, stream_of(provider, "word "), GROWTH_BYTES)


@pytest.mark.parametrize(
    ("provider", "client"), [one for one in CALLED if one[1] != "openai_responses"]
)
@pytest.mark.usefixtures("counting")
def test_a_stream_holds_no_more_after_long_arguments(provider, client):
    stream = stream_of(provider, "x" * 1000, arguments=True)
    assert not grows(provider, client, stream, GROWTH_BYTES)


@pytest.mark.parametrize("provider", list(PROVIDER_FORMATS))
@pytest.mark.parametrize("arguments", [False, True], ids=["text", "arguments"])
@pytest.mark.usefixtures("counting")
def test_a_responses_client_costs_the_answer_kept_once(provider, arguments):
    if arguments and provider == "gemini":
        return
    stream = stream_of(provider, "x" * 1000, arguments=arguments)
    assert not grows(provider, "openai_responses", stream, 1.2 * 1000 * CHUNKS)


def effort(exchange: Exchange, pieces: list[bytes]) -> int:
    """Return the most bytes that the next piece made us hold at once."""
    found = []
    for piece in pieces:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        assert send(exchange, [piece])
        found.append(tracemalloc.get_traced_memory()[1] - before)
    return sorted(found)[len(found) // 2]


@pytest.mark.parametrize(
    ("provider", "client", "arguments"),
    [(*one, False) for one in PAIRS] + [(*one, True) for one in CALLED],
)
@pytest.mark.usefixtures("counting")
def test_a_chunk_is_no_more_work_the_longer_the_stream(provider, client, arguments):
    """What is looked at or copied again shows in the memory that is taken for it."""
    stream = stream_of(provider, "x" * 1000, arguments=arguments)
    exchange = begun(provider, client, stream)
    pieces = [stream.piece] * CHUNKS
    first = effort(exchange, pieces[:20])
    send(exchange, pieces)
    last = effort(exchange, pieces[:20])
    assert last < first + GROWTH_BYTES
    finish(exchange, stream)
