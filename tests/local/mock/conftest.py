"""A mock on a real port, in a thread of its own, for every client of these tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from extproc.local.mock import MockServer, serve


class Thread:
    """A mock running beside the test."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with await serve(**self._options) as self.server:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> MockServer:
        self._thread.start()
        assert self._ready.wait(5)
        return self.server

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture(scope="session")
def mock() -> Iterator[MockServer]:
    """The mock, as fast as possible, with a fixed clock."""
    with Thread(pace=0, clock=lambda: 1_700_000_000.0) as server:
        yield server


@pytest.fixture(scope="session")
def openai_client(mock: MockServer) -> Iterator[openai.OpenAI]:
    """The official client, strict about what it reads, without retries."""
    with openai.OpenAI(
        base_url=f"{mock.url}/v1",
        api_key="sk-mock-1",
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


@pytest.fixture(scope="session")
def anthropic_client(mock: MockServer) -> Iterator[anthropic.Anthropic]:
    """The official client, strict about what it reads, without retries."""
    with anthropic.Anthropic(
        base_url=mock.url,
        api_key="sk-mock-1",
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


@pytest.fixture(scope="session")
def http(mock: MockServer) -> Iterator[httpx.Client]:
    """A plain client that asks for no compression."""
    headers = {"accept-encoding": "identity"}
    with httpx.Client(base_url=mock.url, headers=headers, timeout=5) as client:
        yield client
