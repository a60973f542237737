#!/usr/bin/env python3
"""Run in the VM, as root: close what the LAN must not find open, then join the LAN.

Vagrant talks to the VM over a network of its own (NAT) that the LAN cannot reach. The
second network card, known by its hardware address, stays down until nobody can log in
with Vagrant's public key or with a password, and until this VM has host keys of its own:
those of a box are in everybody's hands. Then it comes up, and the address that it gets is
written to /etc/webdis-kit/lan.json, with what the host needs to trust this VM.

Needs nothing but the standard library of Python 3.9 and systemd-networkd.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import subprocess
import sys
import time
from pathlib import Path

LAN_FILE = Path("/etc/webdis-kit/lan.json")
HOST_KEYS_MADE = Path("/etc/webdis-kit/host_keys_made")
SSHD_FILE = Path("/etc/ssh/sshd_config.d/00-webdis-kit.conf")
NETWORK_FILE = Path("/etc/systemd/network/05-webdis-kit-lan.network")
# Both of Vagrant's public keys end with this comment (github.com/hashicorp/vagrant, keys/).
PUBLIC_KEY_COMMENT = "vagrant insecure public key"
WANTED = {
    "passwordauthentication": "no",
    "kbdinteractiveauthentication": "no",
    "permitrootlogin": "prohibit-password",
}


class LanError(Exception):
    """Something to tell the person at the keyboard."""


def run(*command: str) -> str:
    """Return a command's output; its failure is a mistake that says what it said."""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise LanError(f"{' '.join(command)} failed in the VM: {answer.stderr.strip()}")
    return answer.stdout


def without_public_keys(content: str) -> str:
    """Return an authorized_keys file without the keys whose other half everybody has."""
    return "".join(
        line for line in content.splitlines(keepends=True) if PUBLIC_KEY_COMMENT not in line
    )


def refuse_if_it_was_open(mac: str, bridge: str) -> None:
    """Stop where the card has an address before anybody has shut the doors.

    cloud-init and some boxes configure every card at boot. Then the LAN could already log
    in with a key that everybody has, and what it did there cannot be known.

    Args:
        mac: Hardware address of the bridged card, with colons.
        bridge: The host's name for the interface.
    """
    if SSHD_FILE.exists():
        return
    lan, _ = addresses(run("ip", "-j", "address", "show"), mac)
    if lan:
        raise LanError(
            f"The card on {bridge} already has {lan}: the LAN could log in to this VM with "
            f"Vagrant's public key, so it is not to be trusted. `vagrant destroy` it, name a box "
            f"in vagrant/settings.local.yml that leaves the second card down (box: and "
            f"box_version:), then `vagrant up`. See docs/troubleshooting.md#already-on-the-lan."
        )


def make_host_keys() -> None:
    """Put new host keys in place of the box's, once; sshd reads them when it is restarted.

    Every VM of one box has the same, and whoever downloads the box has their other half.
    """
    if HOST_KEYS_MADE.exists():
        return
    for old in sorted(Path("/etc/ssh").glob("ssh_host_*_key")):
        kind = old.name.split("_")[2]
        new = old.with_name(old.name + ".new")
        new.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(new))
        new.replace(old)
        new.with_name(new.name + ".pub").replace(old.with_name(old.name + ".pub"))
    HOST_KEYS_MADE.parent.mkdir(mode=0o755, exist_ok=True)
    HOST_KEYS_MADE.touch()


def close_ssh() -> None:
    """Keys only, none of them public; root by the key that Vagrant made for this VM."""
    own = Path("/home/vagrant/.ssh/authorized_keys")
    keys = without_public_keys(own.read_text(encoding="utf-8"))
    if not keys.strip():
        raise LanError(
            "Vagrant has not put a key of its own in place of its public one, so this VM stays "
            "off the LAN. Keep config.ssh.insert_key = true, then `vagrant destroy` and `up`."
        )
    for file in (own, *Path("/home").glob("*/.ssh/authorized_keys*")):
        file.write_text(without_public_keys(file.read_text(encoding="utf-8")), encoding="utf-8")
    root = Path("/root/.ssh/authorized_keys")
    root.parent.mkdir(mode=0o700, exist_ok=True)
    root.write_text(keys, encoding="utf-8")
    root.chmod(0o600)

    # The first value that sshd reads counts, hence the name that sorts first.
    SSHD_FILE.write_text(
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\n",
        encoding="utf-8",
    )
    # Not reload: an sshd that was started by a socket, as Ubuntu's is, dies of it. Sessions stay.
    run("systemctl", "restart", "ssh")
    # OpenSSH 10.6 writes names as its manual does, older ones in small letters and this value so.
    told = run("sshd", "-T").lower().replace("without-password", "prohibit-password")
    effective = dict(line.split(" ", 1) for line in told.splitlines() if " " in line)
    for option, value in WANTED.items():
        if effective.get(option) != value:
            raise LanError(f"sshd still has {option} {effective.get(option)}; see {SSHD_FILE}.")


def network_unit(mac: str, address: str) -> str:
    """Return the .network file of the LAN's card.

    Args:
        mac: Hardware address, with colons.
        address: ``dhcp``, or an address with its prefix length.
    """
    if address == "dhcp":
        source = "DHCP=ipv4\n"
    else:
        source = f"[Address]\nAddress={address}\nDuplicateAddressDetection=ipv4\n"
    # Vagrant's network keeps the default route: it works where the LAN has none. The router
    # knows the card and not the system on it: the same address after `vagrant destroy`. And
    # nothing at boot waits for a LAN that may be away.
    return (
        f"[Match]\nMACAddress={mac}\n\n"
        "[Link]\nRequiredForOnline=no\n\n"
        "[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        f"{source}\n"
        "[DHCPv4]\nClientIdentifier=mac\nRouteMetric=2048\nUseHostname=no\n"
    )


def addresses(ip_json: str, mac: str) -> tuple[str | None, list[str]]:
    """Return the bridged card's address, if it has one, and those of all other cards.

    Args:
        ip_json: Output of ``ip -j address show``; with ``-4`` it would leave out the
            hardware addresses.
        mac: Hardware address of the bridged card. The card of Vagrant's NAT, whose
            address (VirtualBox: 10.0.2.15) every VM of the world shares, has another.

    Returns:
        Addresses with prefix length.
    """
    lan, others = None, []
    for link in json.loads(ip_json):
        for inet in link.get("addr_info", []):
            if inet.get("family") == "inet" and inet.get("scope") == "global":
                address = f"{inet['local']}/{inet['prefixlen']}"
                if link.get("address", "").lower() == mac.lower():
                    lan = address
                else:
                    others.append(address)
    return lan, others


def wait_for_address(mac: str, address: str, bridge: str, seconds: float) -> tuple[str, list[str]]:
    """Return what ``addresses`` returns, once there is one on the LAN."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lan, others = addresses(run("ip", "-j", "address", "show"), mac)
        # One that was asked for before may still be there.
        if lan and address in ("dhcp", lan):
            return lan, others
        time.sleep(0.5)
    if address == "dhcp":
        raise LanError(
            f"No DHCP server answered on {bridge} within {seconds:.0f} s. Is that the interface to "
            f"your LAN (bridge: in vagrant/settings.yml)? Is it Wi-Fi, where many access points "
            f"pass on no second card? Does the router hand out addresses, and admit {mac}? "
            f"`address: 192.168.x.y` in vagrant/settings.local.yml does without DHCP. "
            "See docs/troubleshooting.md#no-dhcp."
        )
    raise LanError(f"{address} was not taken on {bridge}: another machine answers for it.")


def main() -> None:
    """Close, join, write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mac", required=True, help="twelve digits")
    parser.add_argument("--bridge", required=True, help="the host's name for the interface")
    parser.add_argument("--address", required=True, help="dhcp, or ADDRESS/PREFIX")
    parser.add_argument("--seconds", type=float, required=True, help="to wait for an address")
    options = parser.parse_args()
    # Whatever the system's: networkd, which is not root, reads what is written here.
    os.umask(0o022)
    mac = ":".join(options.mac[at : at + 2] for at in range(0, 12, 2)).lower()

    LAN_FILE.unlink(missing_ok=True)
    refuse_if_it_was_open(mac, options.bridge)
    make_host_keys()
    close_ssh()
    print(
        "SSH: keys only, Vagrant's public key is refused, host keys of its own. Joining the LAN.",
        flush=True,
    )
    NETWORK_FILE.write_text(network_unit(mac, options.address), encoding="utf-8")
    run("networkctl", "reload")
    lan, others = wait_for_address(mac, options.address, options.bridge, options.seconds)

    interface = ipaddress.IPv4Interface(lan)
    host_keys = [
        " ".join(file.read_text(encoding="utf-8").split()[:2])
        for file in sorted(Path("/etc/ssh").glob("ssh_host_*_key.pub"))
    ]
    LAN_FILE.parent.mkdir(mode=0o755, exist_ok=True)
    LAN_FILE.write_text(
        json.dumps(
            {
                "address": str(interface.ip),
                "subnet": str(interface.network),
                "bridge": options.bridge,
                "other_subnets": [str(ipaddress.IPv4Interface(one).network) for one in others],
                "host_keys": host_keys,
            }
        ),
        encoding="utf-8",
    )
    print(f"Address on the LAN: {interface.ip}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except LanError as error:
        sys.exit(f"Error: {error}")
