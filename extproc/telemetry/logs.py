"""How the processes log: one line on standard error, the process' name before it.

Nothing that is logged comes from a request's or an answer's body, and no key is passed to
a logger: records name keys by their id.
"""

from __future__ import annotations

import logging


def configure(process: str, *, level: int = logging.INFO) -> None:
    """Send every log line to standard error, such as ``control: WARNING …``."""
    logging.basicConfig(
        format=f"{process}: %(levelname)s %(message)s", level=level, force=True
    )
    # A line for each request of ours to Envoy's admin interface, that the HTTP server
    # began, or that the database's tables are what they should be, is no news.
    for library in ("alembic", "httpx", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)
