"""The core: one client request with all its attempts, as a function of what it is given."""

from __future__ import annotations
