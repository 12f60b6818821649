"""How the processes log: one line on standard error for each event, redacted.

JSON where a program reads it, such as

    {"time":"2026-11-25T19:49:27.123Z","level":"warning","process":"control",
     "logger":"extproc.server.books","message":"usage records wait on disk"}

and ``control: WARNING …`` on a terminal. A line that belongs to a request has its
``request_id`` (what the client was told) and ``gw_id``. Nothing that is logged comes from
a request's or an answer's body, and no key is passed to a logger; for what others say, an
exception's text among it, every line goes through `extproc.redact` all the same.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from extproc.log_settings import LogSettings
from extproc.redact import Redactor

QUIET: Final = ("alembic", "httpx", "uvicorn", "opentelemetry", "sqlalchemy")
"""Libraries that log each request of ours, or that nothing has happened."""

CARRIED: Final = ("request_id", "gw_id")
"""What `logging`'s ``extra`` may bring into a line, besides ``fields``."""

_SECRET_NAME: Final = re.compile(
    r"_(?:KEY|TOKEN|SECRET|PASSWORD|BEDROCK)$|_DATABASE_URL$"
)
_PASSWORD: Final = re.compile(r"://[^\s/@:]*:([^\s/@]+)@")


class Lines(logging.Formatter):
    """Writes records as lines, as JSON or for people.

    Attributes:
        redactor: looks at every line.
        readable: whether people read it.
    """

    def __init__(self, process: str, *, readable: bool, redactor: Redactor) -> None:
        super().__init__()
        self.redactor = redactor
        self.readable = readable
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return one line without its end."""
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message = f"{message}: {record.exc_info[1]!r}"
        more = _carried(record)
        if self.readable:
            shown = "".join(f" {name}={value}" for name, value in more.items())
            line = f"{self._process}: {record.levelname} {message}{shown}"
            return self.redactor.text(line.replace("\n", "\\n"))
        line_fields = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": message,
            **more,
        }
        return msgspec.json.encode(self.redactor.fields(line_fields)).decode()


_lines = Lines("extproc", readable=True, redactor=Redactor())
_named: set[str] = set()
"""Loggers that the configuration has given a level."""


def configure(process: str, *, secrets: Iterable[str] = ()) -> None:
    """Send every log line to standard error; `secrets` appear in none."""
    global _lines  # noqa: PLW0603  as logging itself is one for the process
    _lines = Lines(
        process, readable=sys.stderr.isatty(), redactor=Redactor(known=secrets)
    )
    handler = logging.StreamHandler()
    handler.setFormatter(_lines)
    logging.basicConfig(handlers=[handler], force=True)
    apply(LogSettings())


def apply(settings: LogSettings, *, secrets: Iterable[str] | None = None) -> None:
    """Log as `settings` say from now on.

    Levels of loggers that an earlier call named go back to what they were.
    """
    match settings.format:
        case "auto":
            _lines.readable = sys.stderr.isatty()
        case form:
            _lines.readable = form == "console"
    if secrets is not None:
        _lines.redactor = Redactor(known=secrets)
    # Of others' loggers only those that were named: libraries have levels of their own.
    for name in _named:
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger().setLevel(settings.level.upper())
    for name, level in settings.levels.items():
        logging.getLogger(name).setLevel(level.upper())
    _named.clear()
    _named.update(settings.levels)


def secrets_of(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what variables hold whose names say that it is secret."""
    for name, value in environ.items():
        if _SECRET_NAME.search(name):
            yield value
            yield from _PASSWORD.findall(value)


def redactor() -> Redactor:
    """Return what lines of this process go through."""
    return _lines.redactor


def _carried(record: logging.LogRecord) -> dict[str, object]:
    said = {name: getattr(record, name, None) for name in CARRIED}
    fields = getattr(record, "fields", None)
    if isinstance(fields, Mapping):
        said |= fields
    return {name: value for name, value in said.items() if value is not None}


def _time(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
