"""Anthropic's messages, token counting and models API.

Reference: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations
