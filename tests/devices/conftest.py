"""A lab of routers on the instance: `make test-devices` brings it up and takes it away."""

from __future__ import annotations

import subprocess

import pytest

from kit.lab import LAB_DIR
from tests.demo_server import eventually


class Lab:
    """The routers of the instance, by SSH as anybody reaches them, and their faults.

    Args:
        instance: The content of instance.json.
        server: The instance as a testinfra host.
    """

    def __init__(self, instance, server):
        self.config = LAB_DIR / "ssh_config"
        self.routers = {router["name"]: router for router in instance["lab"]["routers"]}
        self.user = instance["lab"]["user"]
        self.server = server

    def ssh(self, router, *command, options=(), seconds=30):
        """Return what a login to a router printed, and its exit code."""
        return subprocess.run(
            ["ssh", "-F", self.config, "-o", "BatchMode=yes", *options, router, *command],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def show(self, router, command):
        answer = self.ssh(router, command)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def answers(self, *commands, names=()):
        """Return what each router answers, asked on the server: that spares twenty logins."""
        names = list(names or self.routers)
        asked = " ".join(f"-c '{command}'" for command in commands)
        script = f"for r in {' '.join(names)}; do vtysh -N $r {asked}; echo ----; done"
        answer = self.server.run(script)
        assert answer.rc == 0, answer.stderr
        return dict(zip(names, answer.stdout.split("----\n"), strict=False))

    def fault(self, router, kind):
        answer = self.server.run(f"router-lab fault {router} {kind}")
        assert answer.rc == 0, answer.stderr

    def settle(self):
        """Wait until every router has its neighbours and routes."""
        answer = self.server.run("router-lab wait 60")
        assert answer.rc == 0, answer.stderr

    eventually = staticmethod(eventually)


@pytest.fixture(scope="session")
def demo(start_demo):
    """Start the demo that most tests visit."""
    return start_demo(DEMO_DEVICES_CONNECT_SECONDS=4)


@pytest.fixture(scope="session")
def whole_lab(instance, server):
    assert instance.get("lab"), "there is no lab; `make up LAB=6` adds one"
    return Lab(instance, server)


@pytest.fixture
def lab(whole_lab):
    """Return the lab, and mend afterwards what the test has broken."""
    broken, kinds = set(), set()

    def fault(router, kind):
        kinds.add(kind)
        broken.add(router)
        Lab.fault(whole_lab, router, kind)
        if kind == "none":
            broken.remove(router)

    whole_lab.fault = fault
    yield whole_lab
    for router in broken:
        Lab.fault(whole_lab, router, "none")
    if "link-down" in kinds:  # all others are of their SSH only
        whole_lab.settle()
