"""Every command of Redis through Webdis: nothing but SUBSCRIBE has an effect.

Each of the two walls, Webdis's list and the rights of its user in Redis, is tested
alone: in a lab where the other is gone.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import struct
import time
import urllib.parse

import pytest

from tests.security.without_walls import WithoutWalls

# Redis allows these to everybody; they change the connection that they come on alone.
OWN_CONNECTION = {"auth", "hello", "quit", "reset"}
# Some are never answered. What they did is seen in Redis, also where an answer comes later.
ANSWER_SECONDS = 1.0


def commands_of(connection):
    """Return the name and the number of words of every command, `config|get` for `config`."""
    names = [name.decode() for name in connection.execute_command("COMMAND LIST")]
    details = connection.execute_command("COMMAND INFO", *names)
    with_subcommands = {name.split("|")[0] for name in names if "|" in name}
    return {
        name: arity
        for name, (_, arity, *_) in zip(names, details, strict=True)
        if name not in with_subcommands
    }


def filled(name, arity):
    """Return a command with as many arguments as it asks for."""
    words = name.split("|")
    return [*words, *["progress:wall"] * (abs(arity) - len(words))]


def spellings(commands):
    """Yield each command in its own case and two others, and by each unambiguous prefix."""
    by_first_word = {}
    for name, arity in commands.items():
        word, *rest = filled(name, arity)
        mixed = "".join(c.upper() if i % 2 else c for i, c in enumerate(word))
        for spelling in (word, word.upper(), mixed):
            yield [spelling, *rest]
        by_first_word[word] = rest
    for word, rest in by_first_word.items():
        for end in range(1, len(word)):
            prefix = word[:end]
            if [other for other in by_first_word if other.startswith(prefix)] == [word]:
                yield [prefix, *rest]
                yield [prefix.upper(), *rest]
    # They pass Webdis's list, which compares only the beginning, and Redis knows no such command.
    yield from (["SUBSCRIBE"[:end], "progress:wall"] for end in range(1, len("SUBSCRIBE")))


def calls(connection):
    """Return how often each command was executed, and how often refused, so far."""
    stats = connection.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): (entry["calls"], entry.get("rejected_calls", 0))
        for name, entry in stats.items()
    }


def state(connection):
    """Return all that a command could change: keys, settings, users, functions, server."""
    return {
        "keys": {key: connection.dump(key) for key in sorted(connection.scan_iter())},
        "settings": connection.config_get("*"),
        "users": connection.acl_list(),
        "functions": connection.function_list(),
        "scripts": connection.info("memory").get("number_of_cached_scripts"),
        "channels": connection.pubsub_channels(),
        "role": connection.execute_command("ROLE")[0],
        "run": connection.info("server")["run_id"],
        "clients": sorted(
            (client["user"], client["flags"], client["db"], client["psub"], client["watch"])
            for client in connection.client_list()
            # Those of Webdis, and those that have not logged in.
            if client["user"] not in {"webdis", "anybody", "default"}
        ),
    }


class Http:
    """Sends commands as requests on one connection that is kept alive."""

    def __init__(self, lab):
        self._lab, self._socket = lab, lab.webdis_socket()

    def ask(self, words):
        """Send a command; return the answer, empty where the connection ended."""
        path = "/".join(urllib.parse.quote(word, safe="") for word in words)
        try:
            self._socket.sendall(f"GET /{path} HTTP/1.1\r\nHost: lab\r\n\r\n".encode())
            answer = self._read()
        except OSError:
            answer = b""
        if not answer or b"Connection: close" in answer:
            self._socket.close()
            self._socket = self._lab.webdis_socket()
        return answer.decode("latin-1")

    def _read(self):
        self._socket.settimeout(ANSWER_SECONDS)
        answer = b""
        while b"\r\n\r\n" not in answer:
            if not (more := self._socket.recv(65536)):
                return b""
            answer += more
        length = re.search(rb"Content-Length: (\d+)", answer)
        if length is None:
            # A stream: SUBSCRIBE, or what Webdis takes for one. It ends here.
            self._socket.close()
            return answer + b"Connection: close"
        wanted = answer.index(b"\r\n\r\n") + 4 + int(length[1])
        while len(answer) < wanted:
            if not (more := self._socket.recv(65536)):
                return b""
            answer += more
        return answer

    def close(self):
        self._socket.close()


class WebSocket:
    """Sends commands as frames; a new socket when Webdis ends the old one."""

    def __init__(self, lab):
        self._lab = lab
        self._open()

    def _open(self):
        self._socket = self._lab.webdis_socket()
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /.json HTTP/1.1\r\nHost: lab\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Origin: http://lab.invalid\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(4096)
        assert b" 101 " in answer

    def ask(self, words):
        """Send a command; return the frame that answers, empty where the socket ended."""
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            self._socket.sendall(frame(json.dumps(words).encode()))
            answer = self._read()
        except OSError:
            answer = ""
        # A socket that is subscribed answers to nothing else.
        if not answer or words[0].lower() == "subscribe":
            self._socket.close()
            self._open()
        return answer

    def _exactly(self, count):
        content = b""
        while len(content) < count:
            if not (more := self._socket.recv(count - len(content))):
                raise ConnectionResetError
            content += more
        return content

    def _read(self):
        _, length = self._exactly(2)
        if length == 126:
            (length,) = struct.unpack(">H", self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._exactly(8))
        return self._exactly(length).decode("latin-1")

    def close(self):
        self._socket.close()


def frame(payload, opcode=1):
    """Return a masked frame, as a browser sends it; the mask is zero."""
    length = len(payload)
    if length < 126:
        head = struct.pack(">BB", 0x80 | opcode, 0x80 | length)
    elif length < 65536:
        head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, length)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, length)
    return head + bytes(4) + payload


LISTENING = {"monitor", "sync", "psync", "psubscribe", "ssubscribe"}
LISTENING |= {"unsubscribe", "punsubscribe", "sunsubscribe"}
# Webdis answers these itself, or dies of them, whatever its list says.
NOT_PASSED_ON = OWN_CONNECTION | LISTENING
NOT_PASSED_ON |= {"select", "multi", "exec", "discard", "watch", "unwatch"}
TRANSPORTS = {"http": Http, "websocket": WebSocket}


def reached(lab, transport, commands):
    """Send commands; return how often each was executed and refused by Redis."""
    lab.redis.set("progress:wall", "kept")
    lab.redis.rpush("rq:queue:default", "kept")
    before, calls_before = state(lab.redis), calls(lab.redis)
    with contextlib.closing(TRANSPORTS[transport](lab)) as client:
        for words in commands:
            # Without its list, Webdis dies of some of them, and of the next one by then.
            client.ask(words) or client.ask(words)
    lab.stop_webdis()
    deadline = time.monotonic() + 30
    while lab.redis.pubsub_channels():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    calls_after = calls(lab.redis)
    assert state(lab.redis) == before
    counts = {
        name: [a - b for a, b in zip(count, calls_before.get(name, (0, 0)), strict=True)]
        for name, count in calls_after.items()
    }
    for name in ("info", "pubsub|channels"):  # asked by this test itself
        counts[name][0] = 0
    return {name: count for name, count in counts.items() if any(count)}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_webdis_list_alone(server, instance, transport):
    with WithoutWalls(server, walled_webdis=True, walled_redis=False) as lab:
        if instance["webdis"]["origin"] == "package" and transport == "websocket":
            # Why the package needs the other wall. Not so any more? Then say so in
            # docs/security.md, and test it like the rest.
            with contextlib.closing(WebSocket(lab)) as client:
                client.ask(["SET", "progress:wall", "written"])
            assert lab.redis.get("progress:wall") == b"written"
            print("Webdis is the package, whose list does not cover WebSockets")
            return
        commands = list(spellings(commands_of(lab.redis)))
        assert len(commands) > 1500
        counts = reached(lab, transport, commands)
    assert counts.pop("subscribe")[0] >= 3
    counts.pop("auth", None)  # of Webdis itself, for each subscriber
    assert counts == {}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_rights_of_its_user_alone(server, transport):
    with WithoutWalls(server, walled_webdis=False, walled_redis=True) as lab:
        commands = commands_of(lab.redis)
        # What ends a connection, or Webdis, comes last.
        order = sorted(commands, key=lambda name: name in OWN_CONNECTION | LISTENING)
        counts = reached(lab, transport, [filled(name, commands[name]) for name in order])
    executed = {name for name, (executed, _) in counts.items() if executed}
    assert executed - OWN_CONNECTION == {"subscribe"}
    refused = {name for name, (_, refused) in counts.items() if refused}
    unproven = set(commands) - refused - executed
    assert unproven <= NOT_PASSED_ON, unproven - NOT_PASSED_ON
