"""HTTP/2 and gRPC for a server, as a value: bytes in, events out, no I/O.

`connection.ServerConnection` is the one door. It is written for one kind of peer, Envoy
(and gRPC clients), and implements RFC 9113 (https://www.rfc-editor.org/rfc/rfc9113) and
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md without the parts such a
peer has no use for: no server push, no priorities, no message compression.
"""

from __future__ import annotations
