"""Counts of what costs us more than it costs the peer, against the rates in `Limits`."""

from __future__ import annotations

from extproc.server.h2.errors import ConnectionFault, ErrorCode
from extproc.server.h2.limits import Limits


class Allowance:
    """What the peer may still do in this period."""

    __slots__ = ("_controls", "_hollow", "_limits", "_resets")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.replenish()

    def replenish(self) -> None:
        """Begin a new period."""
        self._controls = self._limits.control_frames
        self._resets = self._limits.resets
        self._hollow = self._limits.hollow_frames

    def control(self) -> None:
        """Count a frame that must be answered.

        Raises:
            ConnectionFault: there were too many.
        """
        self._controls -= 1
        if self._controls < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "control frame flood")

    def reset(self) -> None:
        """Count a stream that was opened and thrown away, whoever did the throwing.

        Raises:
            ConnectionFault: there were too many.
        """
        self._resets -= 1
        if self._resets < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "stream reset flood")

    def hollow(self) -> None:
        """Count a frame without any effect.

        Raises:
            ConnectionFault: there were too many.
        """
        self._hollow -= 1
        if self._hollow < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "empty frame flood")
