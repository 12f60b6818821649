"""The edge: the only gRPC, asyncio, clock and environment."""

from __future__ import annotations
