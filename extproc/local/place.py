"""Where a gateway's state and sockets are, and that only one gateway uses them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import resource
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from extproc.config.endpoint import split_address

STATE_VARIABLE: Final = "EXTPROC_STATE"
STATES: Final = Path(".extproc")
DEFAULT_PORT: Final = 8080
MAX_SOCKET_PATH: Final = 107
"""``sun_path`` is 108 bytes with its final zero (unix(7))."""
LONGEST_SOCKET: Final = "envoy.sock_udp_parent_1342177279"
"""Of those by which one Envoy speaks to its successor (`succession`)."""
OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_KINDS: Final = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFSOCK})
"""What a gateway leaves in its folder: no link, no pipe, no device."""
WANTED_FILES: Final = 1 << 20
"""Two a connection and some: above what 20,000 clients with streams need."""


class CannotRun(Exception):
    """The gateway cannot start; the message is one sentence for the user."""


def state_folder(
    *, state: Path | None, listen: str | None, config: Path | None, environ: str | None
) -> Path:
    """Return the folder of a gateway's state: the same for the same command line.

    Without a ``--state`` it is named for what tells two gateways apart: the port, or the
    configuration that has it.
    """
    if state is not None or environ:
        return (state or Path(environ or "")).absolute()
    if listen is not None:
        name = str(split_address(listen)[1])
    elif config is not None:
        path = str(config.absolute())
        name = f"{config.stem}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    else:
        name = str(DEFAULT_PORT)
    return (STATES / name).absolute()


@contextlib.contextmanager
def locked(state: Path) -> Iterator[None]:
    """Make `state`, and keep other gateways and other users out of it.

    Raises:
        CannotRun: it cannot be made, another gateway uses it, or somebody else could have
            put something into it that we would follow.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # Not by `parents`, which has the umask say who else may write to them.
        for folder in (*reversed(state.parents), state):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
        _take(state)
        handle = os.open(state / "lock", flags, 0o600)
    except OSError as error:
        raise CannotRun(
            f"The state folder {state} cannot be used: {error.strerror}."
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CannotRun(
                f"Another gateway runs with the state folder {state}: choose another "
                "port with --listen, or another folder with --state."
            ) from error
        yield
    finally:
        os.close(handle)


def _take(state: Path) -> None:
    """See that all of `state` is ours, and nobody else's to change from now on.

    Raises:
        CannotRun: something in it is not.
        OSError: it cannot be looked at.
    """
    found = state.stat()
    if found.st_uid != os.geteuid():
        raise CannotRun(
            f"The state folder {state} belongs to another user: choose another one with "
            "--state, such as a new folder in it."
        )
    was_open = bool(found.st_mode & OTHERS_WRITE)
    if was_open:
        state.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS_WRITE)
    for path in _below(state):
        found = path.lstat()
        kind = stat.S_IFMT(found.st_mode)
        # Where others could write, a second name for a file of ours may be theirs.
        linked = was_open and kind == stat.S_IFREG and found.st_nlink > 1
        if kind not in _KINDS or linked or found.st_uid != os.geteuid():
            raise CannotRun(
                f"{path} is no file of this gateway's: see who has put it there, and "
                "remove it."
            )
        if kind == stat.S_IFDIR and found.st_mode & OTHERS_WRITE:
            path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS_WRITE)


def _below(folder: Path) -> Iterator[Path]:
    """Yield what is in `folder`, and in the folders in it."""
    for path in sorted(folder.iterdir()):
        yield path
        if stat.S_ISDIR(path.lstat().st_mode):
            yield from _below(path)


@contextlib.contextmanager
def socket_folder(state: Path) -> Iterator[Path]:
    """Return the folder for the sockets: `state`, or a short one when it is too long.

    Raises:
        CannotRun: the short one is somebody else's.
    """
    if len(os.fsencode(state / LONGEST_SOCKET)) <= MAX_SOCKET_PATH:
        try:
            yield state
        finally:
            for path in state.glob("*.sock*"):
                path.unlink(missing_ok=True)
        return
    name = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
    short = Path(tempfile.gettempdir(), f"extproc-{os.getuid()}-{name}")
    short.mkdir(mode=0o700, exist_ok=True)
    # In a folder that everybody may write to: it must be a folder of ours.
    found = short.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or not short.is_dir():
        raise CannotRun(f"The folder {short} is not private to this user: remove it.")
    try:
        yield short
    finally:
        shutil.rmtree(short, ignore_errors=True)


def check_free(address: str, option: str) -> None:
    """See that `address` can be listened on; `option` is how to choose another.

    Envoy would share the port of another Envoy without a word (``SO_REUSEPORT``).

    Raises:
        CannotRun: it cannot.
    """
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(1)
    except OSError as error:
        raise CannotRun(
            f"Cannot listen on {address}: {(error.strerror or '').lower()}; choose "
            f"another with {option}."
        ) from error


def free_port(preferred: int | None) -> int:
    """Return a free port on loopback: `preferred`, if it is."""
    for port in (preferred or 0, 0):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            found: int = sock.getsockname()[1]
            return found
    raise CannotRun("There is no free port on 127.0.0.1.")


def allowed_files() -> int | None:
    """Return how many files a child of `extproc run` may open; None: any number."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us have; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = WANTED_FILES if hard == unlimited else min(hard, WANTED_FILES)
    if soft not in {unlimited, wanted} and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
