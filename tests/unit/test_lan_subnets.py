"""The action that reads a server's networks, in a network of its own."""

from __future__ import annotations

import pytest

from tests.provisioning import act

NETWORK = """ip link set lo up
ip address add 192.0.2.7/24 dev lo
ip -6 address add fd00:1::7/64 dev lo
ip link add far type veth peer near
ip link set far address 02:00:00:00:00:01 up
ip address add 198.51.100.7/28 dev far
ip -6 address add fe80::1/64 dev far
exec "$@"
"""


def read(address="", network=NETWORK):
    before = ("env", "SSH_CONNECTION=fe80::9%far 50000 192.0.2.7 2222")
    before += ("unshare", "--net", "sh", "-ec", network, "sh")
    return act("lan_subnets", before=before, address=address)


@pytest.mark.parametrize("address", ["192.0.2.7", "fd00:1:0::7"])
def test_the_networks_of_the_card_with_that_address(address):
    answer = read(address)
    assert answer["subnets"] == ["127.0.0.0/8", "192.0.2.0/24", "::1/128", "fd00:1::/64"], answer
    assert (answer["client"], answer["client_port"]) == ("fe80::9", "2222")


def test_without_an_address_the_card_of_the_default_route():
    network = NETWORK.replace("exec", "ip route add default via 198.51.100.1\nexec")
    assert read("", network)["subnets"] == ["198.51.100.0/28", "fe80::/64"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "There is no default route: set firewall_lan_address."),
        ("192.0.2.8", "firewall_lan_address is 192.0.2.8; allowed is an address of this server."),
        ("there", "firewall_lan_address is there; allowed is an address of this server."),
    ],
)
def test_what_it_cannot_tell(address, said):
    answer = read(address)
    assert (answer["msg"], answer["client_port"]) == (said, "2222"), answer
