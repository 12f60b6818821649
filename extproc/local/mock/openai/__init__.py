"""OpenAI's chat completions and models API.

Reference: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations
