from __future__ import annotations

from tests.databases import database, postgres

__all__ = ["database", "postgres"]
