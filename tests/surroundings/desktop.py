"""A container of the kit that stands in for a host with systemd, which not every machine has.

In it there is a person with this checkout and its cache, and they make a container of their own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from kit.checkout import CACHE_DIR, INSTANCES_DIR, ROOT
from kit.container import IMAGE_PACKAGES, PACKAGES, root_file_system
from tests.surroundings.instances import kit

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "desktop"
SECONDS = 200 * float(os.environ.get("SLOWER") or 1)
# What ties processes to logins, and what the kit imports.
MORE = ["libpam-systemd"]
MORE += [f"python3-{name}" for name in ("cryptography", "redis", "websockets", "yaml")]
MAKE = f"""
apt-get -qq update
export DEBIAN_FRONTEND=noninteractive
apt-get -qq install -y --no-install-recommends {" ".join(PACKAGES + MORE)}
systemctl restart systemd-logind
useradd --create-home --shell /bin/bash person
echo 'person ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/person
install -d -o person -m 0700 /home/person/.ssh
install -o person /root/.ssh/authorized_keys /home/person/.ssh
install -d -o person /home/person/kit /home/person/.cache /home/person/.cache/webdis-kit
"""
INTO_CHECKOUT = "git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf -"


def on_host(command: str, user: str = "root", files: IO[bytes] | None = None) -> str:
    """Run a command as a login of its own, and return what it printed.

    Args:
        command: For a shell.
        user: Who logs in.
        files: Its standard input.
    """
    config = INSTANCES_DIR / HOST / "ssh_config"
    answer = subprocess.run(
        ["ssh", "-F", config, "-o", f"User={user}", "-o", "ControlPath=none", "server", command],
        stdin=files or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def _copy(command: str, folder: Path, to: str) -> None:
    with subprocess.Popen(["sh", "-c", command], cwd=folder, stdout=subprocess.PIPE) as files:
        on_host(f"tar -xf - -C {to}", "person", files.stdout)


@contextlib.contextmanager
def made() -> Iterator[None]:
    """Make that host; nothing of it is left afterwards."""
    try:
        kit(HOST, "create")
        on_host(f"set -e\n{MAKE}")
        _copy(INTO_CHECKOUT, ROOT, "/home/person/kit")
        archive = Path(root_file_system("trixie", IMAGE_PACKAGES)).name
        _copy(f"tar -cf - rootfs/{archive}*", CACHE_DIR, "/home/person/.cache/webdis-kit")
        yield
    finally:
        kit(HOST, "destroy")


@pytest.fixture
def host() -> Iterator[None]:
    """Make that host."""
    with made():
        yield


def container_after_logout() -> str:
    """Make a container in a login, end that login; return the container's name, which runs on."""
    on_host("cd kit && python3 -m kit create", "person")
    (name,) = on_host("cd /var/lib/webdis-kit && ls -d kit-*").split()
    ended = "! systemctl --quiet is-active user-$(id -u person).slice"
    on_host(f"loginctl terminate-user person; until {ended}; do sleep 0.1; done; {runs(name)}")
    return name


def runs(name: str) -> str:
    """Return the command that tells whether a container of that host runs."""
    return f"grep -q systemd-nspawn /proc/$(cat /var/lib/webdis-kit/{name}/pid)/comm"


def remove(name: str) -> None:
    """Let the person remove their container, of which nothing is left."""
    on_host("cd kit && python3 -m kit destroy", "person")
    units = "systemctl list-unit-files; systemctl list-units --all"
    assert name not in on_host(f"{units}; ls /var/lib/webdis-kit; ip link")
