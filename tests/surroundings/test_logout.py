"""A container outlives the login that has made it, and with ``BOOT=1`` it starts with its host.

Not every machine that tests run on has systemd as its first process: a container of the kit stands
in for the host. In it a person logs in and makes a container of their own.
"""

from __future__ import annotations

import subprocess

import pytest

from kit.checkout import CACHE_DIR, INSTANCES_DIR, ROOT
from kit.container import PACKAGES
from tests.surroundings.instances import kit

HOST = "desktop"
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


def on_host(command, user="root", files=None):
    """Run a command as a login of its own, with files as its standard input."""
    config = INSTANCES_DIR / HOST / "ssh_config"
    answer = subprocess.run(
        ["ssh", "-F", config, "-o", f"User={user}", "-o", "ControlPath=none", "server", command],
        stdin=files or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def copy(command, folder, to):
    with subprocess.Popen(["sh", "-c", command], cwd=folder, stdout=subprocess.PIPE) as files:
        on_host(f"tar -xf - -C {to}", "person", files.stdout)


@pytest.fixture
def host():
    try:
        kit(HOST, "create")
        on_host(f"set -e\n{MAKE}")
        copy(INTO_CHECKOUT, ROOT, "/home/person/kit")
        copy("tar -cf - rootfs", CACHE_DIR, "/home/person/.cache/webdis-kit")
        yield
    finally:
        kit(HOST, "destroy")


@pytest.mark.timeout(900)  # a container in a container, on a machine that may be busy
@pytest.mark.usefixtures("host")
def test_a_container_outlives_a_logout_and_starts_with_its_host():
    on_host("cd kit && python3 -m kit create", "person")
    (name,) = on_host("cd /var/lib/webdis-kit && ls -d kit-*").split()
    runs = f"grep -q systemd-nspawn /proc/$(cat /var/lib/webdis-kit/{name}/pid)/comm"
    ended = "! systemctl --quiet is-active user-$(id -u person).slice"
    on_host(f"loginctl terminate-user person; until {ended}; do sleep 0.1; done; {runs}")

    on_host("cd kit && BOOT=1 python3 -m kit create", "person")
    kit(HOST, "down")
    kit(HOST, "create")
    on_host(f"until {runs}; do sleep 0.1; done")

    on_host("cd kit && python3 -m kit destroy", "person")
    assert name not in on_host("systemctl list-unit-files; ls /var/lib/webdis-kit; ip link")
