"""What every test shares: Hypothesis profiles and the watch for surviving processes."""

from __future__ import annotations

import os

import hypothesis

hypothesis.settings.register_profile(
    "fast", max_examples=25, deadline=None, derandomize=False
)
hypothesis.settings.register_profile("deep", max_examples=10_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
