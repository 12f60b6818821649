"""What is counted between requests: limits, budgets, reservations."""

from __future__ import annotations
