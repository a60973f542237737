"""Any text, any numbers, two writers, and a Redis that is killed: what a reader gets is right.

Each writer is a `Progress` or an `AsyncProgress`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.app.conftest import LossyProxy
from tests.app.own_redis import OwnRedis
from tests.demo_server import eventually
from webdis_progress import (
    INTEGER_LIMIT,
    LEVELS,
    MAX_DATA_BYTES,
    MAX_PAYLOAD_BYTES,
    TERMINAL,
    AsyncProgress,
    EndedError,
    Progress,
    replay,
)

EXAMPLES = int(os.environ.get("HISTORIES") or 40)
FIRST, SECOND, OTHERS = range(3)  # who acts: two writers, and all that happens to them
STANDARD_TEXTS = {"started": "Started", "done": "Done"}

TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.integers(0, 20) | st.sampled_from([2**53 - 1, 2**53, 2**60]) | VALUES
WORDS = st.fixed_dictionaries(
    {"text": st.tuples(TEXTS, st.sampled_from([1, 1, 1, 200, 2000]))},  # so many times
    optional={
        "level": st.sampled_from(LEVELS) | TEXTS,
        "data": st.dictionaries(TEXTS, VALUES, max_size=3) | VALUES,
    },
)
BARS = st.sampled_from([None, "a", "b"])
CALLS = st.one_of(
    st.tuples(st.just("message"), BARS, st.just(()), WORDS),
    st.tuples(st.sampled_from(["update", "advance"]), BARS, st.tuples(NUMBERS), WORDS),
    st.tuples(st.just("total"), BARS, st.tuples(NUMBERS), st.just({})),
    st.tuples(st.sampled_from(["started", "done"]), st.sampled_from("ab"), st.just(()), WORDS),
)
KINDS = st.sampled_from([Progress, AsyncProgress])
WRITERS = st.sampled_from([FIRST, SECOND])
HISTORIES = st.lists(
    st.one_of(
        st.tuples(WRITERS, st.just("call"), CALLS),
        st.tuples(WRITERS, st.just("batch"), st.lists(CALLS, max_size=8)),
        st.tuples(
            st.just(OTHERS), st.just("crash"), st.sampled_from(["now", "drop", "leave", "cut"])
        ),
        st.tuples(st.just(OTHERS), st.just("read"), st.integers(0, 1)),
    ),
    max_size=25,
)


class Awaited:
    """A bar of asyncio's client, to be called as one that blocks.

    Args:
        bar: An `AsyncProgress`, or a task of it.
        runner: Runs its coroutines, all in one context: a batch stays open from one to the next.
    """

    def __init__(self, bar, runner):
        self._bar, self._runner = bar, runner

    def __getattr__(self, name):
        def call(*values, **words):
            return self._runner.run(getattr(self._bar, name)(*values, **words))

        return call

    def task(self, name):
        return Awaited(self._bar.task(name), self._runner)

    @contextlib.contextmanager
    def batch(self):
        batch = self._bar.batch()
        self._runner.run(batch.__aenter__())
        yield
        self._runner.run(batch.__aexit__(None, None, None))

    @property
    def total(self):
        return self._bar.total

    @total.setter
    def total(self, value):
        self._bar.total = value


class Writer:
    """Publishes, and knows by itself what its events have to be.

    Args:
        progress: Its publisher.
        prefix: Of all its texts.
        said: Where its events go, in the order of their calls.
    """

    def __init__(self, progress, prefix, said):
        self.progress = progress
        self._prefix, self._said = prefix, said
        self._bars = {None: progress, "a": progress.task("a"), "b": progress.task("b")}
        self._numbers = {name: {"current": None, "total": None} for name in self._bars}
        self._ended = set()

    def call(self, call):
        """Do what is to be done, or see it refused, by name."""
        method, name, values, words = call
        if words:
            text, times = words["text"]
            words = {**words, "text": self._prefix + text * times}
        call = (method, name, values, words)
        numbers = self._numbers[name]
        if refused := refused_name(call):
            with pytest.raises((TypeError, ValueError), match=f"^{refused} "):
                self._do(call)
        elif method == "total":
            self._do(call)
            numbers["total"] = values[0]
        elif name in self._ended and method != "started":
            with pytest.raises(EndedError):
                self._do(call)
        elif method == "advance" and (numbers["current"] or 0) + values[0] >= INTEGER_LIMIT:
            with pytest.raises(ValueError, match=r"^current "):
                self._do(call)
        else:
            self._do(call)
            if method == "update":
                numbers["current"] = values[0]
            elif method == "advance" and values[0]:
                numbers["current"] = (numbers["current"] or 0) + values[0]
            (self._ended.add if method in TERMINAL else self._ended.discard)(name)
            kind = "progress" if method in {"update", "advance"} else method
            self._said.append({"kind": kind, "task": name, **numbers, **words})

    def batch(self, calls):
        """The same, sent at once."""
        with self.progress.batch():
            for call in calls:
                self.call(call)

    def _do(self, call):
        method, name, values, words = call
        if method == "total":
            self._bars[name].total = values[0]
        else:
            getattr(self._bars[name], method)(*values, **words)


def refused_name(call):
    """Return the name of the first value that is not allowed; none: all are."""
    method, _, values, words = call
    for value in values:
        is_unknown = method == "total" and value is None
        if not is_unknown and (type(value) is not int or not 0 <= value < INTEGER_LIMIT):
            return {"update": "current", "advance": "n", "total": "total"}[method]
    if words.get("level") not in {None, *LEVELS}:
        return "level"
    data = words.get("data")
    return None if data is None or (isinstance(data, dict) and is_carried(data)) else "data"


def is_carried(data):
    try:
        return len(json.dumps(data, allow_nan=False)) <= MAX_DATA_BYTES
    except ValueError:
        return False


class Reader:
    """Follows a channel as a page does: what has come, and where each bar stands."""

    def __init__(self, client, channel, after):
        self._client, self._channel = client, channel
        self._after, self._epoch = after, ""
        self.events, self.bars = [], {}

    def read(self):
        """Ask until there is nothing more."""
        while True:
            answer = eventually(self._ask, "Redis did not come back")
            assert answer["unreadable"] == 0
            assert self._epoch in {"", answer["epoch"]}, "the channel was begun anew"
            self._epoch = answer["epoch"]
            if state := answer.get("state"):
                self.bars = {}
                self._show([state["run"]] if state["run"] else [])
                self._show(state["tasks"])
            if self._after is None:  # it joins
                self._after = answer["seq"]
                return
            self.events += answer["events"]
            self._show(answer["events"])
            self._after = self.events[-1]["seq"] if self.events else self._after
            if self._after == answer["seq"]:
                return

    def _ask(self):
        with contextlib.suppress(redis.RedisError):
            answer = replay(self._client, self._channel, self._after, self._epoch)
            return json.loads(json.dumps(answer, allow_nan=False))  # as a browser gets it
        return None

    def _show(self, events):
        for event in events:
            values = [event.get(name) for name in ("seq", "kind", "current", "total", "level")]
            self.bars[event.get("task")] = values


def shown(text):
    """Return a text as a page has it: what cannot be carried is replaced."""
    text = text.replace("\0", "\N{SYMBOL FOR NULL}")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def check(event, expected):
    """See that a reader's event is the one that was published."""
    for name in ("kind", "current", "total", "task", "level", "data"):
        assert event.get(name) == expected.get(name), name
    text = shown(expected["text"]) or STANDARD_TEXTS.get(event["kind"], "")
    if event["text"] != text:
        assert event["text"].endswith("\N{HORIZONTAL ELLIPSIS}")
        assert text.startswith(event["text"][:-1])
        assert len(json.dumps(event)) > MAX_PAYLOAD_BYTES - 600, "no more is cut than needs to be"


@pytest.fixture(scope="module")
def server(instance):
    """Return a Redis that can be killed, and the way to it on which messages are lost."""
    assert instance["address"]
    # What it has taken is on the disk before it says so.
    with OwnRedis("--appendonly yes --appendfsync always") as own:
        port = own.client.connection_pool.connection_kwargs["port"]
        proxy = LossyProxy(lambda: socket.create_connection(("127.0.0.1", port)), own.crash)
        yield own, proxy
        proxy.close()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    history=HISTORIES,
    kinds=st.tuples(KINDS, KINDS),
    required=st.booleans(),
    together=st.booleans(),
)
def test_a_reader_gets_all_of_it_once_and_in_order(server, history, kinds, required, together):
    own, proxy = server
    channel = f"progress:{secrets.token_hex(16)}"
    said = [[], []]
    if required and not together:
        said[SECOND] = said[FIRST]  # then the order of the calls is that of the events
    readers = [Reader(own.client, channel, after) for after in (0, None)]
    with contextlib.ExitStack() as stack:
        writers = []
        for number in (FIRST, SECOND):
            progress = publisher(kinds[number], proxy.port, channel, required)
            writers.append(Writer(stack.enter_context(progress), str(number), said[number]))
        each = [[step for step in history if step[0] == who] for who in (FIRST, SECOND, OTHERS)]
        with ThreadPoolExecutor() as pool:
            parts = each if together else [history]
            list(pool.map(lambda steps: play(steps, server, writers, readers), parts))
        proxy.plan.clear()
        writers[SECOND].progress.flush()
        writers[FIRST].progress.done()
        writers[FIRST].progress.flush()
        with pytest.raises(EndedError):
            say_too_late(writers[SECOND].progress)
    for reader in readers:
        reader.read()
    check_readers(*readers, said)
    for _, entry in own.client.xrange(f"{channel}:events"):
        assert entry[b"message"].isascii()
        assert len(entry[b"message"]) <= MAX_PAYLOAD_BYTES


@contextlib.contextmanager
def publisher(kind, port, channel, required):
    """Yield a publisher of a kind, to be called as one that blocks."""
    if kind is Progress:
        with redis.Redis(port=port, socket_timeout=5) as client:
            yield Progress(client, channel, required=required)
        return
    client = redis.asyncio.Redis(port=port, socket_timeout=5)
    with asyncio.Runner() as runner:
        yield Awaited(AsyncProgress(client, channel, required=required), runner)


def play(steps, server, writers, readers):
    """Do what is to be done, one after the other."""
    own, proxy = server
    for who, what, how in steps:
        if what == "read":
            readers[how].read()
        elif (what, how) == ("crash", "now"):
            own.crash()
        elif what == "crash":
            proxy.plan.append(how)
        else:
            getattr(writers[who], what)(how)


def say_too_late(progress):
    progress.message("too late")
    progress.flush()


def check_readers(from_the_start, late, said):
    """See that both have all that they should have."""
    *events, end = from_the_start.events
    assert (end["kind"], end.get("task")) == ("done", None)
    assert [event["seq"] for event in from_the_start.events] == list(range(1, len(events) + 2))
    assert len({event["epoch"] for event in from_the_start.events}) == 1
    if said[FIRST] is said[SECOND]:
        by_writer = [events]
    else:
        by_writer = [
            [event for event in events if event["text"].startswith(str(number))]
            for number in (FIRST, SECOND)
        ]
        assert sum(map(len, by_writer)) == len(events)
    for its_events, its_calls in zip(by_writer, said, strict=False):
        assert len(its_events) == len(its_calls)
        for event, expected in zip(its_events, its_calls, strict=True):
            check(event, expected)
    if late.events:
        assert late.events == from_the_start.events[-len(late.events) :]
    assert late.bars == from_the_start.bars
