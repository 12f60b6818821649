"""Who may do what: pure arithmetic over values."""

from __future__ import annotations
