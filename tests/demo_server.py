"""The demo as a process of its own, and those who visit it."""

from __future__ import annotations

import contextlib
import http.cookiejar
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from bench.processes import free_port
from kit.checkout import ROOT

# `make mutants` waits less, as most of what it waits for never comes.
WAIT_SECONDS = float(os.environ.get("KIT_TESTS_WAIT_SECONDS") or 60)


def eventually(condition, what, seconds=WAIT_SECONDS):
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
    """A browser without JavaScript: keeps cookies, follows redirects, fills in tokens.

    Args:
        url: Of the demo.
        handlers: Of urllib, for what is special about the way there.
    """

    def __init__(self, url, *handlers):
        self.url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies, *handlers)
        self._opener.addheaders = [("Referer", f"{url}/")]

    def get(self, path):
        with self._opener.open(self.url + path, timeout=30) as answer:
            return answer.read().decode()

    def post(self, page, action=None, **fields):
        """Send the form of a page; return the path that it leads to."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get(page))[1]
        data = urllib.parse.urlencode({**fields, "csrf_token": token}, doseq=True).encode()
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
        # A table of results has states of its own, and may come first.
        state = re.search(r'id="status" data-state="(\w+)"', page)[1]
        return state, re.search(r'id="text">([^<]*)<', page)[1]

    def wait_for(self, path, *states):
        """Wait until a run has one of the states; return it and the last text."""
        return eventually(
            lambda: (found := self.state(path))[0] in states and found,
            f"{path} did not come to {states}: {self.state(path)}",
        )


class Demo:
    """The demo as `make demo` runs it, on a port and a queue of its own.

    Args:
        log: File for what it prints.
        command: What runs it, with its command as arguments.
        settings: ``DEMO_*`` variables.
    """

    eventually = staticmethod(eventually)

    def __init__(self, log, command=(), **settings):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.health_url = f"http://127.0.0.1:{(health_port := free_port())}"
        self._log = log
        environment = {
            "DEMO_PORT": self.port,
            "DEMO_HEALTH_PORT": health_port,
            "DEMO_QUEUE": f"test-{secrets.token_hex(4)}",
            "DEMO_WORKERS": 1,
            **settings,
        }
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [*command, sys.executable, "-m", "demo_app"],
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
                    if f".{module}\0" in Path(f"/proc/{child}/cmdline").read_text():
                        return child
            return None

        return eventually(find, f"no {module}")

    def kill(self, module):
        """Kill all processes that run ``module``, and wait until others have taken over."""

        def started():
            return re.findall(rf"^{re.escape(module)}: process (\d+)$", self.log(), re.MULTILINE)

        before = started()
        alive = [pid for pid in map(int, before) if not self.has_ended(pid)]
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
        eventually(
            lambda: len(started()) == len(before) + len(alive),
            f"nothing took over from {module}",
            60,
        )

    def horse(self):
        """Return the id of the process that does a job."""
        return eventually(
            lambda: next(iter(children(self.process_of("worker"))), None), "no job is worked on"
        )

    def state_of(self, pid):
        """Return the letter for the state of a process, as proc_pid_stat(5) has it."""
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    def has_ended(self, pid):
        """Has a process ended, whether or not anybody has asked how?"""
        try:
            return self.state_of(pid) == "Z"
        except FileNotFoundError:
            return True

    def visitor(self):
        return Visitor(self.url)

    def end(self):
        """Stop it where the test has not; whoever does not listen is killed."""
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=60)
        assert code == 0, self._log.read_text()
        return self._log.read_text()
