"""Versions that cannot work together, by what programs and kernels say of themselves."""

from __future__ import annotations

import pytest

from kit.doctor import incompatible_versions


@pytest.mark.parametrize(
    ("vagrant", "virtualbox", "works"),
    [
        ("Vagrant 2.3.4", "7.0.20r163906", True),
        ("Vagrant 2.3.4", "7.1.12r169651", False),
        ("Vagrant 2.3.4", "7.2.0r170228", False),
        ("Vagrant 2.4.7", "7.1.12r169651", True),
        ("Vagrant 2.4.7", "7.2.0r170228", False),
        ("Vagrant 2.4.9", "7.2.10r173000", True),
        ("Vagrant 2.2.19", "6.1.50_Debianr161033", True),
        ("", "7.1.12r169651", True),  # another check says that it is missing
        ("Vagrant 2.3.4", "", True),
        # A warning may stand above the version.
        ("Vagrant 2.3.4", "WARNING: The vboxdrv kernel module is not loaded.\n7.1.4r165100", False),
    ],
)
def test_vagrant_and_virtualbox(vagrant, virtualbox, works):
    problem = incompatible_versions.vagrant_and_virtualbox(vagrant, virtualbox)
    assert (problem == "") is works
    if not works:
        assert "does not know VirtualBox 7." in problem


@pytest.mark.parametrize(
    ("virtualbox", "holds_at_load", "problem"),
    [
        ("7.2.0r170228", "Y\n", "KVM holds the processor"),
        ("7.0.20r163906", "Y\n", "KVM holds the processor"),
        ("7.2.0r170228", "N\n", ""),
        ("7.2.0r170228", "", ""),  # KVM is not loaded, or Linux is older than 6.12
        ("7.2.10r173000", "Y\n", ""),
        ("7.2.10r173000", "N\n", "wants KVM with enable_virt_at_load=1"),
        ("", "Y\n", ""),
    ],
)
def test_kvm_and_virtualbox(virtualbox, holds_at_load, problem):
    found, cure = incompatible_versions.kvm_and_virtualbox(virtualbox, holds_at_load)
    assert problem in found
    assert bool(found) is bool(cure) is bool(problem)
