"""What every layer of tests shares: the running instance."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from kit.checkout import KIT_DIR, SSH_CONFIG, read_instance
from kit.errors import KitError
from kit.tls import CA_FILE
from kit.verify import FAILURES, message_arrives, publisher
from tests import services
from tests.demo_server import WAIT_SECONDS, Demo, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import redis
    from playwright.sync_api import Browser
    from testinfra.host import Host


# The demo knows nothing of names of instances: it and what a test starts are told the folder.
os.environ.setdefault("DEMO_KIT_DIR", str(KIT_DIR))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a test its own limit of time times ``SLOWER``, where the instance is emulated."""
    factor = float(os.environ.get("SLOWER") or 1)
    for item in items:
        own = item.get_closest_marker("timeout")
        if own and factor > 1:
            item.add_marker(pytest.mark.timeout(own.args[0] * factor), append=False)


@pytest.fixture(scope="session")
def instance() -> dict[str, Any]:
    """Return the instance, which works; without one, tests fail at once and never skip."""
    try:
        found = read_instance()
    except KitError as error:
        pytest.fail(str(error))

    def works() -> bool:
        with contextlib.suppress(*FAILURES):
            return bool(message_arrives(found))
        return False

    eventually(works, "no message comes through the instance: `make status` says why")
    return found


@pytest.fixture(scope="session")
def server(instance: dict[str, Any]) -> Iterator[Host]:
    """Return the instance as a testinfra host; all commands share one connection."""
    import testinfra  # noqa: PLC0415  # unit tests run without it

    assert instance["address"]
    # A login costs ten times as much as a command, on both sides.
    with tempfile.TemporaryDirectory(prefix="kit-ssh-") as folder:  # its path must be short
        control_path = f"{folder}/master"
        # An instance that has gone away without a word must not hold the next command.
        alive = "-o ServerAliveInterval=5"
        host = testinfra.get_host(
            "ssh://server",
            ssh_config=str(SSH_CONFIG),
            ssh_extra_args=alive,
            controlpath=control_path,
        )
        host.run = partial(services.insist, host.run)  # type: ignore[method-assign]  # all others use it
        yield host
        command = ["ssh", "-F", SSH_CONFIG, "-O", "exit", "-o", f"ControlPath={control_path}"]
        subprocess.run([*command, "server"], capture_output=True, check=False)


@pytest.fixture(scope="session")
def redis_service(
    instance: dict[str, Any], request: pytest.FixtureRequest
) -> Iterator[services.Redis]:
    """Return what stops and starts the instance's Redis."""
    if instance["provider"] == "local":
        with contextlib.closing(services.Supervised(instance)) as supervised:
            yield supervised
    else:
        yield services.Unit(request.getfixturevalue("server"))


@pytest.fixture
def publisher_redis(instance: dict[str, Any]) -> Iterator[redis.Redis]:
    """Return a connection as the publisher."""
    connection = publisher(instance)
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def secrets_dir() -> Path:
    """Return the folder of passwords."""
    return KIT_DIR / "secrets"


@pytest.fixture(scope="session")
def browser_home(instance: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home folder whose Chromium trusts the instance's CA, where it has one."""
    home = tmp_path_factory.mktemp("browser_home")
    if instance["tls"]:
        roots = home / ".pki" / "nssdb"
        roots.mkdir(parents=True)
        database = ["certutil", "-d", f"sql:{roots}"]
        subprocess.run([*database, "-N", "--empty-password"], check=True)
        added = ["-A", "-n", "webdis-kit", "-t", "C,,", "-i", str(CA_FILE)]
        subprocess.run([*database, *added], check=True)
    return home


@pytest.fixture(scope="session")
def launch(browser_home: Path) -> Iterator[Callable[..., Browser]]:
    """Return a function that launches a Chromium; ``home`` has the CAs that it trusts.

    It is Chromium's headless shell, which takes less than half of the processor time; where that
    is missing, as on Ubuntu, and with ``whole`` it is Chromium. Only that has pages of its own for
    what fails, and keeps a page for the way back.
    """
    from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415  # unit tests do without

    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing; tests/install.sh installs it"
    shell = shutil.which("chromium-headless-shell") or chromium
    # Playwright's own 5 seconds are over before a page is there, where the machine is busy.
    expect.set_options(timeout=1000 * WAIT_SECONDS / 2)
    with sync_playwright() as playwright:
        yield lambda home=browser_home, whole=False, **options: playwright.chromium.launch(
            executable_path=chromium if whole else shell,
            args=["--no-sandbox"],
            env={**os.environ, "HOME": str(home)},
            **options,
        )


@pytest.fixture(scope="session")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    """Return a Chromium whose pages do not move, unless ``reduced_motion`` asks for it."""
    launched = launch()
    # Where nothing is drawn by hardware, bars that move take a quarter of a page's processor time.
    for open_one in ("new_context", "new_page"):
        still = partial(getattr(launched, open_one), reduced_motion="reduce")
        setattr(launched, open_one, still)
    yield launched
    launched.close()


@pytest.fixture(scope="session")
def start_demo(
    instance: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Demo]]:
    """Return a function that starts the demo with ``DEMO_*`` settings."""
    assert instance["address"]
    started = []

    def start(**settings):
        started.append(Demo(tmp_path_factory.mktemp("demo") / "log", **settings))
        return started[-1]

    yield start
    with contextlib.ExitStack() as each:  # also where one does not end
        for demo in started:
            each.callback(demo.end)
