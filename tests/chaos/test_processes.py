"""Rows of the failure table: processes that die under load, and what the client sees."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.harness import KEY, running, temporary_folder
from tests.running import Running

pytestmark = pytest.mark.envoy

LOAD = Path(__file__).parent.parent.parent / "bench" / "load.py"
SAY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


def load(url, seconds, meanwhile):
    """Ask 150 times a second, do `meanwhile` after the first of them, return the counts."""
    disturber = threading.Thread(target=meanwhile)
    with subprocess.Popen(
        [
            sys.executable, str(LOAD), f"{url}/v1/chat/completions", KEY, json.dumps(SAY),
            "--rate", "150", "--seconds", str(seconds),
        ],
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        time.sleep(0.7)
        disturber.start()
        out, _ = process.communicate()
    disturber.join()
    return json.loads(out)


def test_a_worker_that_is_told_to_end_ends_what_it_has_begun():
    """Those that are killed or hang are faults of ``make chaos``."""
    with running(workers=2) as (gateway, _):

        def end():
            gateway.workers[0].send(signal.SIGTERM)
            gateway.workers[0].wait()
            time.sleep(0.5)
            gateway.workers[0] = gateway.start_worker(0)

        seen = load(gateway.url, 3, end)
        assert seen["requests"] > 300
        assert seen["failures"] == 0


def test_control_is_not_needed_for_a_request():
    with temporary_folder() as folder:
        run = Running(folder)
        try:

            def kill():
                for process in psutil.process_iter(["cmdline"]):
                    line = " ".join(process.info["cmdline"] or ())
                    if "extproc.local.control" in line and str(folder) in line:
                        process.kill()

            seen = load(run.url, 3, kill)
            assert seen["requests"] > 400
            assert seen["failures"] == 0
            assert "control" in run.process.output()
        finally:
            run.stop()


def test_without_any_worker_nothing_reaches_a_provider():
    with running(workers=2) as (gateway, mock):
        for worker in gateway.workers:
            worker.stop()
        began = time.monotonic()
        answer = httpx.post(
            f"{gateway.url}/v1/chat/completions",
            json=SAY,
            headers={"authorization": f"Bearer {KEY}"},
        )
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "gateway_unavailable"
        assert time.monotonic() - began < 2
        assert mock.requests() == []
