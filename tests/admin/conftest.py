from __future__ import annotations

from tests.admin.application import api, served
from tests.databases import database, postgres

__all__ = ["api", "database", "postgres", "served"]
