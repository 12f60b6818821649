"""The mock of Google's Gemini API.

Reference: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations
