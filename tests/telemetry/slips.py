"""Slips as a worker writes them."""

from __future__ import annotations

import msgspec

from extproc.exchange.slip import Slip


def written(slip: Slip) -> str:
    return msgspec.json.encode(slip).decode()
