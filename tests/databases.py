"""Every test of the database runs over both: a SQLite file, and a real Postgres."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from extproc.db.database import Database
from extproc.db.tables import Base
from tests.harness import Process, wait_for


def _binary(name: str) -> str:
    """Debian keeps the servers of several versions out of the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join(map(str, folders))) or shutil.which(
        name
    )
    assert found, f"{name} is missing (Debian package: postgresql)"
    return found


def _as_nobody_special(folder: Path) -> list[str]:
    """Postgres refuses to be run by root."""
    if os.getuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


class Postgres:
    """A server that listens on a unix socket only; it may be stopped and started."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.folder.chmod(0o755)
        self._data = self.folder / "data"
        self._data.mkdir(mode=0o700)
        _as_nobody_special(self.folder)
        self._user = _as_nobody_special(self._data)
        subprocess.run(
            [*self._user, _binary("initdb"), "-D", self._data, "-U", "extproc",
             "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8",
             # As most have it: `b` comes before `C`.
             "--locale-provider=icu", "--icu-locale=en"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        self.url = f"postgresql+psycopg://extproc@/postgres?host={self.folder}"
        self.start()

    def start(self) -> None:
        self._server = Process(
            *self._user, _binary("postgres"), "-D", str(self._data),
            "-k", str(self.folder), "-c", "listen_addresses=", "-c", "fsync=off",
            "-c", "shared_buffers=16MB",
            log=self.folder.parent / f"{self.folder.name}.log",
        )  # fmt: skip
        wait_for(self._answers, self._server.output)

    def _answers(self) -> bool | None:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with contextlib.suppress(sa.exc.OperationalError), engine.connect():
            return True
        return None

    def stop(self) -> None:
        """Leave whoever is connected alone, as in an outage."""
        self._server.send(signal.SIGQUIT)
        self._server.wait()

    @property
    def log(self) -> Path:
        """What the server says."""
        return self._server.log

    def close(self) -> None:
        self._server.stop()
        self._server.log.unlink()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a Postgres."""
    server = Postgres()
    try:
        yield server.url
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with its tables."""
    if request.param == "sqlite":
        database = Database.in_folder(tmp_path / "state")
    else:
        database = Database(request.getfixturevalue("postgres"))
    database.migrate()
    yield database
    with database.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(sa.delete(table))
    database.close()
