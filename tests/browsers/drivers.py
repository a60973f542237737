"""Firefox by WebDriver BiDi, WebKit by WebDriver: as much of them as a page's reader does.

Both are Debian's. Firefox speaks BiDi itself, as there is no geckodriver in Debian; WebKitGTK has a
driver that speaks the older protocol. A tab of either can do the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from websockets.sync.client import connect

from bench.processes import free_port
from tests.demo_server import eventually

SECONDS = 60
# A script that meets the change from one page to the next is never answered: it is asked again.
SCRIPT_SECONDS = 20


class LostError(Exception):
    """What was asked cannot be answered now: the page is on its way to another."""


@contextlib.contextmanager
def program(log, *command, **environment):
    """Run a program and what it starts, until the block ends."""
    with (
        log.open("w") as output,
        subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


class Firefox:
    """A Firefox without a window."""

    def __init__(self, socket):
        self._socket = socket
        self._count = 0
        self.command("session.new", capabilities={})

    def command(self, method, **params):
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": params}))
        while (answer := json.loads(self._socket.recv(SECONDS))).get("id") != self._count:
            pass
        if answer["type"] == "error":
            raise LostError(f"{method}: {answer['message']}")
        return answer["result"]

    def tab(self):
        context = self.command("browsingContext.create", type="tab")["context"]
        return FirefoxTab(self, context)


class FirefoxTab:
    def __init__(self, browser, context):
        self._browser = browser
        self._context = context

    def _do(self, method, **params):
        return self._browser.command(f"browsingContext.{method}", context=self._context, **params)

    def open(self, url):
        self._do("navigate", url=url, wait="complete")

    def reload(self):
        self._do("reload", wait="complete")

    def go(self, delta):
        self._do("traverseHistory", delta=delta)

    def evaluate(self, expression):
        answer = self._browser.command(
            "script.evaluate",
            expression=f"JSON.stringify({expression}) ?? 'null'",
            target={"context": self._context},
            awaitPromise=False,
        )
        if answer["type"] != "success":
            raise LostError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def close(self):
        self._do("close")


class WebKit:
    """WebKitGTK's MiniBrowser; it has one window at a time that is spoken to."""

    def __init__(self, url, binary):
        self._url = url
        options = {"binary": binary, "args": ["--automation"]}
        # Or nothing is answered while a form waits for its answer.
        wanted = {"pageLoadStrategy": "none", "webkitgtk:browserOptions": options}
        answer = self.command("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"
        self.first = self.do("GET", "/window")

    def command(self, method, path, body=None):
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self._url + path, data, method=method)  # noqa: S310  # of this host
        seconds = SCRIPT_SECONDS if path.endswith("/execute/sync") else SECONDS
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise LostError(json.load(error)["value"]["message"]) from None
        except TimeoutError:
            raise LostError(f"{method} {path}: no answer within {seconds} s") from None

    def do(self, method, path, body=None):
        return self.command(method, self._session + path, body)

    def tab(self):
        return WebKitTab(self, self.do("POST", "/window/new", {"type": "tab"})["handle"])

    def quit(self):
        self.do("DELETE", "")


class WebKitTab:
    def __init__(self, browser, handle):
        self._browser = browser
        self._handle = handle

    def _do(self, method, path, body=None):
        self._browser.do("POST", "/window", {"handle": self._handle})
        return self._browser.do(method, path, body)

    def open(self, url):
        self._do("POST", "/url", {"url": url})

    def reload(self):
        self._do("POST", "/refresh")

    def go(self, delta):
        self._do("POST", "/back" if delta < 0 else "/forward")

    def evaluate(self, expression):
        script = {"script": f"return {expression}", "args": []}
        return self._do("POST", "/execute/sync", script)

    def close(self):
        self._do("DELETE", "/window")
        self._browser.do("POST", "/window", {"handle": self._browser.first})


@contextlib.contextmanager
def firefox(folder):
    log = folder / "firefox.log"
    command = ("firefox-esr", "--headless", "--remote-debugging-port", str(free_port()))
    profile = folder / "profile"
    profile.mkdir()
    with program(log, *command, "--profile", str(profile), "about:blank", HOME=str(folder)):
        pattern = r"WebDriver BiDi listening on (\S+)"
        listening = eventually(
            lambda: re.search(pattern, log.read_text()), "Firefox does not listen", SECONDS
        )
        with connect(f"{listening[1]}/session", max_size=None) as socket:
            browser = Firefox(socket)
            yield browser
            with contextlib.suppress(Exception):  # it may close the socket before it answers
                browser.command("browser.close")


@contextlib.contextmanager
def webkit(folder):
    [binary, *_] = Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    home = {"HOME": str(folder), "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
    log = folder / "webkit.log"
    with program(log, "xvfb-run", "-a", "WebKitWebDriver", "-p", str(port), **home):

        def ready():
            try:
                with urllib.request.urlopen(f"{url}/status", timeout=5) as answer:  # noqa: S310
                    return json.load(answer)["value"]["ready"]
            except OSError:
                return False

        eventually(ready, "WebKitWebDriver does not answer", SECONDS)
        browser = WebKit(url, str(binary))
        yield browser
        browser.quit()
