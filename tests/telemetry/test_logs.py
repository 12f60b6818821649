"""Every line is one line, says which process and request it is of, and has no secret."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest

from extproc.log_settings import LogSettings
from extproc.telemetry import logs

START = """
import logging
from extproc.telemetry import logs
from extproc.log_settings import LogSettings
logs.configure('control', secrets=['the-real-secret', 'short'])
log = logging.getLogger('extproc.server.control')
"""


def written(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", START + code], capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()


def test_a_program_reads_json_with_the_request_in_it() -> None:
    [line] = written(
        "logging.getLogger('httpx').info('GET /ready')\n"
        "logging.getLogger('uvicorn.error').info('Started')\n"
        "log.warning('what %s\\ntwice', 'happened',"
        " extra={'request_id': 'r-1', 'gw_id': 'gw-1', 'fields': {'status': 502}})\n"
    )
    said = json.loads(line)
    time = said.pop("time")
    assert time.endswith("Z")
    assert "T" in time
    assert said == {
        "level": "warning",
        "process": "control",
        "logger": "extproc.server.control",
        "message": "what happened\ntwice",
        "request_id": "r-1",
        "gw_id": "gw-1",
        "status": 502,
    }


def test_people_read_one_line_with_the_process_before_it() -> None:
    assert written(
        "logs.apply(LogSettings(format='console'))\n"
        "log.warning('what %s\\ntwice', 'happened', extra={'gw_id': 'gw-1'})\n"
    ) == ["control: WARNING what happened\\ntwice gw_id=gw-1"]


def test_a_terminal_is_for_people() -> None:
    ours, theirs = os.openpty()
    code = START + "log.error('what happened')\n"
    try:
        subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True)
        assert os.read(ours, 1000) == b"control: ERROR what happened\r\n"
    finally:
        os.close(ours)
        os.close(theirs)


def test_no_line_has_a_secret_known_or_not() -> None:
    lines = written(
        "log.info('one %s', 'is the-real-secret')\n"
        "log.info('two', extra={'fields': {'end_user': 'bob@example.com',"
        " 'error': 'Bearer abcdefghijkl'}})\n"
        "try:\n    raise ValueError('three sk-0123456789abcdef')\n"
        "except ValueError:\n    log.exception('broke')\n"
        "logs.apply(LogSettings(), secrets=['another-secret'])\n"
        "log.info('four another-secret, short, gw-1f3-2a')\n"
    )
    said = [json.loads(line) for line in lines]
    assert said[0]["message"] == "one is [redacted:secret]"
    assert said[1]["end_user"] == "[redacted:email]"
    assert said[1]["error"] == "Bearer [redacted:bearer]"
    assert said[2]["message"] == "broke: ValueError('three [redacted:api_key]')"
    assert said[3]["message"] == "four [redacted:secret], short, gw-1f3-2a"


def test_levels_change_while_the_process_runs_and_change_back() -> None:
    lines = written(
        "till = logging.getLogger('extproc.server.till')\n"
        "log.debug('1'); till.debug('2')\n"
        "logs.apply(LogSettings('error', {'extproc.server.till': 'debug'}))\n"
        "log.info('3'); till.debug('4')\n"
        "logs.apply(LogSettings())\n"
        "log.info('5'); till.debug('6')\n"
        "logging.getLogger('httpx').info('7')\n"
    )
    assert [json.loads(line)["message"] for line in lines] == ["4", "5"]


def test_secrets_are_found_by_their_variables_names() -> None:
    environ = {
        "OPENAI_API_KEY": "one",
        "AWS_SECRET_ACCESS_KEY": "two",
        "AWS_SESSION_TOKEN": "three",
        "EXTPROC_DATABASE_URL": "postgresql://u:four@db/x",
        "HOME": "/root",
    }
    assert set(logs.secrets_of(environ)) == {
        "one", "two", "three", "four", "postgresql://u:four@db/x",
    }  # fmt: skip


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_every_level_that_may_be_configured_is_one(level) -> None:
    assert logging.getLevelName(level.upper()) == getattr(logging, level.upper())
    assert LogSettings(level).level == level
