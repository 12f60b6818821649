"""What ends a stream of chunks that has begun; other errors are in `openai_errors`."""

from __future__ import annotations

from extproc.errors import GatewayError
from extproc.formats.openai_errors import write_error
from extproc.framing.sse import encode_frame


def write_error_event(error: GatewayError) -> bytes:
    """Write what ends a stream that has begun.

    openai-python and openai-node raise ``APIError`` for a frame with a top-level
    ``error`` and read no further; a ``[DONE]`` behind it would tell other clients that
    all was well.
    """
    return encode_frame(write_error(error))
