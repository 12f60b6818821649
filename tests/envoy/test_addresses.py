"""How much one address may ask, whoever asks there."""

from __future__ import annotations

import httpx
import pytest

from tests.harness import KEY, Gateway, temporary_folder

pytestmark = pytest.mark.envoy

MOST = 4


@pytest.fixture(scope="module")
def url():
    provider = {
        "type": "openai",
        "base_url": "http://127.0.0.1:9/v1",
        "api_key": "sk-x",
    }
    config = {
        "listen": {"address": "127.0.0.1:0", "xff_num_trusted_hops": 1},
        "providers": {"openai": provider},
        "models": {"m": {"targets": [{"provider": "openai"}]}},
        "limits": {"address_requests_per_minute": MOST},
    }
    with temporary_folder() as folder:
        gateway = Gateway(config, folder)
        try:
            yield gateway.url
        finally:
            gateway.stop()


def ask(url, address, path="/v1/models", key="sk-guessed"):
    headers = {"x-forwarded-for": address, "x-api-key": key}
    return httpx.get(f"{url}{path}", headers=headers, timeout=20)


def test_keys_cannot_be_tried_one_after_another(url):
    statuses = [ask(url, "203.0.113.1").status_code for _ in range(MOST + 2)]
    assert statuses == [401] * MOST + [429] * 2


def test_another_address_is_another(url):
    for _ in range(MOST):
        ask(url, "203.0.113.2")
    assert ask(url, "203.0.113.3", key=KEY).status_code == 200
    assert ask(url, "203.0.113.2", key=KEY).status_code == 429


def test_the_answer_is_in_the_clients_dialect_and_says_when_to_ask_again(url):
    said = [ask(url, "203.0.113.4") for _ in range(MOST + 1)][-1]
    assert said.json()["error"]["code"] == "rate_limit_exceeded"
    assert said.headers["retry-after"] == str(60 // MOST)
    said = ask(url, "203.0.113.4", path="/v1/messages/batches")
    assert said.json()["type"] == "error"
    assert said.json()["error"]["type"] == "rate_limit_error"
