"""What runs beside a user on one machine: the mock providers."""

from __future__ import annotations
