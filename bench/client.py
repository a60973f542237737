"""The load: subscribers and a publisher in one loop, fast enough to measure a server.

Every message carries ``@CCCCCNNNNNNNN@``: its channel and its number. The loop
looks for nothing else in what arrives, so one and the same code receives RESP,
WebSocket frames and server-sent events. It spins while it publishes: a client
that slept would add its own wake-up to the latency.
"""

from __future__ import annotations

import bisect
import contextlib
import heapq
import itertools
import math
import random
import re
import select
import socket
import ssl
import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CHANNEL = b"progress:55555"  # stands for a channel's name in what is sent
MARKER = b"@5555577777777@"  # stands for a message's marker
_MARKERS = re.compile(rb"@(\d{13})@")
_NUMBERS_PER_CHANNEL = 10**8
_READ_BYTES = 65536
_ANSWER_BYTES = 16384
# The policy of progress.js, for every system alike.
_FIRST_DELAY_SECONDS = 0.25
_LONGEST_DELAY_SECONDS = 5.0
_CONNECTING_AT_ONCE = 200
_TIMER_SECONDS = 0.05


def channel_name(number: int) -> bytes:
    """Return the name of a channel, of the same length for all."""
    return b"progress:%05d" % number


def masked_text(text: bytes) -> bytes:
    """Return a client's WebSocket text frame; a mask of zero leaves the text as it is."""
    size = len(text)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2)  # noqa: PLR2004  # RFC 6455
    return b"\x81" + head + bytes(4) + text


def upgrade(path: bytes, *headers: bytes) -> bytes:
    """Return a request that opens a WebSocket."""
    lines = (
        b"GET " + path + b" HTTP/1.1",
        b"Host: localhost",
        b"Origin: http://localhost",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *headers,
    )
    return b"\r\n".join(lines) + b"\r\n\r\n"


@dataclass(frozen=True)
class Protocol:
    """How a subscriber speaks to one system.

    Attributes:
        steps: What is sent, and what must have arrived before the next step.
        acknowledged: Whether the last answer means "subscribed"; where a server does
            not say so, ``subscriptions`` of the fleet is asked instead.
        replies: Frames that must be answered, and the answers (keep-alive).
        poll_seconds: From an answer to the next request, where the client asks.
        resume: Makes the steps of a reconnect from the answer to the handshake and the last
            text received.
        replay: The request for everything after a number.
        join: The request of one that has nothing yet.
    """

    steps: tuple[tuple[bytes, bytes], ...]
    acknowledged: bool = True
    replies: tuple[tuple[bytes, bytes], ...] = ()
    poll_seconds: float = 0.0
    resume: Callable[[bytes, bytes], tuple[tuple[bytes, bytes], ...]] | None = None
    replay: bytes = b""
    join: bytes = b""


class Subscriber:
    """One connection and what it has seen."""

    __slots__ = (
        "answer",
        "asking",
        "channel",
        "delay",
        "greeting",
        "index",
        "latest",
        "ready_at",
        "rest",
        "sock",
        "started_at",
        "step",
        "steps",
        "text",
        "waiting",
    )

    def __init__(self, index: int, channel: int) -> None:
        self.index, self.channel = index, channel
        self.sock: socket.socket | None = None
        self.steps: tuple[tuple[bytes, bytes], ...] = ()
        self.step = 0
        self.answer = b""
        self.asking = True  # whether the next request of a poll has been arranged
        self.rest = b""
        # What a protocol resumes from: the handshake's last answer, the last text that arrived.
        self.greeting = self.text = b""
        self.delay = _FIRST_DELAY_SECONDS
        self.started_at = self.ready_at = 0.0
        self.latest = -1  # number of the last message, kept where there is replay
        self.waiting: list[tuple[float, list[bytes]]] | None = None


@dataclass
class Publisher:
    """Where and what to publish.

    Attributes:
        address: Host and port.
        greeting: Sent once on each connection.
        frame: Makes what publishes messages to a channel, given its name and their markers.
        refused: What in an answer says that it was refused.
        connections: Over how many it is spread.
        begin: Does once what a channel needs before its first message.
        answered: What each answer has once; where it is given, what was not answered before a
            connection was lost is sent again.
        messages: In each frame.
        first_seq: The number that the channel's first message has for a replay.
    """

    address: tuple[str, int]
    greeting: bytes
    frame: Callable[[bytes, list[bytes]], bytes]
    refused: bytes
    connections: int = 1
    begin: Callable[[bytes], None] | None = None
    answered: bytes = b""
    messages: int = 1
    first_seq: int = 1


def filled(template: bytes) -> Callable[[bytes, list[bytes]], bytes]:
    """Return what makes frames of a template with ``CHANNEL`` and ``MARKER`` in it."""
    parts: dict[bytes, tuple[bytes, bytes]] = {}

    def frame(channel: bytes, markers: list[bytes]) -> bytes:
        if channel not in parts:
            before, after = template.replace(CHANNEL, channel).split(MARKER)
            parts[channel] = before, after
        before, after = parts[channel]
        return b"%b%b%b" % (before, markers[0], after)

    return frame


@dataclass
class Outlet:
    """One connection of the publisher.

    Attributes:
        sock: The connection; None while the server is away.
        frames: What publishes its messages, one after the other.
        ends: Where each of them ends.
        answered: How many of ``frames`` were answered.
        sent_bytes: How much of ``frames`` has left.
        due_bytes: How much of ``frames`` should have.
    """

    sock: socket.socket | None = None
    frames: memoryview = field(default_factory=lambda: memoryview(b""))
    ends: list[int] = field(default_factory=list)
    answered: int = 0
    sent_bytes: int = 0
    due_bytes: int = 0

    def load(self, frames: list[bytes]) -> int:
        """Take the messages of another run; return how many of the one before are not sent."""
        sent = bisect.bisect_right(self.ends, self.sent_bytes)
        due = bisect.bisect_right(self.ends, self.due_bytes)
        begin = self.ends[sent - 1] if sent else 0
        left = [end - begin for end in self.ends[sent:due]]
        self.frames = memoryview(b"".join((self.frames[begin : self.due_bytes], *frames)))
        self.sent_bytes -= begin
        self.due_bytes -= begin
        self.answered -= sent  # below zero while answers are on their way
        sizes = (len(frame) for frame in frames)
        self.ends = left + list(itertools.accumulate(sizes, initial=self.due_bytes))[1:]
        return len(left)

    def go_back(self) -> None:
        """Go on with the first message that was not answered."""
        if 0 <= self.answered < len(self.ends):
            begin = self.ends[self.answered - 1] if self.answered else 0
            self.sent_bytes = min(self.sent_bytes, begin)
        else:
            self.forget_half()

    def forget_half(self) -> None:
        """Go on with the next whole message: the other half of one cannot be told on."""
        if self.sent_bytes:
            self.sent_bytes = self.ends[bisect.bisect_left(self.ends, self.sent_bytes)]

    def flush(self) -> None:
        """Send what is due, as far as the connection takes it."""
        if self.sent_bytes < self.due_bytes and self.sock is not None:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                self.sent_bytes += self.sock.send(self.frames[self.sent_bytes : self.due_bytes])


class Fleet:
    """Subscribers of one system and its publisher.

    Args:
        address: Where subscribers connect.
        protocol: How they speak.
        publisher: ``None`` where another process publishes.
        tls: Their TLS, where the address wants it.
        replay_address: Where missed messages are asked for.
        subscriptions: Counts the subscribers of channels, for a protocol that does
            not acknowledge.
    """

    def __init__(  # noqa: PLR0913  # each says a different thing about one system
        self,
        address: tuple[str, int],
        protocol: Protocol,
        publisher: Publisher | None,
        *,
        tls: ssl.SSLContext | None = None,
        replay_address: tuple[str, int] | None = None,
        subscriptions: Callable[[list[bytes]], int] | None = None,
    ) -> None:
        self.address, self.protocol, self.publisher = address, protocol, publisher
        self.tls, self.replay_address = tls, replay_address
        self._subscriptions = subscriptions
        self._asked_at = 0.0
        self.subscribers: list[Subscriber] = []
        self.planned = array("d")  # planned second of each message
        self.arrivals: list[tuple[float, int, list[bytes]]] = []
        self.refusals: list[str] = []
        self.lost_connections = 0
        self.first_channel = self.first_number = 0
        self.channels = 1
        self._epoll = select.epoll()
        self._by_fd: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._outlets: list[Outlet] = []

    # -- connecting -----------------------------------------------------------

    def connect(self, count: int, channels: int, *, at_once: bool, timeout: float) -> float:
        """Add subscribers, spread over new channels, until all are subscribed.

        Args:
            count: How many more.
            channels: How many channels they share.
            at_once: All in the same moment, instead of a few hundred at a time.
            timeout: Seconds after which it goes on without the rest.

        Returns:
            Seconds from the first connection to the last subscription.
        """
        self.first_channel += self.channels
        self.first_number = len(self.planned)
        self.channels = channels
        self._set_channels()
        new = [
            Subscriber(len(self.subscribers) + i, self.first_channel + i % channels)
            for i in range(count)
        ]
        self.subscribers += new
        start = time.perf_counter()
        # Without acknowledgements there is nothing to wait for in between.
        limit = count if at_once or self._subscriptions else _CONNECTING_AT_ONCE
        queue = iter(new)
        opened = 0
        while True:
            ready = count if self.whole(new) else sum(1 for one in new if one.ready_at)
            while opened < count and opened - ready < limit:
                self._open(next(queue))
                opened += 1
            if ready == count or time.perf_counter() - start > timeout:
                break
            self._turn(0.01)
        return max((one.ready_at for one in new if one.ready_at), default=start) - start

    def whole(self, some: list[Subscriber]) -> bool:
        """Tell whether all of these are subscribed and have caught up."""
        if self._subscriptions and all(one.sock for one in some):
            now = time.perf_counter()
            if now < self._asked_at + _TIMER_SECONDS:
                return False
            self._asked_at = now
            names = sorted({channel_name(one.channel) for one in some})
            if self._subscriptions(names) >= len(some):
                for one in some:
                    one.ready_at = one.ready_at or now
        return all(one.ready_at for one in some)

    def watch(self, since: float) -> None:
        """Look from time to time whether all are subscribed anew."""
        self.whole(self.subscribers)
        if not all(one.ready_at > since for one in self.subscribers):
            self._later(_TIMER_SECONDS, lambda: self.watch(since))

    def _open(self, one: Subscriber) -> None:
        now = time.perf_counter()
        one.started_at = one.started_at or now
        one.step, one.answer, one.rest = 0, b"", b""
        steps = self.protocol.steps
        if self.protocol.resume and one.text:
            steps = self.protocol.resume(one.greeting, one.text)
        name = channel_name(one.channel)
        one.steps = tuple((out.replace(CHANNEL, name), wanted) for out, wanted in steps)
        sock = socket.socket()
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BlockingIOError):
            sock.connect(self.address)
        one.sock = sock
        self._by_fd[sock.fileno()] = lambda mask: self._connecting(one, mask)
        self._epoll.register(sock, select.EPOLLOUT)

    def _connecting(self, one: Subscriber, _mask: int) -> None:
        sock = one.sock
        assert sock is not None  # noqa: S101  # it is registered
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._lost(one)
            return
        if self.tls and not isinstance(sock, ssl.SSLSocket):
            # Only now: wrapping a socket that is about to be connected may raise EAGAIN.
            sock = one.sock = self.tls.wrap_socket(sock, do_handshake_on_connect=False)
        if isinstance(sock, ssl.SSLSocket):
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                self._epoll.modify(sock, select.EPOLLIN)
                return
            except ssl.SSLWantWriteError:
                self._epoll.modify(sock, select.EPOLLOUT)
                return
            except OSError:
                self._lost(one)
                return
        self._epoll.modify(sock, select.EPOLLIN)
        self._by_fd[sock.fileno()] = lambda mask: self._readable(one, mask)
        try:
            sock.send(one.steps[0][0])
        except OSError:
            self._lost(one)
            return
        if not one.steps[0][1]:
            self._ready(one)

    def _ready(self, one: Subscriber) -> None:
        now = time.perf_counter()
        one.step = len(one.steps)
        one.delay = _FIRST_DELAY_SECONDS
        if self.protocol.acknowledged:
            one.ready_at = now
        if self.protocol.poll_seconds:
            # Browsers that loaded their page at different moments.
            one.asking = True
            self._later(random.random() * self.protocol.poll_seconds, lambda: self._poll(one))  # noqa: S311
        if self.protocol.replay:
            self._replay(one)

    def _lost(self, one: Subscriber) -> None:
        if one.sock is not None:
            self._by_fd.pop(one.sock.fileno(), None)
            with contextlib.suppress(OSError):
                self._epoll.unregister(one.sock)
            one.sock.close()
        one.sock = None
        one.ready_at = 0.0
        one.waiting = None
        self.lost_connections += 1
        self._later(random.random() * one.delay, lambda: self._open(one))  # noqa: S311  # jitter
        one.delay = min(one.delay * 2, _LONGEST_DELAY_SECONDS)

    def cut(self) -> None:
        """Lose all connections at once, as pages whose network is gone."""
        for one in self.subscribers:
            if one.sock is not None:
                self._lost(one)

    def reload(self) -> None:
        """Load all pages anew at once: they know nothing, and connect without a pause."""
        for one in self.subscribers:
            if one.sock is not None:
                self._by_fd.pop(one.sock.fileno(), None)
                self._epoll.unregister(one.sock)
                one.sock.close()
            one.ready_at, one.latest, one.waiting = 0.0, -1, None
            one.greeting = one.text = b""
            self._open(one)

    # -- receiving --------------------------------------------------------------

    def _readable(self, one: Subscriber, _mask: int) -> None:
        sock = one.sock
        assert sock is not None  # noqa: S101  # it is registered
        try:
            data = sock.recv(_READ_BYTES)
            if self.tls:
                with contextlib.suppress(ssl.SSLWantReadError):
                    while more := sock.recv(_ANSWER_BYTES):
                        data += more
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            data = b""
        if not data:
            self._lost(one)
            return
        if one.step < len(one.steps):
            data = self._handshake(one, data)
            if not data or self.protocol.poll_seconds:
                return
        self._messages(one, data)

    def _handshake(self, one: Subscriber, data: bytes) -> bytes:
        """Go on to the next steps; return what arrived around the last answer.

        Socket.IO sends what was missed before it says that the client is connected.
        """
        one.answer += data
        before = b""
        while one.step < len(one.steps):
            wanted = one.steps[one.step][1]
            found = one.answer.find(wanted)
            if found < 0:
                return b""
            one.greeting, before = one.answer, one.answer[:found]
            one.answer = one.answer[found + len(wanted) :]
            one.step += 1
            if one.step < len(one.steps):
                assert one.sock is not None  # noqa: S101  # it has just been read
                one.sock.send(one.steps[one.step][0])
                if not one.steps[one.step][1]:
                    one.step += 1
        rest, one.answer = before + one.answer, b""
        self._ready(one)
        return rest

    def _messages(self, one: Subscriber, data: bytes) -> None:
        now = time.perf_counter()
        if one.rest:
            data = one.rest + data
            one.rest = b""
        found = _MARKERS.findall(data)
        if 48 <= data[-1] <= 64:  # noqa: PLR2004  # a digit or @: a marker may be cut here
            begin = data.rfind(found[-1]) + 14 if found else 0
            cut = data.find(b"@", begin)
            if cut >= 0:
                one.rest = data[cut:][:15]
        if found:
            if one.waiting is not None:
                one.waiting.append((now, found))
            elif self.protocol.replay:
                self._deliver(one, now, found)
            else:
                self.arrivals.append((now, one.index, found))
            if self.protocol.resume:
                one.text = data
        else:
            self._reply(one, data)
        if self.protocol.poll_seconds and not one.asking:
            one.asking = True
            self._later(self.protocol.poll_seconds, lambda: self._poll(one))

    def _reply(self, one: Subscriber, data: bytes) -> None:
        for asked, answer in self.protocol.replies:
            if asked in data and one.sock is not None:
                one.sock.send(answer)

    def _poll(self, one: Subscriber) -> None:
        one.asking = False
        if one.sock is not None and one.step == len(one.steps):
            with contextlib.suppress(OSError):
                one.sock.send(one.steps[0][0])

    # -- replay: as progress.js does it ---------------------------------------------

    def _deliver(self, one: Subscriber, now: float, found: list[bytes]) -> None:
        numbers = [marker for marker in found if int(marker[5:]) > one.latest]
        if numbers:
            one.latest = int(numbers[-1][5:])
            self.arrivals.append((now, one.index, numbers))

    def _replay(self, one: Subscriber) -> None:
        """Ask for what came after the last message; what is pushed meanwhile waits."""
        one.waiting = []
        one.ready_at = 0.0
        after = 0
        request = self.protocol.join
        if one.latest >= 0:
            request = self.protocol.replay
            assert self.publisher is not None  # noqa: S101  # where there is replay
            share = self.publisher.messages
            frame, place = divmod(one.latest - self.first_number, share)
            after = self.publisher.first_seq + frame // self.channels * share + place
        request = request.replace(CHANNEL, channel_name(one.channel))
        request = request.replace(b"AFTER", b"%d" % after)
        assert self.replay_address is not None  # noqa: S101  # replay and its address go together
        sock = socket.socket()
        sock.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            sock.connect(self.replay_address)
        answer = bytearray()

        def step(mask: int) -> None:
            if mask & select.EPOLLOUT:
                self._epoll.modify(sock, select.EPOLLIN)
                sock.send(request)
                return
            data = sock.recv(_READ_BYTES)
            if data:
                answer.extend(data)
                return
            self._by_fd.pop(sock.fileno())
            self._epoll.unregister(sock)
            sock.close()
            now = time.perf_counter()
            if one.sock is None or one.waiting is None:
                return  # lost again meanwhile
            # The state has the last message once more.
            self._deliver(one, now, list(dict.fromkeys(_MARKERS.findall(answer))))
            for _, found in one.waiting:
                self._deliver(one, now, found)
            one.waiting = None
            one.ready_at = now

        self._by_fd[sock.fileno()] = step
        self._epoll.register(sock, select.EPOLLOUT)

    # -- publishing -------------------------------------------------------------------

    def _set_channels(self) -> None:
        if self.publisher is None:
            return
        if not self._outlets:
            self._outlets = [Outlet() for _ in range(self.publisher.connections)]
            for outlet in self._outlets:
                self._open_outlet(outlet)

    def _open_outlet(self, outlet: Outlet) -> None:
        assert self.publisher is not None  # noqa: S101  # it has outlets
        try:
            sock = socket.create_connection(self.publisher.address)
        except OSError:
            self._later(_TIMER_SECONDS, lambda: self._open_outlet(outlet))
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(self.publisher.greeting)
        sock.settimeout(0)
        outlet.sock = sock
        self._by_fd[sock.fileno()] = lambda _mask: self._outlet_readable(outlet)
        self._epoll.register(sock, select.EPOLLIN)

    def _outlet_readable(self, outlet: Outlet) -> None:
        assert outlet.sock is not None  # noqa: S101  # it is registered
        assert self.publisher is not None  # noqa: S101  # it has outlets
        try:
            data = outlet.sock.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._by_fd.pop(outlet.sock.fileno())
            self._epoll.unregister(outlet.sock)
            outlet.sock.close()
            outlet.sock = None
            if self.publisher.answered:
                outlet.go_back()
            else:
                outlet.forget_half()
            self._later(_TIMER_SECONDS, lambda: self._open_outlet(outlet))
            return
        if self.publisher.answered:
            outlet.answered += data.count(self.publisher.answered)
        if self.publisher.refused in data:
            self.refusals.append(data[:200].decode(errors="replace"))

    def _load(self, first: int, count: int) -> list[int]:
        """Make all that publishes these messages, so that sending them costs next to nothing.

        Returns:
            Of each connection, how many frames of an earlier run are not sent yet.
        """
        frames: list[list[bytes]] = [[] for _ in self._outlets]
        if self.publisher is not None:
            share = self.publisher.messages
            for i in range(0, count, share):
                number = self.first_channel + i // share % self.channels
                markers = [
                    b"@%05d%08d@" % (number, first + each)
                    for each in range(i, min(count, i + share))
                ]
                frame = self.publisher.frame(channel_name(number), markers)
                frames[i // share % len(frames)].append(frame)
        return [outlet.load(own) for outlet, own in zip(self._outlets, frames, strict=True)]

    def begin(self) -> None:
        """Do now what the channels need before their first messages: it is not to be measured."""
        if self.publisher is not None and self.publisher.begin is not None:
            for number in range(self.first_channel, self.first_channel + self.channels):
                self.publisher.begin(channel_name(number))

    # -- the loop -----------------------------------------------------------------------

    def run(self, rate: float, seconds: float, at: Callable[[], None] | None = None) -> range:
        """Publish at fixed times, in turn to each channel, and receive.

        Args:
            rate: Messages a second.
            seconds: For how long.
            at: Called once, a quarter of the way through.

        Returns:
            The numbers of the messages that were planned.
        """
        count = round(rate * seconds)
        left = self._load(len(self.planned), count)
        outlets = list(zip(range(len(left)), self._outlets, left, strict=True))
        share = self.publisher.messages if self.publisher else 1
        start = time.perf_counter() + 0.01
        numbers = self.plan(start, rate, seconds)
        due = 0
        while due < count:
            due = max(0, min(count, math.floor((time.perf_counter() - start) * rate) + 1))
            whole = due // share if due < count else -(-count // share)
            for i, outlet, before in outlets:
                own = before + (whole + len(outlets) - 1 - i) // len(outlets)
                if own:
                    outlet.due_bytes = outlet.ends[own - 1]
                    outlet.flush()
            if at and due * 4 >= count:
                at()
                at = None
            self._turn()
        return numbers

    def plan(self, start: float, rate: float, seconds: float) -> range:
        """Take note of messages that another process will publish from ``start`` on."""
        first = len(self.planned)
        self.planned.extend(start + i / rate for i in range(round(rate * seconds)))
        return range(first, len(self.planned))

    def wait(self, until: Callable[[], bool], timeout: float) -> bool:
        """Receive until a condition holds; tell whether it came to hold."""
        deadline = time.perf_counter() + timeout
        while not until():
            if time.perf_counter() > deadline:
                return False
            for outlet in self._outlets:
                outlet.flush()
            self._turn(0.005)
        return True

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (time.perf_counter() + seconds, self._timer_count, action))

    def _turn(self, timeout: float = 0.0) -> None:
        for fd, mask in self._epoll.poll(timeout, 1024):
            if handler := self._by_fd.get(fd):
                handler(mask)
        while self._timers and self._timers[0][0] <= time.perf_counter():
            heapq.heappop(self._timers)[2]()

    def disconnect(self) -> None:
        """Close the subscribers' connections and forget what arrived."""
        for one in self.subscribers:
            if one.sock is not None:
                self._by_fd.pop(one.sock.fileno(), None)
                self._epoll.unregister(one.sock)
                one.sock.close()
                one.sock = None
        self.subscribers, self.arrivals, self.refusals, self._timers = [], [], [], []
        self.lost_connections = 0

    def close(self) -> None:
        """Close every connection."""
        self.disconnect()
        for outlet in self._outlets:
            if outlet.sock is not None:
                outlet.sock.close()
        self._epoll.close()
