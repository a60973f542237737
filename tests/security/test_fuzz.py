"""Generated frames and requests: Webdis may die, and other people's pages miss nothing."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import struct
import time
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.websocket import trust
from tests.traffic import Reader, Writer

# Each example is one connection with ten frames, or ten requests.
EXAMPLES = int(os.environ.get("FUZZ_CONNECTIONS") or 200)
ITEMS = 10
BACK_SECONDS = 20  # far more than it takes, which is printed: this machine may be busy

WORDS = st.sampled_from(
    ["SUBSCRIBE", "subscribe", "PSUBSCRIBE", "UNSUBSCRIBE", "SUB", "GET", "SET", "CONFIG", "QUIT"]
)
LONG = b"@long@"  # stands for many bytes, which Hypothesis would print
MANY = b"x" * 70_000  # two of them are more than the firewall lets a connection send at once


def expanded(item):
    """Return what is sent for ``item``."""
    return item.replace(LONG, MANY)


CHANNELS = st.text(max_size=20) | st.sampled_from(
    ["progress:fuzz", "", "*", "\0", "%00", LONG.decode()]
)
COMMANDS = st.lists(WORDS | CHANNELS, max_size=4)


@st.composite
def json_payloads(draw):
    """A command as Webdis takes it, or nearly."""

    content = draw(
        COMMANDS
        | st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
            max_leaves=6,
        )
    )
    payload = json.dumps(content).encode("utf-8", "replace")
    return payload[: draw(st.integers(0, len(payload)))] if draw(st.booleans()) else payload


@st.composite
def frames(draw):
    """A WebSocket frame: any kind, whole or not, with a length that may be a lie."""
    payload = draw(json_payloads() | st.binary(max_size=200) | st.just(LONG))
    size = len(expanded(payload))
    first = draw(
        st.sampled_from([0x81, 0x81, 0x81, 0x82, 0x01, 0x80, 0x88, 0x89, 0x8A, 0xF1, 0x83])
    )
    masked = draw(st.sampled_from([0x80, 0x80, 0x80, 0x00]))
    length = draw(st.just(size) | st.sampled_from([0, 1, 125, 126, 65535, 2**31, 2**63]))
    if length < 126:
        head = struct.pack(">BB", first, masked | length)
    elif length < 65536:
        head = struct.pack(">BBH", first, masked | 126, length)
    else:
        head = struct.pack(">BBQ", first, masked | 127, length)
    return head + (draw(st.binary(min_size=4, max_size=4)) if masked else b"") + payload


@st.composite
def requests(draw):
    """An HTTP request, or nearly."""
    words = "/".join(draw(COMMANDS))[:200]
    method = draw(st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "HEAD", "get", "\0", "X" * 99]))
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/9.9", ""]))
    lines = [f"{method} /{words} {version}"]
    for _ in range(draw(st.integers(0, 3))):
        name = draw(
            st.sampled_from(
                [
                    "Content-Length",
                    "Transfer-Encoding",
                    "Upgrade",
                    "Connection",
                    "Expect",
                    "Sec-WebSocket-Key",
                    "Authorization",
                    "Host",
                    "If-None-Match",
                ]
            )
        )
        value = draw(
            st.sampled_from(
                [
                    "0",
                    "-1",
                    "99999999999",
                    "chunked",
                    "websocket",
                    "Upgrade",
                    "keep-alive",
                    "close",
                    "Basic Og==",
                    "100-continue",
                ]
            )
            | st.text(max_size=30)
        )
        lines.append(f"{name}: {value}")
    body = draw(st.binary(max_size=50))
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body


CONNECTIONS = st.one_of(
    st.tuples(st.just("frames"), st.lists(frames(), min_size=ITEMS, max_size=ITEMS)),
    st.tuples(st.just("requests"), st.lists(requests(), min_size=ITEMS, max_size=ITEMS)),
    st.tuples(st.just("bytes"), st.lists(st.binary(max_size=300), min_size=ITEMS, max_size=ITEMS)),
)
UPGRADE = (
    b"GET /.json HTTP/1.1\r\nHost: fuzz\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Origin: http://127.0.0.1:5000\r\n\r\n"
)


@pytest.fixture
def target(instance):
    """Return a function that opens a connection to what browsers reach."""
    url = urlsplit(instance["webdis"]["url"])
    context = trust(instance) if instance["tls"] else None
    outages = []

    def connect():
        start = time.monotonic()
        while True:
            try:
                connection = socket.create_connection(
                    (instance["address"], url.port or 443), timeout=10
                )
                break
            except OSError:
                assert time.monotonic() < start + BACK_SECONDS, "Webdis did not come back"
                time.sleep(0.01)
        if (waited := time.monotonic() - start) > 0.05:
            outages.append(waited)
        if context:
            connection = context.wrap_socket(connection, server_hostname=instance["address"])
        return connection

    connect.outages = outages
    return connect


@pytest.fixture(scope="module")
def attacks():
    """Return the connections: generated beforehand, for Hypothesis wants no other threads."""
    generated = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(CONNECTIONS)
    def generate(connection):
        generated.append(connection)

    generate()
    return generated


def test_webdis_is_back_at_once_and_pages_miss_nothing(instance, server, target, attacks):
    channel = f"progress:{secrets.token_hex(16)}"
    since = server.run("date +%s").stdout.strip()
    restarts = int(server.run("systemctl show -P NRestarts webdis").stdout)
    start = time.monotonic()
    sent = {"frames": 0, "requests": 0, "bytes": 0}
    reader, writer = Reader(instance, channel), Writer(instance, channel)
    reader.start()
    writer.start()
    for number, (kind, items) in enumerate(attacks):
        if number == len(attacks) // 2:
            # No known input kills it behind its walls: so it is killed here.
            assert server.run("systemctl kill --kill-whom=main --signal=SEGV webdis").rc == 0
        with contextlib.closing(target()) as connection, contextlib.suppress(OSError):
            connection.settimeout(0.05)
            if kind == "frames":
                connection.sendall(UPGRADE)
                connection.recv(4096)
            for item in items:
                connection.sendall(expanded(item))
                sent[kind] += 1
            connection.recv(4096)
    writer.end(reader)
    seconds = time.monotonic() - start
    restarts = int(server.run("systemctl show -P NRestarts webdis").stdout) - restarts
    lines = int(server.run(f"journalctl -u webdis --since @{since} -o cat | wc -l").stdout)
    print(
        f"sent {sent} in {seconds:.0f} s; {writer.count} messages, page connected "
        f"{reader.connections} times; Webdis started again {restarts} times, longest outage "
        f"{max(target.outages, default=0):.2f} s; {lines} lines in its journal"
    )
    assert sum(sent.values()) > 3 * len(attacks), "most of it was not sent"
    assert restarts >= 1
    assert reader.connections >= 2
    assert reader.shown[: writer.count] == list(range(1, writer.count + 1))
    assert server.run("systemctl is-active webdis").stdout.strip() == "active"
    assert server.run("systemctl show -P StartLimitIntervalUSec webdis").stdout.strip() == "0"
    # 200 lines in 10 s are let through, and one says how many more there were.
    assert lines <= 201 * (seconds / 10 + 2)
