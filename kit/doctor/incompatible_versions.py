"""Pairs of versions that cannot work together, for ``make doctor``: all of it is read, not tried.

| pair | source |
|---|---|
| Vagrant knows VirtualBox 7.0 from 2.3.2 on, 7.1 from 2.4.2 on | Vagrant's CHANGELOG.md |
| Vagrant 2.4.7 knows no VirtualBox 7.2 | hashicorp/vagrant 13707, void-packages 56826 |
| VirtualBox before 7.2.10 where KVM holds VT-x or AMD-V as soon as it is loaded, as it does \
from Linux 6.12 on | VirtualBox/virtualbox 81, 141, 188 |
| VirtualBox 7.2.10 and newer where KVM is loaded and was told not to | VirtualBox/virtualbox 711 |
"""

from __future__ import annotations

import re

# The first Vagrant that knows each VirtualBox.
FIRST_VAGRANT: dict[tuple[int, ...], tuple[int, ...]] = {
    (7, 0): (2, 3, 2),
    (7, 1): (2, 4, 2),
    (7, 2): (2, 4, 8),
}
SHARES_WITH_KVM = (7, 2, 10)
RELEASE = (
    "sudo modprobe -r kvm_intel kvm_amd kvm, and to keep it so: "
    "echo options kvm enable_virt_at_load=0 | sudo tee /etc/modprobe.d/virtualbox-kvm.conf"
)
HOLDS_AT_LOAD = "/sys/module/kvm/parameters/enable_virt_at_load"


def version(text: str) -> tuple[int, ...]:
    """Return the first version in a program's answer; empty where there is none."""
    match = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(map(int, match[0].split("."))) if match else ()


def vagrant_and_virtualbox(vagrant: str, virtualbox: str) -> str:
    """Return why this Vagrant does not take this VirtualBox, or nothing.

    Args:
        vagrant: Output of ``vagrant --version``.
        virtualbox: Output of ``VBoxManage --version``.
    """
    needed = FIRST_VAGRANT.get(version(virtualbox)[:2])
    if not needed or not version(vagrant) or version(vagrant) >= needed:
        return ""
    return (
        f"Vagrant {_text(version(vagrant))} does not know VirtualBox "
        f"{_text(version(virtualbox))}, {_text(needed)} does"
    )


def kvm_and_virtualbox(virtualbox: str, holds_at_load: str) -> tuple[str, str]:
    """Return why KVM as it is loaded keeps VirtualBox from running, and the cure, or nothing.

    Args:
        virtualbox: Output of ``VBoxManage --version``.
        holds_at_load: Content of ``HOLDS_AT_LOAD``; empty where KVM is not loaded, or older.
    """
    known = version(virtualbox)
    if not known or holds_at_load.strip() not in ("Y", "N"):
        return "", ""
    if known < SHARES_WITH_KVM and holds_at_load.strip() == "Y":
        return (
            "KVM holds the processor as soon as it is loaded",
            RELEASE,
        )
    if known >= SHARES_WITH_KVM and holds_at_load.strip() == "N":
        return (
            f"VirtualBox {_text(known)} wants KVM with enable_virt_at_load=1",
            "take that option out of /etc/modprobe.d, then restart this host",
        )
    return "", ""


def _text(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
