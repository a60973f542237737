"""A container outlives the login that has made it, and with ``BOOT=1`` it starts with its host."""

from __future__ import annotations

import pytest

from tests.surroundings.desktop import HOST, on_host
from tests.surroundings.instances import kit


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
    # While it boots, nobody but root may log in (pam_nologin).
    on_host(f"until {runs} && [ ! -e /run/nologin ]; do sleep 0.1; done")

    on_host("cd kit && python3 -m kit destroy", "person")
    assert name not in on_host("systemctl list-unit-files; ls /var/lib/webdis-kit; ip link")
