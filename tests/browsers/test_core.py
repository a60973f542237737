"""What pages do most, in Firefox and WebKit: run, reload, back, forward, reconnect, two tabs."""

from __future__ import annotations

import json
import os
import signal

import pytest

from demo_app.lessons.function import STEPS
from kit.checkout import KIT_DIR
from kit.system import ensure_packages
from tests.browsers.drivers import LostError, firefox, webkit
from tests.demo_server import eventually

pytestmark = pytest.mark.timeout(600)
BROWSERS = {
    "Firefox": (firefox, ["firefox-esr"]),
    "WebKit": (webkit, ["webkit2gtk-driver", "xauth", "xvfb"]),
}
PRESS = "[...document.querySelectorAll('button')].find((b) => b.innerText.trim() === {}).click()"
SHOWN = "document.querySelector('run-progress').shadowRoot.getElementById({}).innerText"
COUNT_SOCKETS = """(() => {
  window.opened = 0;
  window.WebSocket = class extends WebSocket {
    onopened = this.addEventListener("open", () => window.opened++);
  };
  return true;
})()"""
TEXTS = (
    "[...document.querySelector('run-progress').shadowRoot"
    ".querySelectorAll('#messages .text')].map((e) => e.textContent)"
)


@pytest.fixture(scope="module", params=BROWSERS)
def browser(request, tmp_path_factory):
    run, packages = BROWSERS[request.param]
    ensure_packages(packages)
    with run(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def demo(start_demo):
    return start_demo(DEMO_PAUSE_SECONDS=0.5, DEMO_JOB_STEPS=60, DEMO_JOB_STEP_SECONDS=0.1)


@pytest.fixture(scope="module")
def kit_dir():
    """Return where the instance's files are."""
    return KIT_DIR


@pytest.fixture
def new_tab(browser):
    tabs = []

    def new():
        tabs.append(browser.tab())
        return tabs[-1]

    yield new
    for tab in tabs:
        tab.close()


@pytest.fixture
def tab(new_tab):
    return new_tab()


def asked(tab, expression):
    """Return what an expression gives, or None where the page is not there yet."""
    try:
        return tab.evaluate(expression)
    except LostError:
        return None


def see(tab, identifier, *texts):
    """Wait until the element shows one of the texts."""
    shown = SHOWN.format(json.dumps(identifier))
    eventually(
        lambda: asked(tab, shown) in texts,
        f"#{identifier} is not {texts} but {asked(tab, shown)}",
        90,
    )


def press(tab, name):
    """Press a button once its page is whole: who leaves a page before it is, cannot go back."""
    pressed = f"document.readyState === 'complete' && ({PRESS.format(json.dumps(name))}, true)"
    eventually(lambda: asked(tab, pressed), f"there is no button {name}")


def reload(tab):
    """Reload, and wait until it is the new page that answers."""
    tab.evaluate("(window.old = true)")
    tab.reload()
    eventually(lambda: asked(tab, "!window.old && document.readyState") == "complete", "no page")


def start(tab, demo):
    """Start a job, and return its address."""
    tab.open(f"{demo.url}/job/")
    press(tab, "Start")
    see(tab, "status", "running")
    return tab.evaluate("location.pathname")


def test_a_job_is_shown_to_its_end_and_after_reload_back_and_forward(tab, demo):
    path = start(tab, demo)
    see(tab, "state", "connected")
    reload(tab)
    see(tab, "state", "connected")
    tab.go(-1)
    eventually(lambda: asked(tab, "location.pathname") == "/job/", "it does not go back")
    tab.go(1)
    eventually(lambda: asked(tab, "location.pathname") == path, "it does not go forward")
    see(tab, "status", "done")
    see(tab, "percent", "100 %")
    texts = tab.evaluate(TEXTS)
    assert [text for text in texts if text in {"Started", "Done"}] == ["Started", "Done"]
    reload(tab)
    see(tab, "status", "done")
    assert tab.evaluate(TEXTS) == texts


def test_a_page_that_loses_webdis_comes_back_by_itself(tab, demo, kit_dir):
    start(tab, demo)
    see(tab, "state", "connected")
    tab.evaluate(COUNT_SOCKETS)
    file = kit_dir / "local/webdis.pid"
    killed = file.read_text().strip()
    os.kill(int(killed), signal.SIGKILL)
    eventually(lambda: file.read_text().strip() not in {"", killed}, "Webdis is not started again")
    eventually(lambda: tab.evaluate("opened"), "it opens no other socket")
    see(tab, "status", "done")
    see(tab, "percent", "100 %")


def test_two_tabs_show_the_same(new_tab, demo):
    tabs = [new_tab() for _ in range(2)]
    for tab in tabs:
        tab.open(f"{demo.url}/shared/")
        see(tab, "state", "connected")
    press(tabs[1], "Run")
    eventually(lambda: tabs[0].evaluate(TEXTS) == list(STEPS), "not all is shown", 60)
