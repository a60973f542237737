"""What a virtual machine runs before it joins the LAN, run for real on the container.

A pair of virtual cards stands in for the bridged one: its other end is the LAN, with a
machine at 198.18.250.7 and no DHCP server. `make test-vm` has the whole of it.
"""

from __future__ import annotations

import json
import shlex

import pytest

from kit.checkout import ROOT, SSH_KEY

PUBLIC_KEY = "ssh-rsa AAAAB3 vagrant insecure public key"
MAC = "02574B000009"
MAKE = f"""
useradd --create-home vagrant && install -d -m 0700 /home/vagrant/.ssh &&
echo {PUBLIC_KEY!r} >/home/vagrant/.ssh/authorized_keys &&
cp /root/.ssh/authorized_keys /root/authorized_keys.kept &&
ip link add lan0 address 02:57:4b:00:00:09 type veth peer name lan1 &&
ip address add 198.18.250.7/24 dev lan1 && ip link set lan1 up
"""
REMOVE = """
ip link delete lan0; userdel --remove vagrant
mv /root/authorized_keys.kept /root/.ssh/authorized_keys
rm -rf /etc/webdis-kit /etc/ssh/sshd_config.d/00-webdis-kit.conf \
    /etc/systemd/network/05-webdis-kit-lan.network
networkctl reload; systemctl reload ssh
"""


@pytest.fixture
def join(server, instance):
    """Return a function that runs the script in a machine as a box delivers it."""
    if instance["provider"] != "container":
        pytest.skip("this machine came up through that very script")
    assert server.run(MAKE).rc == 0
    script = shlex.quote((ROOT / "vagrant/guest/join_lan.py").read_text())
    yield lambda address, seconds: server.run(
        f"python3 -c {script} --mac {MAC} --bridge br0 --address {address} --seconds {seconds}"
    )
    server.run(REMOVE)


def trust(server):
    """Put a key of this machine's own beside the public one, as Vagrant does."""
    own = SSH_KEY.with_suffix(".pub").read_text().strip()
    assert server.run(f"echo {own!r} >>/home/vagrant/.ssh/authorized_keys").rc == 0


def test_with_the_public_key_alone_it_stays_off_the_lan(server, join):
    answer = join("198.18.250.5/24", 60)
    assert answer.rc == 1
    assert "stays off the LAN" in answer.stderr
    assert "DOWN" in server.run("ip -br link show lan0").stdout


def test_fixed_address_after_the_doors_are_shut(server, join):
    trust(server)
    answer = join("198.18.250.5/24", 120)
    assert answer.rc == 0, answer.stderr
    assert answer.stdout.index("keys only") < answer.stdout.index("198.18.250.5")
    lan = json.loads(server.file("/etc/webdis-kit/lan.json").content_string)
    assert (lan["address"], lan["subnet"]) == ("198.18.250.5", "198.18.250.0/24")
    assert "passwordauthentication no" in server.run("sshd -T").stdout
    assert PUBLIC_KEY not in server.run("cat /home/vagrant/.ssh/authorized_keys").stdout


def test_an_address_that_another_machine_has_is_not_taken(server, join):
    trust(server)
    answer = join("198.18.250.7/24", 10)
    assert answer.rc == 1
    assert "another machine answers for it" in answer.stderr


def test_without_dhcp_server_it_says_where_to_look(server, join):
    trust(server)
    answer = join("dhcp", 5)
    assert answer.rc == 1
    for hint in ("No DHCP server answered on br0", "Wi-Fi", "02:57:4b:00:00:09"):
        assert hint in answer.stderr
