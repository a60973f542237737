"""What doctor makes of what a host says about itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kit.checkout import ROOT
from kit.doctor import checks, install_commands

CAPTURED = ROOT / "tests/ruby/captured"
INTEL = "processor\t: 0\nflags\t\t: fpu vme vmx ssse3\n"
AMD = "processor\t: 0\nflags\t\t: fpu svm npt\n"
GUEST = "processor\t: 0\nflags\t\t: fpu hypervisor\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd\n"
KVM_IDLE = "kvm_intel 425984 0 - Live 0x0\nkvm 1400832 1 kvm_intel, Live 0x0\n"
KVM_BUSY = "kvm_intel 425984 3 - Live 0x0\n"


@pytest.mark.parametrize(
    ("os_release", "kernel", "system", "expected"),
    [
        ("ID=debian\nVERSION_ID=12\n", "6.1.0-18-amd64", "Linux", "debian"),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', "6.8.0-31-generic", "Linux", "debian"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "6.8.0", "Linux", "debian"),
        ("ID=fedora\nVERSION_ID=42\n", "6.14.0", "Linux", "fedora"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "5.14.0", "Linux", "fedora"),
        ("ID=arch\n", "6.14.0", "Linux", "other"),
        ("ID=ubuntu\n", "5.15.153.1-microsoft-standard-WSL2", "Linux", "wsl"),
        ("", "23.5.0", "Darwin", "macos"),
        ("", "10", "Windows", "windows"),
    ],
)
def test_system(os_release, kernel, system, expected):
    assert checks.system_name(os_release, kernel, system) == expected


@pytest.mark.parametrize(
    ("cpuinfo", "modules", "usable", "expected"),
    [
        (INTEL, KVM_IDLE, True, (True, "on (/dev/kvm)")),
        (AMD, "", False, (False, "on, but no kvm module is loaded")),
        (INTEL, KVM_IDLE, False, (False, "on, but /dev/kvm cannot be opened")),
        (GUEST, "", True, (False, "off in the firmware")),
        (ARM, "", True, (True, "on")),
        (ARM, "", False, (False, "no kvm module")),
    ],
)
def test_virtualisation(cpuinfo, modules, usable, expected):
    ok, found = checks.virtualisation(cpuinfo, modules, kvm_usable=usable)
    assert ok == expected[0]
    assert found.startswith(expected[1]) or expected[1] in found


def test_kvm_with_machines_is_in_use():
    assert checks.kvm_in_use(KVM_BUSY)
    assert not checks.kvm_in_use(KVM_IDLE)
    assert not checks.kvm_in_use("")


def test_bridges_of_the_default_route():
    addresses = (CAPTURED / "linux_addresses.json").read_text()
    with_bridge = (CAPTURED / "linux_routes_bridge.json").read_text()
    assert checks.linux_bridges(addresses, with_bridge) == (["br0"], ["br0"])
    without = (CAPTURED / "linux_routes.json").read_text()
    assert checks.linux_bridges(addresses, without) == (["enp3s0"], [])
    assert checks.linux_bridges("", "") == ([], [])


@pytest.mark.parametrize("name", sorted(install_commands.COMMANDS))
def test_everything_can_be_got_somewhere(name):
    assert install_commands.COMMANDS[name]["other"]


def run_doctor(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # Without the environment's packages: it runs where there is none yet.
        [sys.executable, "-S", "-m", "kit.doctor", *arguments],
        cwd=ROOT,
        env={"PATH": path, "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_host_with_nothing_is_told_the_commands_and_fails(tmp_path):
    answer = run_doctor(str(tmp_path))
    assert answer.returncode == 1, answer.stdout
    system = checks.this_system()
    for name in ("Vagrant", "VirtualBox", "libvirt"):
        command = install_commands.COMMANDS[name].get(
            system, install_commands.COMMANDS[name]["other"]
        )
        assert f"-> {command}" in answer.stdout
    assert "No provider can run here" in answer.stdout
    assert answer.stderr == ""


def test_json_says_the_same(tmp_path):
    answer = run_doctor(str(tmp_path), "--json")
    assert answer.returncode == 1
    found = json.loads(answer.stdout)
    assert found["choice"] is None
    assert list(found["providers"]) == ["virtualbox", "libvirt", "container", "local"]
    vagrant = found["providers"]["virtualbox"]["checks"][0]
    assert (vagrant["name"], vagrant["ok"]) == ("Vagrant", False)
    assert "vagrant" in vagrant["command"].lower()
