"""What people write: the configuration; and what must not be repeated: secrets."""

from __future__ import annotations

from pathlib import Path

from extproc.config.build import build
from extproc.config.load import ConfigError, loads
from extproc.redact import Redactor
from tests.fuzz.shapes import TEXT
from tests.fuzz.target import Target

CONFIGS = (
    """\
providers:
  openai: {type: openai, api_key: "${A}"}
models:
  m: {targets: [{provider: openai}]}
""",
    """\
providers:
  anthropic:
    type: anthropic
    api_keys: [sk-1, sk-2]
    timeouts: {first_byte: 5}
models: {m: {targets: [{provider: anthropic, model: c}]}}
""",
    """\
providers: {a: {type: openai, api_key: k}}
models:
  "gpt-*":
    strategy: weighted
    targets:
      - {provider: a, weight: 3}
      - {provider: a, model: gpt}
""",
    """\
listen: {address: 127.0.0.1:0}
providers:
  local: {type: openai, base_url: "http://127.0.0.1:1/v1"}
models:
  m: {targets: [{provider: local}], fallbacks: [n]}
  n: {targets: [{provider: local, model: x}]}
""",
    """\
providers: {a: {type: gemini, api_key: k}}
keys:
  - {id: ci, key: "${KEY:-sk-0123456789abcdef0}", models: [m], team: a}
teams: {a: {budgets: [{usd: 5, period: month}]}}
models: {m: {targets: [{provider: a}]}}
rate_limits: {requests_per_minute: 5}
""",
    """\
providers:
  bedrock: {type: bedrock, region: us-east-1}
  azure: {type: azure, base_url: https://a.openai.azure.com, api_key: k}
models: {m: {targets: [{provider: bedrock}, {provider: azure}]}}
""",
    """\
providers: {a: {type: mistral, api_key: k}}
models:
  m:
    targets: [{provider: a, model: a}]
routing: {retry: {attempts: 3}}
prices:
  m: {input: 1, output: 2}
""",
    """\
providers: {a: {type: cohere, api_key: k}}
models: {m: {targets: [{provider: a}]}}
telemetry: {otlp: {endpoint: "http://127.0.0.1:4317"}}
""",
)
ENVIRONMENT = {"A": "sk-a", "B": ""}


def config(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        read = loads(text, ENVIRONMENT, source="gateway.yaml", folder=Path("/nowhere"))
    except ConfigError:
        return
    build(read, grants=(), generation=1, created=1)


KNOWN = "a-secret-that-is-known"
SAID = (
    "Incorrect API key provided: sk-proj-0123456789abcdef. Bearer abcdefghijkl",
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
    "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln https://user:password@host/?api_key=secret12",
    'AKIAABCDEFGHIJKLMNOP {"password": "hunter22", "token": 12345678}',
    "a@example.com, +1 (555) 123-4567, 4111 1111 1111 1111 " + KNOWN,
)
REDACTOR = Redactor(known=[KNOWN])


def redaction(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    found = REDACTOR.text(text)
    assert KNOWN not in found
    found = REDACTOR.text(f"{text} sk-0123456789abcdef0123")
    assert "sk-0123456789abcdef0123" not in found
    REDACTOR.fields({text: [text, {"authorization": text}], "n": 1})


TARGETS = (
    Target("config", lambda: [text.encode() for text in CONFIGS], config, TEXT),
    Target("redaction", lambda: [text.encode() for text in SAID], redaction, TEXT),
)
