"""What a virtual machine runs before it joins the LAN, run for real on the container.

A pair of virtual cards stands in for the bridged one: its other end is the LAN, with a
machine at 198.19.250.7 and no DHCP server (instances are in 198.18). `make test-vm` has
the whole of it.
"""

from __future__ import annotations

import json
import shlex

import pytest

from kit.checkout import ROOT, SSH_KEY

PUBLIC_KEY = "ssh-rsa AAAAB3 vagrant insecure public key"
MAC = "02574B000009"
MAKE = f"""
mkdir /etc/webdis-kit && touch /etc/webdis-kit/host_keys_made &&
useradd --create-home vagrant && install -d -m 0700 /home/vagrant/.ssh &&
echo {PUBLIC_KEY!r} >/home/vagrant/.ssh/authorized_keys &&
cp /root/.ssh/authorized_keys /root/authorized_keys.kept &&
ip link add lan0 address 02:57:4b:00:00:09 type veth peer name lan1 &&
ip address add 198.19.250.7/24 dev lan1 && ip link set lan1 up
"""
REMOVE = """
ip link delete lan0; userdel --remove vagrant
mv /root/authorized_keys.kept /root/.ssh/authorized_keys
rm -rf /etc/webdis-kit /etc/ssh/sshd_config.d/00-webdis-kit.conf \
    /etc/systemd/network/05-webdis-kit-lan.network
networkctl reload
# Tests follow each other faster than systemd lets a service be restarted.
systemctl reset-failed ssh.service ssh.socket; systemctl restart ssh
"""


def command(address, seconds):
    """Return the command that joins the LAN, under the mask of a hardened system."""
    script = shlex.quote((ROOT / "vagrant/guest/join_lan.py").read_text())
    options = f"--mac {MAC} --bridge br0 --address {address} --seconds {seconds}"
    return f"umask 027 && python3 -c {script} {options}"


@pytest.fixture
def join(server, instance):
    """Return a function that runs the script in a machine as a box delivers it."""
    if instance["provider"] != "container":
        pytest.skip("this machine came up through that very script")
    assert server.run(MAKE).rc == 0
    yield lambda address, seconds: server.run(command(address, seconds))
    server.run(REMOVE)


def in_a_box(server, script):
    """Run a script where /etc/ssh is a copy: this machine's own keys are in use."""
    copied = "cp -a /etc/ssh /run/box_ssh && mount --bind /run/box_ssh /etc/ssh"
    answer = server.run(f"unshare --mount sh -c {shlex.quote(f'{copied} && {script}')}")
    server.run("rm -rf /run/box_ssh")
    return answer


def trust(server):
    """Put a key of this machine's own beside the public one, as Vagrant does."""
    own = SSH_KEY.with_suffix(".pub").read_text().strip()
    assert server.run(f"echo {own!r} >>/home/vagrant/.ssh/authorized_keys").rc == 0


def test_with_the_public_key_alone_it_stays_off_the_lan(server, join):
    answer = join("198.19.250.5/24", 60)
    assert answer.rc == 1
    assert "stays off the LAN" in answer.stderr
    assert "DOWN" in server.run("ip -br link show lan0").stdout


def test_fixed_address_after_the_doors_are_shut(server, join):
    trust(server)
    answer = join("198.19.250.5/24", 120)
    assert answer.rc == 0, answer.stderr
    assert answer.stdout.index("keys only") < answer.stdout.index("198.19.250.5")
    lan = json.loads(server.file("/etc/webdis-kit/lan.json").content_string)
    assert (lan["address"], lan["subnet"]) == ("198.19.250.5", "198.19.250.0/24")
    assert "passwordauthentication no" in server.run("sshd -T").stdout.lower()
    assert PUBLIC_KEY not in server.run("cat /home/vagrant/.ssh/authorized_keys").stdout


def test_an_address_that_another_machine_has_is_not_taken(server, join):
    trust(server)
    answer = join("198.19.250.7/24", 10)
    assert answer.rc == 1
    assert "another machine answers for it" in answer.stderr


def test_without_dhcp_server_it_says_where_to_look(server, join):
    trust(server)
    answer = join("dhcp", 5)
    assert answer.rc == 1
    for hint in ("No DHCP server answered on br0", "Wi-Fi", "02:57:4b:00:00:09"):
        assert hint in answer.stderr


@pytest.mark.usefixtures("join")
def test_host_keys_of_the_box_are_gone_before_the_lan(server):
    trust(server)
    join_it = command("198.19.250.5/24", 120)
    key = "/etc/ssh/ssh_host_ed25519_key"
    plant = f"rm /etc/ssh/ssh_host_* && ssh-keygen -q -t ed25519 -N '' -f {key}"
    show = f"cat {key}.pub"
    script = f"{plant} && {show} && rm /etc/webdis-kit/host_keys_made && {join_it} >&2 && {show}"
    again = f"{join_it} >&2 && {show}"
    answer = in_a_box(server, f"{script} && {again} && sshd -t && ls /etc/ssh")
    assert answer.rc == 0, answer.stderr
    planted, made, kept = (line for line in answer.stdout.splitlines() if "ssh-ed25519" in line)
    assert planted.split()[1] != made.split()[1] == kept.split()[1]
    assert ".new" not in answer.stdout
    lan = json.loads(server.file("/etc/webdis-kit/lan.json").content_string)
    assert lan["host_keys"] == [" ".join(made.split()[:2])]


def test_a_card_that_was_on_the_lan_before_is_refused(server, join):
    trust(server)
    assert server.run("ip address add 198.19.250.9/24 dev lan0").rc == 0
    answer = join("198.19.250.5/24", 10)
    assert answer.rc == 1
    assert "br0 already has 198.19.250.9/24" in answer.stderr
    assert PUBLIC_KEY in server.run("cat /home/vagrant/.ssh/authorized_keys").stdout
