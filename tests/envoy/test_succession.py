"""One Envoy takes the place of another under load, and nobody notices."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from extproc.config.file_names import ADMIN_SOCKET
from extproc.local.clients import has_clients
from extproc.local.succession import LEAVING_SECONDS
from tests.harness import KEY, temporary_folder, wait_for
from tests.running import SAY, Running

pytestmark = pytest.mark.envoy

CLIENTS = 8
DRAIN = 0
"""Seconds; those before are ended three later."""


def free_address() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


class Gateway(Running):
    """Where it listens, and how long it drains, is in its file."""

    def __init__(self, folder: Path, drain: int = DRAIN) -> None:
        self._drain = drain
        super().__init__(folder, None)

    def first(self, config: dict[str, Any]) -> dict[str, Any]:
        return {
            **config,
            "listen": {"address": free_address()},
            "timeouts": {"drain": self._drain},
        }

    def configure(self, **more: Any) -> None:
        self.base = {**self.base, **more}
        self.save(self.base)

    def envoys(self, count: int) -> list[int]:
        """Wait for so many Envoys; return their ids, the oldest first."""

        def found() -> list[int] | None:
            here = []
            for one in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):  # a zombie, too
                    if "--restart-epoch" in one.cmdline():
                        here.append((one.create_time(), one.pid))
            # Not by their ids alone, which begin again from the lowest ones.
            return [pid for _, pid in sorted(here)] if len(here) == count else None

        return list(wait_for(found, self.process.output, 30))

    def control(self) -> dict[str, Any]:
        url = f"{self.control_url()}/health/ready"
        known: dict[str, Any] = httpx.get(url, timeout=30).json()
        return known

    def waits(self, words: str) -> None:
        """Wait until a bootstrap with `words` waits for another Envoy."""
        file = self.state / "xds" / "bootstrap.next.json"

        def found() -> bool | None:
            return (file.exists() and words in file.read_text()) or None

        wait_for(found, self.process.output, 20)
        assert self.control()["config"]["restart_needed"]

    def waits_no_more(self) -> None:
        def known() -> bool | None:
            return not self.control()["config"]["restart_needed"] or None

        wait_for(known, self.process.output, 20)
        assert not (self.state / "xds" / "bootstrap.next.json").exists()

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Let clients ask all the while; each gets an answer to whatever it asks."""
        over = threading.Event()
        seen: Counter[str] = Counter()
        asking = [
            threading.Thread(target=self._keep_asking, args=(over, seen))
            for _ in range(CLIENTS)
        ]
        for one in asking:
            one.start()
        try:
            yield
        finally:
            over.set()
            for one in asking:
                one.join()
        assert set(seen) == {"200"}
        assert seen["200"] > 10 * CLIENTS

    def _keep_asking(self, over: threading.Event, seen: Counter[str]) -> None:
        """Ask on a connection that is kept as long as the gateway keeps it."""
        with httpx.Client(timeout=20) as client:
            while not over.is_set():
                try:
                    answer = client.post(
                        f"{self.url}/v1/chat/completions",
                        json=SAY,
                        headers={"authorization": f"Bearer {KEY}"},
                    )
                    seen[str(answer.status_code)] += 1
                except httpx.HTTPError as error:
                    seen[repr(error)] += 1
                time.sleep(0.02)

    def stream(
        self, seconds: int = 2
    ) -> contextlib.AbstractContextManager[httpx.Response]:
        """Ask for a stream that takes so long."""
        say = f"[[mock: stall-mid-stream after=3 seconds={seconds}]] hello"
        return httpx.stream(
            "POST",
            f"{self.url}/v1/chat/completions",
            json={
                "model": "gpt-4o",
                "stream": True,
                "messages": [{"role": "user", "content": say}],
            },
            headers={"authorization": f"Bearer {KEY}"},
            timeout=30,
        )

    def back(self) -> None:
        """Wait until it serves: where the one that did is killed, nobody listens."""

        def answers() -> bool | None:
            with contextlib.suppress(httpx.TransportError):
                return self.ask("gpt-4o").status_code == 200 or None
            return None

        wait_for(answers, self.process.output, 20)

    def says(self, words: str, times: int = 1) -> None:
        wait_for(
            lambda: self.process.output().count(words) >= times or None,
            self.process.output,
            40,
        )


@contextlib.contextmanager
def gateway(drain: int = DRAIN) -> Iterator[Gateway]:
    with temporary_folder() as folder:
        running = Gateway(folder, drain)
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module")
def run():
    with gateway() as running:
        yield running


def test_another_takes_over_what_waited_and_no_request_fails(run):
    (old,) = run.envoys(1)
    run.configure(limits={"connections": 321})
    run.waits("321")
    with run.asked():
        with run.stream() as answer:
            pieces = answer.iter_text()
            text = next(pieces)
            run.process.send(signal.SIGUSR2)
            both = run.envoys(2)
            run.waits_no_more()
            text += "".join(pieces)
        assert text.endswith("data: [DONE]\n\n")
        assert run.envoys(1) == [both[1]], "the one before it has ended"
    assert both[0] == old
    assert "321" in (run.state / "xds" / "bootstrap.json").read_text()
    # What comes after reaches the new one, and control knows that it does.
    later = {"targets": [{"provider": "openai", "model": "gpt-4o"}]}
    run.configure(models={**run.base["models"], "later": later})
    run.served("later")


def test_nobody_else_can_ask_envoy_for_its_listening_sockets(run):
    (envoy,) = run.envoys(1)
    spoken = list(run.state.glob("envoy.sock*"))
    assert len(spoken) >= 2
    for socket_file in spoken:
        assert socket_file.stat().st_mode & 0o077 == 0, socket_file
    # Its default would be a name without a file, which any process can speak to.
    names = [str(one.laddr) for one in psutil.Process(envoy).net_connections("unix")]
    assert str(run.state / "admin.sock") in names
    assert not [name for name in names if "envoy_domain_socket" in name]


def test_another_address_is_served_and_one_that_is_taken_waits(run):
    (old,) = run.envoys(1)
    was = run.base["listen"]["address"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run.configure(listen={"address": f"127.0.0.1:{port}"})
        run.waits(str(port))
        run.process.send(signal.SIGUSR2)
        run.says("Envoy stays as it is: Cannot listen on")
    assert run.envoys(1) == [old]
    assert run.ask("gpt-4o").status_code == 200
    address = free_address()
    run.configure(listen={"address": address})
    run.waits(address.partition(":")[2])
    run.process.send(signal.SIGUSR2)
    run.url = f"http://{address}"
    run.waits_no_more()
    run.served("gpt-4o")
    assert run.envoys(1) != [old]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{was}/health/live")


def test_a_successor_that_dies_once_it_serves_is_started_again(run):
    (old,) = run.envoys(1)
    before = run.process.output().count("another Envoy serves")
    run.process.send(signal.SIGUSR2)
    run.says("another Envoy serves", before + 1)
    psutil.Process(run.envoys(2)[1]).kill()
    # The one before it does not accept any more, and is not waited for.
    run.back()
    run.says("Envoy died (signal SIGKILL")
    assert old not in run.envoys(1)
    # It follows nobody; another can follow it.
    run.process.send(signal.SIGUSR2)
    run.says("another Envoy serves", before + 2)
    run.served("gpt-4o")
    run.envoys(1)


def test_a_successor_that_dies_before_it_serves_changes_nothing(run):
    run.envoys(1)
    stayed, served = (
        run.process.output().count(words)
        for words in ("Envoy stays as it is", "another Envoy serves")
    )
    run.process.send(signal.SIGUSR2)
    psutil.Process(run.envoys(2)[1]).kill()
    assert run.ask("gpt-4o").status_code == 200
    run.says("Envoy stays as it is", stayed + 1)
    assert run.ask("gpt-4o").status_code == 200
    # Whatever it took away, control can ask Envoy, and another can follow.
    wait_for(lambda: run.control()["envoy"]["ready"] or None, run.process.output, 20)
    run.envoys(1)
    run.process.send(signal.SIGUSR2)
    run.says("another Envoy serves", served + 1)
    assert run.ask("gpt-4o").status_code == 200
    run.envoys(1)


def test_sigterm_waits_for_the_streams_of_both_and_for_nobody_who_is_not_there():
    with gateway(drain=120) as run:
        (old,) = run.envoys(1)
        with run.stream() as answer:
            pieces = answer.iter_text()
            text = next(pieces)
            assert has_clients(old, {httpx.URL(run.url).port or 0})
            run.process.send(signal.SIGUSR2)
            run.says("another Envoy serves")
            run.process.send(signal.SIGTERM)
            text += "".join(pieces)
        assert text.endswith("data: [DONE]\n\n")
        # Not the two minutes that both might have taken.
        assert run.process.wait(30) == 0


def test_where_one_follows_that_follows_nobody_no_request_fails_either(run):
    (old,) = run.envoys(1)
    with run.asked():
        run.process.send(signal.SIGUSR2)
        psutil.Process(run.envoys(2)[1]).kill()
        # It is told to let its clients go, before it is ended.
        port = httpx.URL(run.url).port or 0
        wait_for(lambda: not has_clients(old, {port}) or None, run.process.output, 10)
        assert old not in run.envoys(1)


@pytest.mark.parametrize("after", [0, 0.1, 0.2])
def test_sigterm_in_the_middle_of_it_cuts_no_stream(after):
    with gateway(drain=20) as run:
        run.envoys(1)
        with run.stream() as answer:
            pieces = answer.iter_text()
            text = next(pieces)
            run.process.send(signal.SIGUSR2)
            both = run.envoys(2)
            time.sleep(after)
            run.process.send(signal.SIGTERM)
            text += "".join(pieces)
        assert text.endswith("data: [DONE]\n\n")
        assert run.process.wait(15) == 0
        assert not any(map(psutil.pid_exists, both))


def taken(path: Path) -> int:
    """Return when a socket was made; its inode's number may be that of one before it."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_ctime_ns
    return 0


def test_sigterm_cuts_no_stream_where_none_could_follow():
    """The first has taken the admin interface away, the second was to follow nobody."""
    with gateway(drain=20) as run:
        (old,) = run.envoys(1)
        with run.stream(seconds=8) as answer:
            pieces = answer.iter_text()
            text = next(pieces)
            began = time.monotonic()
            admin = run.state / ADMIN_SOCKET
            had = taken(admin)
            run.process.send(signal.SIGUSR2)
            (_, taker) = run.envoys(2)
            wait_for(lambda: taken(admin) != had or None, run.process.output, 10)
            psutil.Process(taker).kill()
            run.says("its successor did not serve")
            (_, follower) = run.envoys(2)
            psutil.Process(follower).kill()
            assert run.envoys(1) == [old]
            run.process.send(signal.SIGTERM)
            assert time.monotonic() - began < 7
            text += "".join(pieces)
        assert text.endswith("data: [DONE]\n\n")
        assert run.process.wait(15) == 0
        assert not psutil.pid_exists(old)


def test_a_second_signal_in_the_middle_of_it_ends_all_at_once():
    with gateway(drain=20) as run:
        run.envoys(1)
        with run.stream() as answer:
            next(answer.iter_text())
            run.process.send(signal.SIGUSR2)
            both = run.envoys(2)
            run.process.send(signal.SIGTERM)
            run.says("again to stop now")
            run.process.send(signal.SIGTERM)
            assert run.process.wait(2) == 0
        assert not any(map(psutil.pid_exists, both))


@pytest.mark.parametrize("after", [0, 0.1, 0.2])
def test_one_that_dies_in_the_middle_of_it_is_started_again(run, after):
    """By then its successor may have its listening sockets, and its admin interface."""
    (old,) = run.envoys(1)
    run.process.send(signal.SIGUSR2)
    run.envoys(2)
    time.sleep(after)
    psutil.Process(old).kill()
    run.back()
    takes_over_again(run)


@pytest.mark.parametrize("soon", [True, False])
def test_one_that_dies_while_it_leaves_takes_nobody_with_it(run, soon):
    """Its successor would tell it to end: once it is time, or when another comes."""
    (old,) = run.envoys(1)
    before = run.process.output().count("another Envoy serves")
    run.process.send(signal.SIGUSR2)
    run.says("another Envoy serves", before + 1)
    psutil.Process(old).kill()
    (new,) = run.envoys(1)
    if not soon:
        time.sleep(DRAIN + LEAVING_SECONDS + 2)
        assert run.envoys(1) == [new]
    takes_over_again(run)


def takes_over_again(run: Gateway) -> None:
    """See that control can ask the one that serves, and another can follow it."""
    (old,) = run.envoys(1)
    wait_for(lambda: run.control()["envoy"]["ready"] or None, run.process.output, 3)
    before = run.process.output().count("another Envoy serves")
    with run.stream() as answer:
        pieces = answer.iter_text()
        text = next(pieces)
        run.process.send(signal.SIGUSR2)
        run.says("another Envoy serves", before + 1)
        text += "".join(pieces)
    assert text.endswith("data: [DONE]\n\n")
    assert run.envoys(1) != [old]
    assert "SIGABRT" not in run.process.output()
