"""The demo as `make demo` runs it, and pages in a Chromium."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from kit.checkout import ROOT

if TYPE_CHECKING:
    from pathlib import Path

START_SECONDS = 60
# Long enough that much can happen to a page while a job runs, and two jobs at once.
JOB = {"DEMO_JOB_STEPS": "150", "DEMO_JOB_STEP_SECONDS": "0.1", "DEMO_WORKERS": "2"}


@dataclass(frozen=True)
class Demo:
    """A running demo.

    Args:
        url: Of its start page, without the slash.
        log: What it and its children print.
    """

    url: str
    log: Path

    def kill(self, module: str) -> None:
        """Kill all its processes that run ``module``, and wait until others have taken over."""
        started = re.compile(rf"^{module}: process (\d+)$", re.MULTILINE)
        before = started.findall(self.log.read_text())
        alive = [pid for pid in before if _alive(int(pid))]
        for pid in alive:
            os.kill(int(pid), signal.SIGKILL)
        wait_until(
            lambda: len(started.findall(self.log.read_text())) == len(before) + len(alive),
            self.log.read_text,
        )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, explain, seconds=START_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  # loopback
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def demo(instance, tmp_path_factory):
    """Start the demo on a free port, as `make demo` does."""
    assert instance["webdis"]["url"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("demo") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo_app"],
            cwd=ROOT,
            env={**os.environ, "DEMO_PORT": str(port), "DEMO_PAUSE_SECONDS": "1", **JOB},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: process.poll() is not None or _answers(url), log.read_text)
    assert process.poll() is None, log.read_text()
    yield Demo(url, log)
    process.terminate()
    assert process.wait(timeout=30) == 0, log.read_text()


@pytest.fixture
def visitor(browser, demo):
    """Return a function that makes a visitor with a session of their own.

    No page of theirs may break the content security policy or fail in a script.
    """
    contexts, complaints = [], []

    def visit(**options):
        context = browser.new_context(base_url=demo.url, **options)
        contexts.append(context)
        context.set_default_timeout(30_000)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on(
            "console",
            lambda message: (
                "Content Security Policy" in message.text and complaints.append(message.text)
            ),
        )
        return context

    yield visit
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def page(visitor):
    return visitor().new_page()


@pytest.fixture(scope="session")
def results() -> Path:
    """Return the folder for what tests leave to look at."""
    folder = ROOT / "test-results"
    folder.mkdir(exist_ok=True)
    return folder
