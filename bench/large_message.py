"""One message of 4 GiB between two processes, sent by either role: how much the memory of both grows.

It must not hold the message: pieces are made as they are sent, and counted as they come.
Run: python bench/large_message.py
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import sys
import time
from collections.abc import Iterator

from wsframe import Connection, Fragment, Role

PIECE_BYTES = 256 * 1024
FRAGMENT_BYTES = 256 * 1024


def pieces(kind: type[str] | type[bytes], nbytes: int) -> Iterator[str | bytes]:
    text = "漢字 and more. "
    piece = (text * (PIECE_BYTES // len(text.encode()))).encode()
    data = piece if kind is bytes else piece.decode()
    while nbytes > 0:
        yield data
        nbytes -= len(piece)


def send(sock: socket.socket, role: Role, kind: type[str] | type[bytes], nbytes: int) -> None:
    """The message; behind it, in a message of its own, by how much the memory grew meanwhile."""
    connection = Connection(role)
    before = peak_kib()
    for frame in connection.encode_fragments(pieces(kind, nbytes)):
        sock.sendall(frame)
    sock.sendall(connection.encode(str(peak_kib() - before)))


def receive(sock: socket.socket, role: Role) -> tuple[int, int, int]:
    """Bytes of the message, the largest fragment's, and the KiB that its sender grew by."""
    connection = Connection(
        role, max_message_bytes=1 << 40, max_fragments=1 << 30, fragment_bytes=FRAGMENT_BYTES
    )
    total = largest = 0
    while True:
        view = connection.receive_buffer()
        if view is None:
            events = connection.receive_data(sock.recv(65_536))
        else:
            events = connection.buffer_received(sock.recv_into(view))
        for event in events:
            if isinstance(event, str):
                return total, largest, int(event)
            if not isinstance(event, Fragment):
                raise RuntimeError(f"no fragment: {event!r}")
            size = len(event.data.encode() if isinstance(event.data, str) else event.data)
            total, largest = total + size, max(largest, size)


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=4.0, help="size of the message (4)")
    parser.add_argument("--most-mib", type=float, default=8.0, help="growth that is still flat (8)")
    options = parser.parse_args()
    nbytes = int(options.gib * (1 << 30))
    failed = False
    # The first is small: what Python itself takes once is not the message's.
    for role, kind, size in (
        (Role.CLIENT, str, 64 << 20),
        *((role, kind, nbytes) for role in Role for kind in (bytes, str)),
    ):
        begun, before = time.monotonic(), peak_kib()
        ours, theirs = socket.socketpair()
        sender = multiprocessing.get_context("fork").Process(target=send, args=(ours, role, kind, size))
        sender.start()
        ours.close()
        total, largest, grown_there = receive(theirs, Role.SERVER if role is Role.CLIENT else Role.CLIENT)
        sender.join()
        theirs.close()
        grown = peak_kib() - before
        if size == nbytes:
            failed |= max(grown, grown_there) > options.most_mib * 1024 or total < nbytes
        print(
            f"{role.name.lower()} sends {kind.__name__}: {total:,} bytes, {time.monotonic() - begun:.1f} s, "
            f"fragments up to {largest:,}; peak memory grew by {grown_there:,} KiB there, {grown:,} KiB here",
            flush=True,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
