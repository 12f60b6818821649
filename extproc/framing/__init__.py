"""Bytes to frames and back; nothing here knows a chat or a model."""

from __future__ import annotations
