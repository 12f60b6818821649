"""Alembic's folder: `Database.migrate` runs what is in it."""

from __future__ import annotations
