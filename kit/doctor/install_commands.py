"""The command that gets a thing, by system."""

from __future__ import annotations

VAGRANT_SITE = "https://developer.hashicorp.com/vagrant/install"
VIRTUALBOX_SITE = "https://www.virtualbox.org/wiki/Linux_Downloads"
BRIDGE = "sudo nmcli connection add type bridge ifname br0, and the cable's interface as its port"
# `other` is for everything else.
COMMANDS = {
    "Python": {
        "debian": "sudo apt-get install python3 python3-venv",
        "fedora": "sudo dnf install python3",
        "macos": "brew install python",
        "windows": "winget install Python.Python.3.13",
        "other": "https://www.python.org/downloads/",
    },
    "Vagrant": {
        "debian": f"sudo apt-get install vagrant (where apt has none: {VAGRANT_SITE})",
        "fedora": f"sudo dnf install vagrant (where dnf has none: {VAGRANT_SITE})",
        "macos": "brew install --cask vagrant",
        "windows": "winget install Hashicorp.Vagrant",
        "other": VAGRANT_SITE,
    },
    "VirtualBox": {
        "debian": f"sudo apt-get install virtualbox (where apt has none: {VIRTUALBOX_SITE})",
        "fedora": "sudo dnf install VirtualBox (of RPM Fusion, https://rpmfusion.org/)",
        "macos": "brew install --cask virtualbox",
        "windows": "winget install Oracle.VirtualBox",
        "other": "https://www.virtualbox.org/wiki/Downloads",
    },
    "libvirt": {
        "debian": (
            "sudo apt-get install libvirt-daemon-system libvirt-clients qemu-system "
            "&& sudo adduser $USER libvirt"
        ),
        "fedora": (
            "sudo dnf install @virtualization && sudo systemctl enable --now libvirtd "
            "&& sudo usermod -aG libvirt $USER"
        ),
        "other": "https://libvirt.org/, for Linux hosts",
    },
    "vagrant-libvirt": {
        "debian": (
            "sudo apt-get install vagrant-libvirt, or beside another Vagrant: "
            "sudo apt-get install libvirt-dev && vagrant plugin install vagrant-libvirt"
        ),
        "fedora": (
            "sudo dnf install vagrant-libvirt, or beside another Vagrant: "
            "sudo dnf install libvirt-devel && vagrant plugin install vagrant-libvirt"
        ),
        "other": "vagrant plugin install vagrant-libvirt",
    },
    "Linux bridge": {
        "debian": f"{BRIDGE}; without NetworkManager: bridges: in netplan, or ifupdown",
        "other": BRIDGE,
    },
    "C compiler": {
        "debian": "sudo apt-get install gcc g++ libc6-dev libevent-dev",
        "fedora": "sudo dnf install gcc gcc-c++ libevent-devel",
        "macos": "xcode-select --install",
        "other": "your system's gcc and g++, or clang",
    },
    "make": {
        "debian": "sudo apt-get install make",
        "fedora": "sudo dnf install make",
        "macos": "xcode-select --install",
        "other": "your system's make",
    },
    "systemd-nspawn": {
        "other": "the container is for Debian and Ubuntu hosts; take a virtual machine",
    },
}
