"""A container outlives the login that has made it, and with ``BOOT=1`` it starts with its host."""

from __future__ import annotations

import pytest

from tests.surroundings.desktop import HOST, container_after_logout, on_host, remove, runs
from tests.surroundings.instances import kit


@pytest.mark.timeout(900)  # a container in a container, on a machine that may be busy
@pytest.mark.usefixtures("host")
def test_a_container_outlives_a_logout_and_starts_with_its_host():
    name = container_after_logout()

    on_host("cd kit && BOOT=1 python3 -m kit create", "person")
    kit(HOST, "down")
    kit(HOST, "create")
    # While it boots, nobody but root may log in (pam_nologin).
    on_host(f"until {runs(name)} && [ ! -e /run/nologin ]; do sleep 0.1; done")

    remove(name)
