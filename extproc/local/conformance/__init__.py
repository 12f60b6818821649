"""What works between which client API and which provider, tried out.

Every feature is asked in every client's dialect, goes through the gateway's own core to
the mock of every provider, and the client's answer is judged. No network, no Envoy.

    prompts    what is asked, in no API's words
    openai_chat, openai_responses, anthropic
               how each client spells it, and reads the answer
    gateway    the exchange between client and mock
    features   the table: prompts and the checks of their answers
    endpoints  what is served beside chats: vectors, rankings, counts
    rows       the outcomes
    report     the outcomes as a table for the terminal, and as `docs/support-matrix.md`
"""

from __future__ import annotations

from extproc.local.conformance.report import document, tables
from extproc.local.conformance.rows import PLAYED, Row, play

__all__ = ["PLAYED", "Row", "document", "play", "tables"]
