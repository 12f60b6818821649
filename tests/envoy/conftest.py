"""One gateway for each edge, shared by the tests that do not break it."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import pytest

from tests.harness import FORGIVING, KEY, Gateway, Mock, running


@dataclass
class Peers:
    """What a test talks to, and what it looks at."""

    gateway: Gateway
    mock: Mock
    http: httpx.Client

    @property
    def base_url(self) -> str:
        return f"{self.gateway.url}/v1"


@pytest.fixture(scope="session", params=["lean", "grpc"])
def shared(request):
    with (
        running(FORGIVING, edge=request.param) as (gateway, mock),
        httpx.Client(
            base_url=gateway.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20
        ) as http,
    ):
        yield Peers(gateway, mock, http)


@pytest.fixture
def peers(shared):
    shared.mock.forget()
    return shared
