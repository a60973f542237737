"""A channel of one's own, a running demo with visitors, and a way to lose connections."""

from __future__ import annotations

import contextlib
import http.cookiejar
import os
import re
import secrets
import selectors
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from demo_app import create_app
from kit.checkout import ROOT
from kit.page import trust
from kit.verify import publisher


@pytest.fixture
def channel():
    return f"progress:{secrets.token_hex(16)}"


class LossyProxy:
    """Passes bytes between clients and Redis, and loses what it is told to lose.

    ``plan`` says what happens to the next requests that run a script, in their order:
    ``pass``; ``cut`` (Redis executes it, its answer is lost); ``drop`` (Redis never
    sees it); ``hold`` (the client is cut off, Redis gets it at `release`).
    """

    def __init__(self, connect):
        self._connect = connect
        self.plan = []
        self._held = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = []
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, client):
        server = self._connect()
        with client, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(server, selectors.EVENT_READ)
            lose_answer = False
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65536)
                    if isinstance(key.fileobj, ssl.SSLSocket):
                        data += key.fileobj.recv(65536) if key.fileobj.pending() else b""
                    if not data or (lose_answer and key.fileobj is server):
                        server.close()
                        return
                    if key.fileobj is server:
                        client.sendall(data)
                        continue
                    fate = self.plan.pop(0) if b"EVAL" in data and self.plan else "pass"
                    if fate == "drop":
                        server.close()
                        return
                    if fate == "hold":
                        self._held.append((server, data))
                        return
                    lose_answer = fate == "cut"
                    server.sendall(data)

    def release(self):
        """Let Redis have what was held, and wait until it has answered."""
        for server, data in self._held:
            server.sendall(data)
            assert server.recv(65536)
            server.close()
        self._held.clear()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def lossy_proxy(instance):
    entry = instance["redis"]

    def connect():
        plain = socket.create_connection((entry["host"], entry["port"]))
        if not entry["tls"]:
            return plain
        return trust(instance).wrap_socket(plain, server_hostname=entry["host"])

    proxy = LossyProxy(connect)
    yield proxy
    proxy.close()


@pytest.fixture
def lossy_redis(instance, lossy_proxy):
    """Return a connection as the publisher, through the proxy."""
    entry = {**instance["redis"], "host": "127.0.0.1", "port": lossy_proxy.port, "tls": False}
    through = {**instance, "redis": entry}
    with publisher(through) as connection:
        connection.set_retry(None)
        yield connection


@pytest.fixture
def app(instance):
    """Return the application, with a queue that no worker looks at."""
    assert instance["address"]
    app = create_app({"QUEUE": f"test-{secrets.token_hex(4)}", "PAUSE_SECONDS": 0.0})
    yield app
    for connection in app.extensions["redis"].values():
        connection.close()


def eventually(condition, what, seconds=30.0):
    """Wait until ``condition`` is true and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return value


def children(pid):
    """Return the ids of a process's children."""
    with contextlib.suppress(FileNotFoundError):
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    return []


class Visitor:
    """A browser without JavaScript: keeps cookies, follows redirects, fills in tokens."""

    def __init__(self, url):
        self.url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def get(self, path):
        with self._opener.open(self.url + path, timeout=30) as answer:
            return answer.read().decode()

    def post(self, page, action=None, **fields):
        """Send the form of a page; return the path that it leads to."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get(page))[1]
        data = urllib.parse.urlencode({**fields, "csrf_token": token}).encode()
        with self._opener.open(self.url + (action or page), data, timeout=30) as answer:
            return answer.url.removeprefix(self.url)

    def status_of(self, path):
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return 200

    def state(self, path):
        """Return a run's state and its last text, as its plain page shows them."""
        page = self.get(path)
        state = re.search(r'data-state="(\w+)"', page)[1]
        return state, re.search(r'id="text">([^<]*)<', page)[1]

    def wait_for(self, path, *states):
        """Wait until a run has one of the states; return it and the last text."""
        return eventually(
            lambda: (found := self.state(path))[0] in states and found,
            f"{path} did not come to {states}: {self.state(path)}",
        )


class Demo:
    """The demo as `make demo` runs it, on a port and a queue of its own."""

    eventually = staticmethod(eventually)

    def __init__(self, log, **settings):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        environment = {
            "DEMO_PORT": port,
            "DEMO_QUEUE": f"test-{secrets.token_hex(4)}",
            "DEMO_WORKERS": 1,
            **settings,
        }
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo_app"],
                cwd=ROOT,
                env={**os.environ, **{name: str(value) for name, value in environment.items()}},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.wait_for_log("Listening on")

    def log(self):
        assert self.process.poll() is None, self._log.read_text()
        return self._log.read_text()

    def wait_for_log(self, text):
        eventually(lambda: text in self.log(), f"the log has no {text!r}")

    def process_of(self, module):
        """Return the process id of the demo's web server or worker."""

        def find():
            for child in children(self.process.pid):
                with contextlib.suppress(FileNotFoundError):
                    if f"demo_app.{module}\0" in Path(f"/proc/{child}/cmdline").read_text():
                        return child
            return None

        return eventually(find, f"no {module}")

    def horse(self):
        """Return the id of the process that does a job."""
        return eventually(
            lambda: next(iter(children(self.process_of("worker"))), None), "no job is worked on"
        )

    def has_ended(self, pid):
        """Has a process ended, whether or not anybody has asked how?"""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    def visitor(self):
        return Visitor(self.url)

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=60)
        assert code == 0, self._log.read_text()
        return self._log.read_text()


@pytest.fixture(scope="session")
def start_demo(instance, tmp_path_factory):
    """Return a function that starts the demo with ``DEMO_*`` settings."""
    assert instance["address"]
    started = []

    def start(**settings):
        started.append(Demo(tmp_path_factory.mktemp("demo") / "log", **settings))
        return started[-1]

    yield start
    for demo in started:
        if demo.process.poll() is None:
            demo.stop()


@pytest.fixture(scope="session")
def demo(start_demo):
    """Return a running demo with one worker and quick jobs."""
    return start_demo(DEMO_JOB_STEPS=40, DEMO_JOB_STEP_SECONDS=0.1)


@pytest.fixture
def visitor(demo):
    return demo.visitor()
