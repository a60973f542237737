"""What a lab is on its server: all of it while there is one, nothing once it was taken away."""

from __future__ import annotations

import os

import pytest

from tests.provisioning import changed, provision

TRACES = {
    "processes": "pgrep -af '[r]outer-lab|/usr/lib/[f]rr/'",
    "units": "systemctl list-units --all --plain --no-legend '*router*lab*' '*frr*'",
    "files": "find / /run -xdev -path /var/cache -prune -o "
    "'(' -name '*router?lab*' -o -name '*frr*' ')' -print",
    "namespaces": "ip netns list",
    "users": "getent passwd netops frr",
    "groups": "getent group netops frr frrvty",
    "packages": "dpkg-query --show 'frr*'",
}


@pytest.fixture(scope="module")
def has_lab(instance):
    """Has the server a lab? With LAB=0 it is taken away first, by its role only."""
    if os.environ.get("LAB") == "0":
        assert changed(provision("--tags", "lab", lab_routers=0))
        return False
    return bool(instance["lab"])


@pytest.mark.parametrize("kind", TRACES)
def test_a_server_has_them_only_with_a_lab(kind, has_lab, server):
    found = server.run(TRACES[kind]).stdout
    assert bool(found.strip()) == has_lab, found
