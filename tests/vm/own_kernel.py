"""``make test-vm KERNEL=1``: what wants a kernel of its own, and no Vagrant.

The container that stands in for a host (``tests/surroundings/desktop.py``) becomes a disk and
boots, emulated, at the same address: Debian's kernel, without IPv6.
"""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from kit import instance, tls, verify
from kit.checkout import BRIDGE, LOG_DIR, NAME
from kit.container import STATE_DIR, Container
from kit.run_logged import Phases
from kit.system import ensure_packages
from tests.surroundings.desktop import (
    HOST,
    container_after_logout,
    made,
    on_host,
    remove,
)
from tests.surroundings.instances import kit
from tests.vm.emulated import KERNEL, emulated

if TYPE_CHECKING:
    from collections.abc import Iterator

CARD = f"vb-{NAME}"  # as a container's, by which it is known to run
BECOME_A_MACHINE = f"""set -e
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends {" ".join(KERNEL)}
sed -i s/host0/eth0/ /etc/systemd/network/10-host0.network
# Waits for minutes, in vain, for a device that comes late to an emulated machine.
systemctl mask serial-getty@ttyS0.service
"""
# A busy host gives the emulated timer no turn while the kernel looks whether it ticks.
ARGUMENTS = "root=/dev/vda rw console=ttyS0 net.ifnames=0 ipv6.disable=1 no_timer_check"


def ip(*arguments: str) -> None:
    """Change the host's network; it has to succeed."""
    subprocess.run(["ip", *arguments], check=True)


@contextlib.contextmanager
def card() -> Iterator[list[str]]:
    """Make a machine's card on the bridge; yield what qemu has to be told of it."""
    ip("tuntap", "add", CARD, "mode", "tap")
    try:
        ip("link", "set", CARD, "master", BRIDGE, "up")
        yield ["-nic", f"tap,ifname={CARD},script=no,downscript=no,model=virtio-net-pci"]
    finally:
        ip("link", "delete", CARD)


@pytest.fixture(scope="module")
def machine() -> Iterator[None]:
    """Make that host, and boot it."""
    ensure_packages(["e2fsprogs", "qemu-system-x86"])
    with made():
        on_host(BECOME_A_MACHINE)
        kit(HOST, "down")
        root, disk = STATE_DIR / NAME / "closed/rootfs", STATE_DIR / NAME / "disk.raw"
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", root, disk, "8G"], check=True)
        kernel = ["-kernel", root / "vmlinuz", "-initrd", root / "initrd.img", "-append", ARGUMENTS]
        with card() as network, emulated(disk, LOG_DIR / "console.log", *kernel, *network):
            yield


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("machine")
def test_tls_works_in_a_kernel_without_ipv6():
    assert "if_inet6" not in on_host("ls /proc/net")
    wanted = instance.Wanted("auto", tls.settings_from_environment(), None)
    box = Container()
    instance.provision(box, box.machines(), wanted, Phases())
    verify.verify()
    assert on_host("systemctl show nginx --property=ActiveState,NRestarts").split() == [
        "NRestarts=0",
        "ActiveState=active",
    ]


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("machine")
def test_a_container_outlives_a_logout():
    remove(container_after_logout())
