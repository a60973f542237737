"""The page of a run on devices in Firefox and WebKit: started, loaded again, seen to its end."""

from __future__ import annotations

import contextlib

import pytest

from tests.browsers.test_core import (
    asked,
    browser,  # noqa: F401  # a fixture, in place of the Chromium
    new_tab,  # noqa: F401  # likewise
    press,
    reload,
    see,
    tab,  # noqa: F401  # likewise
)
from tests.demo_server import eventually

pytestmark = pytest.mark.timeout(600)
STATES = (
    "Object.fromEntries([...document.querySelectorAll('{}[data-device]')]"
    ".map((e) => [e.dataset.device, e.dataset.state]))"
)


@pytest.fixture(scope="module")
def demo(start_demo):
    """Start a demo that waits for devices as long as people's: a browser slows them down, too."""
    return start_demo()


def test_a_check_of_all_devices_is_shown_to_its_end(tab, demo, lab):  # noqa: F811  # the fixture
    lab.fault("r2", "refuse")
    tab.open(f"{demo.url}/devices/")
    press(tab, "Start")
    see(tab, "status", "running", "failed")
    reload(tab)
    see(tab, "status", "failed")
    # The table is asked for once the run has ended, and the messages colour the picture.
    for part, well in (("tbody", "ok"), ("g", "done")):
        wanted = dict.fromkeys(lab.routers, well) | {"r2": "failed"}
        shown = STATES.format(part)
        with contextlib.suppress(AssertionError):
            eventually(lambda shown=shown, wanted=wanted: asked(tab, shown) == wanted, part)
        assert asked(tab, shown) == wanted, part
