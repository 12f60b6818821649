"""Every secret of a file is known to be one."""

from __future__ import annotations

from pathlib import Path

from extproc.config.known_secrets import secrets_in
from extproc.config.load import loads

TEXT = """
providers:
  p: {type: openai, api_key: sk-one}
  q: {type: openai, api_key: "${Q}", base_url: "https://q.example/v1"}
models: {m: {targets: [{provider: p}]}}
keys: [{id: k, key: sk-virtual-key-0123456789}]
accounting: {store: "redis://user:four@cache:6379/0", webhook: "https://hooks.example/T/secret"}
telemetry: {otlp: {endpoint: "http://c", headers: {authorization: five}}}
"""


def test_keys_headers_and_passwords_in_urls() -> None:
    config = loads(TEXT, {"Q": "sk-two"}, source="f", folder=Path())
    found = set(secrets_in(config))
    assert found >= {
        "sk-one", "sk-two", "sk-virtual-key-0123456789", "four", "five",
        "https://hooks.example/T/secret",
    }  # fmt: skip
    assert "gpt-4o" not in found
