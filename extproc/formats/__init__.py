"""How each API spells a request, an answer, a stream and an error, whoever serves it."""

from __future__ import annotations
