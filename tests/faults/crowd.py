"""Two hundred WebSocket clients that subscribe and then never read."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import time
from typing import TYPE_CHECKING

from kit.verify import publisher

if TYPE_CHECKING:
    import socket

    from tests.faults.scene import Scene

CLIENTS = 200
CHANNEL = "progress:crowd"
PAYLOAD = "x" * 5000
PAYLOADS_PER_SECOND = 100
MOST_PAYLOADS = 2000


def subscribe(scene: Scene) -> socket.socket:
    """Return a connection that is subscribed and has room for next to nothing."""
    client = scene.connection(receive_bytes=4096)
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        (
            "GET /.json HTTP/1.1\r\nHost: crowd\r\nOrigin: http://crowd\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
    )
    assert b" 101 " in client.recv(64)
    command = json.dumps(["SUBSCRIBE", CHANNEL]).encode()
    # Masked with zeroes, which leaves it as it is.
    client.sendall(bytes([0x81, 0x80 | len(command), 0, 0, 0, 0]) + command)
    return client


def flood_until_cut(scene: Scene) -> str:
    """Publish to the clients until Webdis has been ended for their sake.

    Returns:
        How much memory it had, and how much it had been given for them.
    """
    most_mib = 0
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(contextlib.closing(subscribe(scene)))
        redis = stack.enter_context(publisher(scene.instance))
        start = time.monotonic()
        for number in range(1, MOST_PAYLOADS + 1):
            redis.publish(CHANNEL, PAYLOAD)
            time.sleep(max(0.0, start + number / PAYLOADS_PER_SECOND - time.monotonic()))
            if number % 20:
                continue
            memory_mib = scene.memory_mib("webdis")
            if memory_mib < most_mib:
                break  # it has begun anew
            most_mib = memory_mib
        else:
            raise AssertionError(f"Webdis keeps {most_mib} MiB for clients that do not read")
    return (
        f"Webdis was cut at {most_mib} MiB, of {number * len(PAYLOAD) * CLIENTS >> 20} MiB "
        f"sent to them; Redis has {scene.memory_mib('redis')} MiB"
    )
