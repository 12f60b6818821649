"""Log lines say which process they are of, and skip what libraries chat about."""

from __future__ import annotations

import subprocess
import sys


def test_one_line_with_the_process_before_it() -> None:
    code = (
        "import logging\n"
        "from extproc.telemetry import logs\n"
        "logs.configure('control')\n"
        "logging.getLogger('httpx').info('GET /ready')\n"
        "logging.getLogger('uvicorn.error').info('Started')\n"
        "logging.getLogger('extproc.server.control').warning('what %s', 'happened')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr == "control: WARNING what happened\n"
