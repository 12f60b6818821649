"""Become another program that dies with the process which started this one.

    python -I -S tether.py PARENT_PID PROGRAM ARGUMENT…

``PR_SET_PDEATHSIG`` (prctl(2)) must be set in the child, survives ``execve``, and between
``fork`` and ``exec`` only async-signal-safe code may run in a copy of a Python process: so
it is a program of its own. Standard library only; it is run by its path.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Tie the process to its parent, then become the program."""
    parent, program = int(arguments[0]), arguments[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        sys.exit(1)  # it died before the signal was asked for
    os.execv(program[0], program)  # noqa: S606  no shell is the point


if __name__ == "__main__":
    main(sys.argv[1:])
