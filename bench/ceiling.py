"""What the client itself can receive: a source on the loopback that does nothing but send.

As a program it is that source. Arguments: PORT SUBSCRIBERS MESSAGES.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from pathlib import Path

from bench.client import MARKER, Fleet, Protocol
from bench.processes import Program, free_port
from bench.systems import MESSAGE, PYTHON

SUBSCRIBERS = 500
MESSAGES = 300_000


def messages_per_second() -> float:
    """Return how many messages a second the client receives, from 500 connections."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [PYTHON, "-m", "bench.ceiling", str(port), str(SUBSCRIBERS), str(MESSAGES)]
        source = Program("source", command, None, Path(folder) / "source.log")
        try:
            fleet = Fleet(("127.0.0.1", port), Protocol(((b"hello", b"welcome"),)), None)
            fleet.connect(SUBSCRIBERS, SUBSCRIBERS, at_once=False, timeout=20)
            fleet.wait(lambda: bool(fleet.arrivals), 20)
            received = 0

            def all_here() -> bool:
                nonlocal received
                received += sum(len(markers) for _, _, markers in fleet.arrivals)
                fleet.arrivals.clear()
                return received >= MESSAGES

            start = time.perf_counter()
            fleet.wait(all_here, 60)
            seconds = time.perf_counter() - start
            fleet.close()
        finally:
            source.stop()
    return received / seconds


def source(port: int, subscribers: int, messages: int) -> None:
    """Accept the subscribers, then send to each in turn as fast as it goes."""
    with socket.create_server(("127.0.0.1", port), backlog=4096) as server:
        sockets = []
        for _ in range(subscribers):
            one, _ = server.accept()
            one.recv(5)
            one.sendall(b"welcome")
            sockets.append(one)
        time.sleep(0.3)
        payload = MESSAGE.replace(MARKER, b"@%013d@" % 0)
        for i in range(messages):
            sockets[i % subscribers].sendall(payload)
        sockets[0].recv(1)  # until the client has gone


if __name__ == "__main__":
    source(*(int(word) for word in sys.argv[1:]))
