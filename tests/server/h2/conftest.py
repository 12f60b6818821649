"""Two clients: one that writes frames by hand, and the `h2` package."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import h2.config
import h2.connection
import h2.events
import hpack
import pytest

from extproc.server.h2 import events as happened, frames
from extproc.server.h2.connection import ServerConnection
from extproc.server.h2.frames import FrameType

REQUEST = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/envoy.service.ext_proc.v3.ExternalProcessor/Process"),
    (b":authority", b"worker"),
    (b"te", b"trailers"),
    (b"grpc-timeout", b"5S"),
    (b"content-type", b"application/grpc"),
)


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self):
        """The error code of RST_STREAM and GOAWAY."""
        return int.from_bytes(
            self.payload[-4:] if self.kind == 3 else self.payload[4:8]
        )


def parse(data):
    found = []
    while data:
        word, flags, stream = frames.HEAD.unpack_from(data)
        size = 9 + (word >> 8)
        found.append(Frame(word & 0xFF, flags, stream, data[9:size]))
        data = data[size:]
    return found


class RawPeer:
    """Writes frames by hand, and parses the answers."""

    def __init__(self, limits=None, *, split=None, shake=True):
        self.server = ServerConnection(limits)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.split = split
        self.events = []
        self.greeting = parse(self.server.data_to_send())
        if shake:
            self.send(frames.PREFACE + frames.settings({}))
            self.send(frames.frame(FrameType.SETTINGS, frames.ACK, 0))
            self.encoder.header_table_size = 0

    def send(self, data):
        """Return the frames that the server answers with."""
        size = self.split or max(len(data), 1)
        for start in range(0, len(data), size):
            self.events += self.server.receive_data(data[start : start + size])
        return parse(self.server.data_to_send())

    def request(self, stream_id, *, flags=frames.END_HEADERS, headers=REQUEST):
        block = self.encoder.encode(headers)
        return frames.frame(FrameType.HEADERS, flags, stream_id, block)

    def open(self, stream_id, *, ended=False):
        end = frames.END_STREAM if ended else 0
        return self.send(self.request(stream_id, flags=frames.END_HEADERS | end))

    def fields(self, frame):
        return dict(self.decoder.decode(frame.payload, raw=True))


class LibraryPeer:
    """The `h2` package as client: it judges everything that we send."""

    def __init__(self, limits=None, *, cut=None):
        self.server = ServerConnection(limits)
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
        self.h2.initiate_connection()
        self.cut = cut or (lambda data: [data])
        self.events = []
        self.bodies = defaultdict(bytearray)
        self.trailers = {}
        self.ended = set()
        self.resets = {}
        self.withhold = False
        """Whether to give no credit for what is received."""
        self.owed = defaultdict(int)
        self.gone = None
        self.replies = lambda _event: None

    def exchange(self):
        """Carry bytes both ways until there are none; the server's replies included."""
        while True:
            up = self.h2.data_to_send()
            for piece in self.cut(up):
                for happening in self.server.receive_data(piece):
                    self.events.append(happening)
                    self.replies(happening)
            down = self.server.data_to_send()
            for piece in self.cut(down):
                for event in self.h2.receive_data(piece):
                    self._take(event)
            if not up and not down:
                return

    def _take(self, event):
        match event:
            case h2.events.DataReceived():
                self.bodies[event.stream_id] += event.data
                self.owed[event.stream_id] += event.flow_controlled_length
                if not self.withhold:
                    self.release()
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                fields = dict(event.headers)
                if b"grpc-status" in fields:
                    self.trailers[event.stream_id] = fields
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.StreamReset():
                self.resets[event.stream_id] = event.error_code
            case h2.events.ConnectionTerminated():
                self.gone = event
            case _:
                pass

    def release(self):
        """Give the credit that is owed."""
        while self.owed:
            stream_id, size = self.owed.popitem()
            if size:
                self.h2.acknowledge_received_data(size, stream_id)

    def send_body(self, stream_id, body, *, end=True):
        """Send as the windows allow, the exchange going on in between."""
        view, stuck = memoryview(body), 0
        while view:
            room = min(
                self.h2.local_flow_control_window(stream_id),
                self.h2.max_outbound_frame_size,
            )
            if room:
                self.h2.send_data(stream_id, bytes(view[:room]))
                view = view[room:]
            stuck = 0 if room else stuck + 1
            assert stuck < 2, "the server gives no more credit"
            self.exchange()
        if end:
            self.h2.end_stream(stream_id)
            self.exchange()

    def start(self, stream_id, *, end_stream=False):
        self.h2.send_headers(stream_id, REQUEST, end_stream=end_stream)

    def messages(self, stream_id):
        return [
            message
            for event in self.events
            if isinstance(event, happened.MessagesReceived)
            and event.stream_id == stream_id
            for message in event.messages
        ]


@pytest.fixture
def raw_peer():
    return RawPeer


@pytest.fixture
def library_peer():
    return LibraryPeer


@pytest.fixture
def parse_frames():
    return parse


@pytest.fixture(scope="session")
def library_peer_class():
    """For Hypothesis, which wants no fixture that is made anew for each test."""
    return LibraryPeer
