"""WebSocket clients that subscribe and then never read, or reset their connection."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import struct
import time
from typing import TYPE_CHECKING

from kit.verify import publisher

if TYPE_CHECKING:
    from tests.faults.scene import Scene

CLIENTS = 200
CHANNEL = "progress:crowd"
PAYLOAD = "x" * 5000
PAYLOADS_PER_SECOND = 100
MOST_PAYLOADS = 2000
RESETS = 100
RESETS_SECONDS = 60.0
AWAY_SECONDS = 0.05


def subscribe(scene: Scene) -> socket.socket:
    """Return a connection that is subscribed and has room for next to nothing.

    Raises:
        OSError: Webdis is away.
    """
    client = scene.connection(receive_bytes=4096)
    origin = (scene.instance["origins"] or ["http://crowd"])[0].removesuffix(":*")
    try:
        _subscribe(client, origin)
    except OSError:
        client.close()
        raise
    return client


def _subscribe(client: socket.socket, origin: str) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        (
            f"GET /.json HTTP/1.1\r\nHost: crowd\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
    )
    if b" 101 " not in client.recv(64):
        raise ConnectionError("the upgrade was not answered")
    command = json.dumps(["SUBSCRIBE", CHANNEL]).encode()
    # Masked with zeroes, which leaves it as it is.
    client.sendall(bytes([0x81, 0x80 | len(command), 0, 0, 0, 0]) + command)


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


def reset_after_subscribing(scene: Scene) -> str:
    """Have clients reset their connections right after SUBSCRIBE, one after another.

    Returns:
        How many times Webdis was ended by that.
    """
    before = scene.restarts("webdis")
    done = 0
    deadline = time.monotonic() + RESETS_SECONDS
    while done < RESETS:
        assert time.monotonic() < deadline, f"Webdis took {done} of {RESETS} clients in a minute"
        try:
            client = subscribe(scene)
        except OSError:
            time.sleep(AWAY_SECONDS)
            continue
        # Closed so, it says that it is gone, and not that it goes.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        done += 1
    return f"Webdis was ended {scene.restarts('webdis') - before} times by it"
