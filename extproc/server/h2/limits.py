"""How much a peer may ask of one connection, and why each number is what it is.

Rates are counted between two calls of ``ServerConnection.replenish``, which the edge
makes every half second: the core has no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one connection."""

    concurrent_streams: int = 4096
    """A stream lives as long as the client's answer streams, so thousands are normal. An
    idle one costs about 1 KiB here and more in Envoy; beyond, Envoy opens a connection."""

    header_list: int = 16 * KIB
    """Envoy's own request head is under 1 KiB: the client's headers travel inside
    messages. nginx gives a head 8 KiB to 32 KiB, Node.js 16 KiB. Above it: HTTP 431."""

    header_block: int = 64 * KIB
    """A head over the limit above must still be decoded, for the compression state is
    shared by all streams; above this one the connection ends instead."""

    continuations: int = 16
    """Frames a head may be spread over. `header_block` bounds bytes, not empty frames
    (CVE-2024-27316 and its kin); 64 KiB in frames of 16 KiB needs four."""

    message: int = 64 * MIB
    """Bodies go to 32 MiB, and a message holds one whole body plus its headers."""

    partial_messages: int = 512 * MIB
    """All incomplete messages of the connection together: otherwise the two limits above
    multiply to 256 GiB."""

    outgoing: int = 256 * MIB
    """Replies waiting for the peer's window: eight whole bodies. A peer that grants
    nothing while it goes on asking would otherwise take all our memory."""

    frame: int = 256 * KIB
    """Largest frame we take. The default of 16 KiB makes 2,048 frames of a 32 MiB body."""

    stream_window: int = 256 * KIB
    """Bytes of one stream that come unasked: more wait until there is room for the whole
    body (`server.bodies`). 64 KiB would cost a WINDOW_UPDATE every 32 KiB."""

    connection_window: int = 16 * MIB
    """Bytes of all streams in flight: sixty-four whole stream windows."""

    control_frames: int = 1000
    """PING and SETTINGS a period, each of which we must answer (CVE-2019-9512, -9515).
    Envoy's keepalive sends one PING a period."""

    resets: int = 10_000
    """Streams a period that the peer resets before their answer, or makes us reset
    (CVE-2023-44487, CVE-2025-8671). All streams of a connection can fall at once when
    clients leave, and a second generation soon after: twice `concurrent_streams`, and
    some more."""

    hollow_frames: int = 20_000
    """Frames a period that carry nothing: empty DATA, PRIORITY, unknown types, frames for
    closed streams (CVE-2019-9518). Envoy answers each finished stream with one."""
