"""The mock providers: OpenAI and Anthropic, as strict as the real ones.

They refuse what the real APIs refuse, with the real status and error body; they answer
deterministically, stream the real sequences of events, and misbehave on demand. Users
test their applications with them (`extproc run --mock`); our tests judge the gateway
with them, so nothing here may use the gateway's own formats.
"""

from __future__ import annotations

from extproc.local.mock.server import MockServer, serve

__all__ = ["MockServer", "serve"]
