"""What operators see: metrics and logs. Fed by control, never by the data path."""

from __future__ import annotations
