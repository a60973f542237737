"""Frames of many bytes, which Webdis copies again and again: other pages do not stand still."""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import threading
import time
from urllib.parse import urlsplit

import pytest

from kit.verify import publisher
from kit.websocket import Page, trust

MIB = 1 << 20
MESSAGES_PER_SECOND = 20
LEAST_MESSAGES = 60
SECONDS = 15  # for which a frame is sent, if it is not cut off
# Without the wall messages stood still for 44 to 58 s, with it for less than one; this machine
# may be busy.
GAP_SECONDS = 5.0


class Listener(threading.Thread):
    """Somebody else's page: takes numbered messages and the largest gap between two."""

    def __init__(self, instance, channel):
        super().__init__(daemon=True)
        self.instance, self.channel = instance, channel
        self.received, self.gap = [], 0.0
        self.subscribed = threading.Event()

    def run(self):
        with Page(self.instance) as page:
            page.subscribe(self.channel)
            self.subscribed.set()
            before = None
            while (text := page.message(self.channel)) != "end":
                now = time.monotonic()
                self.gap = max(self.gap, now - (before or now))
                before = now
                self.received.append(int(text))


class Attacker(threading.Thread):
    """Sends one text frame of ``mib`` MiB, in pieces with a pause between them."""

    def __init__(self, instance, mib, pause_seconds=0.0):
        super().__init__(daemon=True)
        self.instance, self.size, self.pause = instance, mib * MIB, pause_seconds
        self.sent, self.cut = 0, False

    def run(self):
        url = urlsplit(self.instance["webdis"]["url"])
        origin = (self.instance["origins"] or ["http://127.0.0.1"])[0].removesuffix(":*")
        connection = socket.create_connection((url.hostname, url.port or 443), timeout=10)
        if self.instance["tls"]:
            connection = trust(self.instance).wrap_socket(connection, server_hostname=url.hostname)
        with contextlib.closing(connection):
            connection.sendall(
                f"GET /.json HTTP/1.1\r\nHost: {url.hostname}\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                f"Origin: {origin}\r\n\r\n".encode()
            )
            assert b" 101 " in connection.recv(4096)
            deadline = time.monotonic() + SECONDS
            try:
                connection.sendall(struct.pack(">BBQ4s", 0x81, 0xFF, self.size, bytes(4)))
                connection.sendall(b'["SUBSCRIBE","')
                while self.sent < self.size and time.monotonic() < deadline:
                    connection.sendall(b"x" * 65_536)
                    self.sent += 65_536
                    time.sleep(self.pause)
            except OSError:
                self.cut = True


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("attackers", "mib", "pause_seconds"),
    [(1, 64, 0.0), (4, 40, 0.0), (200, 16, 0.5)],
    ids=["one of 64 MiB", "four of 40 MiB", "two hundred, slow"],
)
def test_others_messages_go_on(instance, attackers, mib, pause_seconds):
    channel = f"progress:{secrets.token_hex(16)}"
    listener = Listener(instance, channel)
    listener.start()
    assert listener.subscribed.wait(10)
    threads = [Attacker(instance, mib, pause_seconds) for _ in range(attackers)]
    sent = 0
    with publisher(instance) as connection:
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 2 * SECONDS
        while (
            sent < LEAST_MESSAGES or any(thread.is_alive() for thread in threads)
        ) and time.monotonic() < deadline:
            sent += 1
            connection.publish(channel, str(sent))
            time.sleep(1 / MESSAGES_PER_SECOND)
        connection.publish(channel, "end")
    listener.join(60)
    total = sum(thread.sent for thread in threads) / MIB
    print(f"{total:.1f} MiB sent; largest gap {listener.gap:.2f} s over {sent} messages")
    assert not listener.is_alive(), "the page waits for its messages"
    assert listener.received == list(range(1, sent + 1))
    assert all(thread.cut for thread in threads), "a large frame was let through"
    assert listener.gap < GAP_SECONDS
