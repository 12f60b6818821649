"""The supervisor's parts: children, places, ports; whole runs are in tests/envoy."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest

from extproc.local import place
from extproc.local.child import TETHER, Child, Kept, exit_cause, our_log
from extproc.local.greeting import Greeting
from extproc.local.launch import (
    Launch,
    Options,
    control_address,
    reachable,
    visible,
    worker_environ,
)
from extproc.local.place import CannotRun

ENVIRON = dict(os.environ)


def child(code: str, log: Path | None = None) -> Child:
    return Child([sys.executable, "-c", code], environ=ENVIRON, log=log)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_child_ends_with_its_code_and_its_group(tmp_path: Path) -> None:
    async def main() -> None:
        first = child("raise SystemExit(7)")
        assert os.getpgid(first.pid) == first.pid
        assert await first.wait() == 7
        # A grandchild goes too, though it ignores the polite signal.
        file = tmp_path / "pid"
        second = child(
            "import subprocess, sys, signal, pathlib, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n"
            f"pathlib.Path({str(file)!r}).write_text(str(p.pid))\n"
            "time.sleep(99)\n"
        )
        await until(lambda: file.exists() and file.read_text())
        grandchild = psutil.Process(int(file.read_text()))
        await second.stop(0.1)
        assert second.code == -signal.SIGKILL
        await until(
            lambda: (
                not grandchild.is_running()
                or grandchild.status() == psutil.STATUS_ZOMBIE
            )
        )

    asyncio.run(main())


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    """Whoever kills the supervisor, and however."""
    file = tmp_path / "pid"
    code = (
        "import asyncio, os, pathlib, sys\n"
        "from extproc.local.child import Child\n"
        "async def main():\n"
        "    command = [sys.executable, '-c', 'import time; time.sleep(99)']\n"
        "    child = Child(command, environ=os.environ)\n"
        f"    pathlib.Path({str(file)!r}).write_text(str(child.pid))\n"
        "    await child.wait()\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    while not (file.exists() and file.read_text()):
        time.sleep(0.01)
    orphan = psutil.Process(int(file.read_text()))
    while "tether" in " ".join(orphan.cmdline()):
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    orphan.wait(5)


def test_a_child_whose_parent_is_gone_already_does_not_begin() -> None:
    command = [sys.executable, "-I", "-S", str(TETHER), "1", sys.executable, "-c", "0"]
    assert subprocess.run(command, check=False).returncode == (
        0 if os.getpid() == 1 else 1
    )


def test_a_program_is_started_again_until_it_is_stopped() -> None:
    async def main() -> None:
        starts: list[float] = []
        deaths: list[int] = []

        def start() -> Child:
            starts.append(time.monotonic())
            return child("raise SystemExit(3)")

        kept = Kept("it", start)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kept.keep(lambda _, code: deaths.append(code)))
            await until(lambda: len(starts) == 4)
            await kept.stop(1)
            # It must not sit out its pause.
            began = time.monotonic()
        assert time.monotonic() - began < 1
        assert deaths[:3] == [3, 3, 3]
        # At once the first time, then after a pause that grows.
        gaps = [b - a for a, b in itertools.pairwise(starts)]
        assert gaps[2] - gaps[0] > 0.1

    asyncio.run(main())


LIVE = "import time; time.sleep(99)"


@pytest.mark.parametrize(
    ("code", "comes_to_it", "takes_over"),
    [
        (LIVE, True, True),
        (LIVE, False, False),  # it never serves
        ("raise SystemExit(1)", None, False),
    ],
)
def test_a_successor_is_kept_from_when_it_serves(
    code: str, comes_to_it: bool | None, takes_over: bool
) -> None:
    async def main() -> None:
        deaths: list[int] = []
        successors: list[Child] = []

        def start() -> Child:
            successors.append(child(code))
            return successors[-1]

        async def serves() -> bool:
            if comes_to_it is None:
                await asyncio.Event().wait()
            return bool(comes_to_it)

        kept = Kept("it", lambda: child(LIVE))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kept.keep(lambda _, code: deaths.append(code)))
            await until(lambda: kept.child)
            first = kept.child
            assert first is not None
            assert await kept.hand_over(start, serves) is takes_over
            (successor,) = successors
            assert kept.child is (successor if takes_over else first)
            if takes_over:
                # The one before it may end, and its end is no death.
                first.kill()
                await first.wait()
                assert deaths == []
                # The successor's is, whether the one before it is there or not.
                successor.kill()
                await until(lambda: kept.child is not successor)
                assert deaths == [-signal.SIGKILL]
            else:
                await successor.wait()
                assert first.code is None
            await kept.stop(1)

    asyncio.run(main())


def test_the_end_of_one_that_took_over_is_seen_while_the_other_still_leaves() -> None:
    async def main() -> None:
        deaths: list[int] = []
        kept = Kept("it", lambda: child(LIVE))

        async def serves() -> bool:
            return True

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kept.keep(lambda _, code: deaths.append(code)))
            await until(lambda: kept.child)
            first = kept.child
            assert await kept.hand_over(lambda: child(LIVE), serves)
            assert kept.child is not None
            kept.child.kill()
            await until(lambda: deaths)
            assert first is not None
            assert first.code is None
            await kept.stop(1)
            assert first.code is not None, "both end"

    asyncio.run(main())


@pytest.mark.parametrize("how", ["it dies", "all stops"])
def test_nobody_takes_over_from_one_that_is_gone(how: str) -> None:
    """What was to follow it ends, and is not waited for."""

    async def main() -> None:
        successors: list[Child] = []
        kept = Kept("it", lambda: child(LIVE))

        def start() -> Child:
            successors.append(child(LIVE))
            return successors[-1]

        async def serves() -> bool:
            await asyncio.Event().wait()
            return True

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kept.keep(lambda _, __: None))
            await until(lambda: kept.child)
            first = kept.child
            assert first is not None
            taking = tasks.create_task(kept.hand_over(start, serves))
            await until(lambda: successors)
            if how == "it dies":
                first.kill()
            else:
                await kept.stop(1)
            async with asyncio.timeout(5):
                assert not await taking
            assert successors[0].code is not None
            assert kept.child is not successors[0]
            await kept.stop(1)
            assert not await kept.hand_over(start, serves)
            assert len(successors) == 1, "none is begun"

    asyncio.run(main())


def test_the_last_line_of_a_log_says_why(tmp_path: Path) -> None:
    async def main() -> None:
        log = tmp_path / "log"
        kept = Kept("it", lambda: child("print('a'); print('no port')", log), log=log)
        assert kept.last_words() == ""
        said: list[str] = []
        async with asyncio.TaskGroup() as tasks:
            # When it is asked for: a later start begins the log anew.
            tasks.create_task(kept.keep(lambda it, _: said.append(it.last_words())))
            await until(lambda: said)
            await kept.stop(1)
        assert said[0] == ": no port"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "cause"),
    [(2, "exit code 2"), (-9, "signal SIGKILL"), (-11, "signal SIGSEGV")],
)
def test_an_exit_is_said_in_words(code: int, cause: str) -> None:
    assert exit_cause(code) == cause


def test_a_state_folder_is_named_for_what_tells_gateways_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def name(
        *,
        state: Path | None = None,
        listen: str | None = None,
        config: Path | None = None,
        environ: str | None = None,
    ) -> str:
        found = place.state_folder(
            state=state, listen=listen, config=config, environ=environ
        )
        return str(found.relative_to(tmp_path))

    assert name() == ".extproc/8080"
    assert name(listen="127.0.0.1:9000", config=Path("a.yaml")) == ".extproc/9000"
    assert name(config=Path("a.yaml")).startswith(".extproc/a-")
    assert name(config=Path("a.yaml")) != name(config=Path("b/a.yaml"))
    assert name(state=Path("s"), listen="127.0.0.1:9000") == "s"
    assert name(environ="e", listen="127.0.0.1:9000") == "e"


def test_the_log_of_a_child_is_ours_alone(tmp_path: Path) -> None:
    """Envoy's is not redacted, and a state folder that was there may be open to others."""

    async def play() -> None:
        before = os.umask(0)
        try:
            one = child("print('a')", tmp_path / "log")
        finally:
            os.umask(before)
        await one.wait()

    asyncio.run(play())
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "log").read_text() == "a\n"
    (tmp_path / "log").chmod(0o666)
    our_log(tmp_path / "log", anew=True).close()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "log").read_text() == ""
    (tmp_path / "link").symlink_to(tmp_path / "log")
    with pytest.raises(OSError, match="symbolic links"):
        our_log(tmp_path / "link")


def test_a_state_folder_is_used_by_one_gateway(tmp_path: Path) -> None:
    with (
        place.locked(tmp_path / "s"),
        pytest.raises(CannotRun, match="Another gateway runs"),
        place.locked(tmp_path / "s"),
    ):
        pass
    with place.locked(tmp_path / "s"):
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700


def test_a_state_folder_and_those_above_it_are_for_nobody_else(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with place.locked(tmp_path / "a" / "b" / "s"):
            pass
    finally:
        os.umask(before)
    for made in ("a", "a/b", "a/b/s"):
        assert (tmp_path / made).stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a/b/s/lock").stat().st_mode & 0o777 == 0o600


def test_a_state_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "s" / "xds").mkdir(parents=True)
    (tmp_path / "s" / "xds").chmod(0o777)
    (tmp_path / "s" / "old").write_text("")
    (tmp_path / "s").chmod(0o2775)
    with place.locked(tmp_path / "s"):
        assert (tmp_path / "s").stat().st_mode & 0o7777 == 0o2755
        assert (tmp_path / "s" / "xds").stat().st_mode & 0o777 == 0o755


Planter = Callable[[Path, Path], object]
PLANTED: list[tuple[str, Planter]] = [
    ("envoy.log", lambda path, victim: path.symlink_to(victim)),
    ("snapshot.msgpack", lambda path, _: path.symlink_to("/etc/passwd")),
    ("xds", lambda path, victim: path.symlink_to(victim.parent)),
    ("journals/1.journal", lambda path, victim: path.symlink_to(victim)),
    ("lock", lambda path, victim: path.symlink_to(victim)),
    ("extproc.db", lambda path, _: os.mkfifo(path)),
    ("requests.jsonl", lambda path, victim: path.hardlink_to(victim)),
]


@pytest.mark.parametrize(("what", "plant"), PLANTED)
def test_what_somebody_has_put_into_the_state_folder_is_not_used(
    what: str, plant: Planter, tmp_path: Path
) -> None:
    state, victim = tmp_path / "s", tmp_path / "victim"
    path = state / what
    path.parent.mkdir(parents=True)
    state.chmod(0o777)
    victim.write_text("precious")
    plant(path, victim)
    with (
        pytest.raises(CannotRun, match=f"{path} is no file of this gateway's"),
        place.locked(state),
    ):
        pass
    assert victim.read_text() == "precious"


def test_a_state_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    with (
        pytest.raises(CannotRun, match="belongs to another user"),
        place.locked(tmp_path),
    ):
        pass


def test_a_state_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CannotRun, match="cannot be used: Not a directory"),
        place.locked(tmp_path / "file" / "s"),
    ):
        pass


def test_sockets_get_a_short_folder_when_the_state_is_deep(tmp_path: Path) -> None:
    with place.socket_folder(tmp_path) as folder:
        assert folder == tmp_path
        (folder / "w0.sock").touch()
    assert not list(tmp_path.glob("*.sock"))
    deep = tmp_path.joinpath(*["a-long-folder-name"] * 6)
    with place.socket_folder(deep) as folder:
        longest = os.fsencode(folder / place.LONGEST_SOCKET)
        assert len(longest) <= place.MAX_SOCKET_PATH
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_a_short_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    deep = tmp_path.joinpath(*["a-long-folder-name"] * 6)
    (tmp_path / "t").mkdir()
    with place.socket_folder(deep) as folder:
        pass
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(CannotRun, match="not private"), place.socket_folder(deep):
        pass


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.socket() as taken:
        # As Envoy does: without a check, a second one would share it silently.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotRun) as caught:
            place.check_free(address, "--listen")
        assert str(caught.value) == (
            f"Cannot listen on {address}: address already in use; "
            "choose another with --listen."
        )
        assert place.free_port(taken.getsockname()[1]) != taken.getsockname()[1]
    place.check_free(address, "--listen")


@pytest.mark.parametrize(
    ("options", "control"),
    [
        (Options(), None),
        (Options(listen="127.0.0.1:9000"), "127.0.0.1:9001"),
        (Options(listen="[::1]:9000"), "[::1]:9001"),
        (Options(listen="127.0.0.1:0"), "127.0.0.1:0"),
        (Options(listen="127.0.0.1:9000", control="127.0.0.1:1"), "127.0.0.1:1"),
        (Options(listen="127.0.0.1:9000", config=Path("a.yaml")), None),
    ],
)
def test_control_listens_beside_the_gateway(
    options: Options, control: str | None
) -> None:
    assert control_address(options) == control


def test_everybody_is_reached_on_loopback() -> None:
    assert reachable("0.0.0.0:80") == "127.0.0.1:80"
    assert reachable("[::]:80") == "[::1]:80"
    assert reachable("10.0.0.1:80") == "10.0.0.1:80"


LARGE_BODIES = """
import psutil
before = psutil.Process().memory_info().rss
for _ in range(3):
    body = b"a" * (24 << 20)
    del body
print(psutil.Process().memory_info().rss - before)
"""


def test_a_worker_gives_the_memory_of_large_bodies_back() -> None:
    def kept(environ: Mapping[str, str]) -> int:
        done = subprocess.run(
            [sys.executable, "-c", LARGE_BODIES],
            env=dict(environ),
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    assert kept(os.environ) > 20 << 20, "glibc by itself keeps one"
    assert kept(worker_environ(os.environ)) < 4 << 20


def test_only_the_mocks_means_that_no_key_is_seen(tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "sk-1", "PATH": "/bin"}
    url = "http://127.0.0.1:9"
    assert visible(environ, mock_url=url, mock_only=True) == {
        "PATH": "/bin",
        "EXTPROC_MOCK_URL": url,
    }
    assert visible(environ, mock_url=None, mock_only=False) == environ
    launch = Launch(
        options=Options(mock=True), state=tmp_path, run=tmp_path, mock_url=url
    )
    assert "--mock-only" in launch.control(resume=False)
    # Another key must then not mean another compile.
    assert launch.digest(environ) == launch.digest({"PATH": "/bin"})


def test_the_greeting_never_shows_a_key_twice() -> None:
    greeting = Greeting(
        url="http://127.0.0.1:8080",
        control_url="http://127.0.0.1:8081",
        providers=("openai", "anthropic"),
        models=tuple(f"m{n}" for n in range(9)),
        mocked=False,
        key="sk-new",
        key_source="new",
    )
    text = greeting.text()
    assert "openai, anthropic" in text
    assert "m5, …" in text
    assert "m6" not in text
    assert text.count("sk-new") == 2  # once for curl, once for Python
    earlier = Greeting(
        url="http://h", control_url="http://c", providers=(), models=("m",), mocked=True
    ).text()
    assert '"Authorization: Bearer $EXTPROC_KEY"' in earlier
    assert 'os.environ["EXTPROC_KEY"]' in earlier
    assert "`extproc keys reset` makes a new one" in earlier
