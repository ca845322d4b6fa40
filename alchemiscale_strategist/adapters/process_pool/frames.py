"""Messages between a keeper and its worker: eight bytes of length, then as many bytes."""

from __future__ import annotations

import os
import socket
import struct

__all__ = [
    "CONNECTION_LOST",
    "HEADER_BYTES",
    "KEEP",
    "READY",
    "RECYCLE",
    "TOKEN_BYTES",
    "frame",
    "frame_length",
    "receive_frame",
]

READY = b"ready"
"""A worker's first message: requests are welcome."""
TOKEN_BYTES = 16
"""What a request begins with. The worker sends it back alone when it begins and before its answer, so that what a
Strategy writes on the socket is taken for neither."""
KEEP = b"+"
"""Follows the token of an answer after which the worker may live on, as far as it can tell."""
RECYCLE = b"-"
"""Follows the token of an answer after which it should not."""
CONNECTION_LOST = os.EX_IOERR
"""The exit code of a worker that can no longer talk to its keeper."""

_HEADER = struct.Struct(">Q")
HEADER_BYTES = _HEADER.size


def frame(content: bytes) -> bytes:
    r"""Return a message as it travels.

    >>> frame(b"ok") == b"\0\0\0\0\0\0\0\2" + b"ok"
    True
    """
    return _HEADER.pack(len(content)) + content


def frame_length(header: bytes) -> int:
    """Return how long the message behind a header is."""
    length: int = _HEADER.unpack(header)[0]
    return length


def receive_frame(channel: socket.socket) -> bytes | None:
    """Wait for a message; ``None`` when the other side is gone, be it in the middle of one."""
    header = _receive(channel, HEADER_BYTES)
    return None if header is None else _receive(channel, frame_length(header))


def _receive(channel: socket.socket, length: int) -> bytes | None:
    content = bytearray()
    while len(content) < length:
        chunk = channel.recv(min(length - len(content), 2**20))
        if not chunk:
            return None
        content += chunk
    return bytes(content)
