"""A channel of one's own, a running demo with a visitor, and a way to lose connections."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import selectors
import shutil
import socket
import ssl
import subprocess
import sys
import threading

import pytest

from demo_app import create_app
from kit.checkout import KIT_DIR, ROOT
from kit.verify import publisher
from kit.websocket import trust


@pytest.fixture
def channel():
    return f"progress:{secrets.token_hex(16)}"


class LossyProxy:
    """Passes bytes between clients and Redis, and loses what it is told to lose.

    ``plan`` says what happens to the next requests that run a script, in their order:
    ``pass``; ``cut`` (Redis executes it, its answer is lost); ``drop`` (Redis never
    sees it); ``leave`` (Redis gets it, and nobody waits); ``hold`` (the client is cut
    off, Redis gets it at `release`). ``on_loss`` can make Redis crash there as well.
    """

    def __init__(self, connect, on_loss=lambda: None):
        self._connect = connect
        self._on_loss = on_loss
        self.plan = []
        self._held = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = []
        self._clients = []
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            thread = threading.Thread(target=self._serve, args=(client,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, client):
        # Where Redis is gone, its client's connection ends as well.
        with client, contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            server = stack.enter_context(self._connect())
            selector = stack.enter_context(selectors.DefaultSelector())
            selector.register(client, selectors.EVENT_READ)
            selector.register(server, selectors.EVENT_READ)
            lose_answer = False
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65536)
                    if isinstance(key.fileobj, ssl.SSLSocket):
                        data += key.fileobj.recv(65536) if key.fileobj.pending() else b""
                    if not data:
                        return
                    if key.fileobj is server:
                        if lose_answer:
                            self._on_loss()
                            return
                        client.sendall(data)
                        continue
                    fate = self.plan.pop(0) if b"EVAL" in data and self.plan else "pass"
                    if fate == "hold":
                        self._held.append((server, data))
                        stack.pop_all()
                        return
                    if fate != "drop":
                        server.sendall(data)
                    if fate in {"drop", "leave"}:
                        self._on_loss()
                        return
                    lose_answer = lose_answer or fate == "cut"

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
        for client in self._clients:
            with contextlib.suppress(OSError):  # it is closed already
                client.shutdown(socket.SHUT_RDWR)
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


@pytest.fixture
def client(app):
    """Return a browser without scripts, with a session of its own."""
    return app.test_client()


def form(client, page="/job/", **fields):
    """Return what a page's form sends."""
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get(page).text)[1]
    return {**fields, "csrf_token": token}


@pytest.fixture(scope="session")
def demo(start_demo):
    """Return a running demo with one worker and quick jobs."""
    return start_demo(DEMO_JOB_STEPS=40, DEMO_JOB_STEP_SECONDS=0.1)


@pytest.fixture
def visitor(demo):
    return demo.visitor()


@pytest.fixture
def kit_dir(instance, tmp_path):
    """Return a copy of the instance's description, with no secret of Flask's."""
    (tmp_path / "instance.json").write_text(json.dumps(instance))
    shutil.copytree(KIT_DIR / "secrets", tmp_path / "secrets")
    (tmp_path / "secrets" / "flask").unlink(missing_ok=True)
    return tmp_path


@pytest.fixture
def refusal(kit_dir):
    """Return a function that returns what ``python -m demo_app`` says when it does not start."""

    def run(**environment):
        answer = subprocess.run(
            [sys.executable, "-m", "demo_app"],
            cwd=ROOT,
            env={**os.environ, "DEMO_KIT_DIR": str(kit_dir), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.returncode == 1
        assert "Traceback" not in answer.stderr
        return answer.stderr

    return run
