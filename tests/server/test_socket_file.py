"""Whose the socket file is, at its beginning and at its end."""

from __future__ import annotations

import shutil
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from extproc.server import socket_file


@pytest.fixture
def path():
    # Not tmp_path: a socket's path may have 107 bytes.
    folder = tempfile.mkdtemp()
    yield Path(folder) / "x.sock"
    shutil.rmtree(folder)


def test_only_our_own_user_may_connect(path):
    listener, bound = socket_file.bind(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listener.listen()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()
    socket_file.unbind(bound)
    assert not path.exists()
    socket_file.unbind(bound)


def test_a_stale_file_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    before = path.stat().st_ino, path.stat().st_mtime_ns
    listener, _ = socket_file.bind(path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) != before
    listener.close()


def test_a_file_that_is_no_socket_is_left_alone(path):
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="no socket"):
        socket_file.bind(path)
    assert path.read_text() == "precious"


def test_a_path_that_cannot_be_bound_is_an_error(path):
    with pytest.raises(OSError, match="No such file"):
        socket_file.bind(path.parent / "missing" / "x")


def test_the_file_of_a_successor_stays(path):
    first, bound = socket_file.bind(path)
    second, later = socket_file.bind(path)
    socket_file.unbind(bound)
    assert path.exists()
    socket_file.unbind(later)
    assert not path.exists()
    first.close()
    second.close()
