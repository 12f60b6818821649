"""Every target, by name."""

from __future__ import annotations

from tests.fuzz import choosing, decoders, exchanges, operators, passing, texts
from tests.fuzz.target import Target

NAMED = (
    "sse", "event stream", "event stream's headers", "gzip", "deflate", "br", "zstd",
    "members", "form", "websocket", "hpack", "grpc messages", "ext_proc", "link",
    "http2", "config", "request openai_chat", "request openai_completions",
    "request openai_responses", "request anthropic", "request openai_completions passed",
    "request other", "redaction",
)  # fmt: skip
"""The decoders, the HTTP/2 core, the configuration's loader, the readers of requests, and
redaction: they come first, and none has fewer inputs than `test_fuzz.INPUTS`."""

_ALL = {
    one.name: one
    for part in (decoders, exchanges, passing, choosing, operators, texts)
    for one in part.TARGETS
}
TARGETS: dict[str, Target] = {name: _ALL[name] for name in NAMED} | _ALL
