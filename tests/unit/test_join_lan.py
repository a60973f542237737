"""What the script in the VM makes of what it finds there."""

from __future__ import annotations

import importlib.util
import json

import pytest

from kit.checkout import ROOT
from kit.errors import KitError
from kit.vagrant import identity_file

_spec = importlib.util.spec_from_file_location("join_lan", ROOT / "vagrant/guest/join_lan.py")
join_lan = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(join_lan)

LAN_MAC = "02:57:4b:aa:bb:cc"
NAT = {
    "ifname": "eth0",
    "address": "08:00:27:11:22:33",
    "addr_info": [
        {
            "family": "inet",
            "local": "10.0.2.15",
            "prefixlen": 24,
            "scope": "global",
            "dynamic": True,
        }
    ],
}
LAN = {
    "ifname": "eth1",
    "address": "02:57:4B:AA:BB:CC",
    "addr_info": [
        {"family": "inet", "local": "192.168.178.50", "prefixlen": 24, "scope": "global"}
    ],
}
LAN_WAITING = {**LAN, "addr_info": []}
LAN_LINK_LOCAL = {
    **LAN,
    "addr_info": [{"family": "inet", "local": "169.254.3.4", "prefixlen": 16, "scope": "link"}],
}


def test_address_is_the_bridged_cards_whatever_the_order():
    for links in ([NAT, LAN], [LAN, NAT]):
        found = join_lan.addresses(json.dumps(links), LAN_MAC)
        assert found == ("192.168.178.50/24", ["10.0.2.15/24"])


def test_nats_address_is_never_taken():
    for links in ([NAT], [NAT, LAN_WAITING], [NAT, LAN_LINK_LOCAL]):
        assert join_lan.addresses(json.dumps(links), LAN_MAC)[0] is None


def test_both_public_keys_of_vagrant_go_and_no_other():
    content = (
        "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAA vagrant insecure public key\n"
        "ssh-ed25519 AAAAC3NzaC1lZDI1 vagrant insecure public key\n"
        "ssh-ed25519 AAAAC3Own vagrant\n"
    )
    assert join_lan.without_public_keys(content) == "ssh-ed25519 AAAAC3Own vagrant\n"


def test_network_unit_is_dhcp_or_the_fixed_address():
    assert "DHCP=ipv4" in join_lan.network_unit(LAN_MAC, "dhcp")
    fixed = join_lan.network_unit(LAN_MAC, "192.168.178.50/24")
    assert "Address=192.168.178.50/24" in fixed
    assert "DHCP=" not in fixed
    assert f"MACAddress={LAN_MAC}" in fixed


def test_nothing_waits_for_the_lan_and_the_router_knows_the_card():
    unit = join_lan.network_unit(LAN_MAC, "dhcp")
    assert "[Link]\nRequiredForOnline=no\n" in unit
    assert "[DHCPv4]\nClientIdentifier=mac\n" in unit


def test_a_card_that_was_on_the_lan_with_open_doors_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(join_lan, "run", lambda *_: json.dumps([NAT, LAN]))
    monkeypatch.setattr(join_lan, "SSHD_FILE", tmp_path / "sshd.conf")
    with pytest.raises(join_lan.LanError, match=r"br0 already has 192.168.178.50/24"):
        join_lan.refuse_if_it_was_open(LAN_MAC, "br0")
    join_lan.SSHD_FILE.touch()  # shut before: it has its address from us
    join_lan.refuse_if_it_was_open(LAN_MAC, "br0")


def test_a_card_that_waits_is_let_in(monkeypatch, tmp_path):
    monkeypatch.setattr(join_lan, "run", lambda *_: json.dumps([NAT, LAN_WAITING]))
    monkeypatch.setattr(join_lan, "SSHD_FILE", tmp_path / "sshd.conf")
    join_lan.refuse_if_it_was_open(LAN_MAC, "br0")


def test_identity_file_of_each_machine_in_vagrants_ssh_config():
    config = (
        "Host default\n  HostName 127.0.0.1\n  IdentityFile /a/private_key\n\n"
        'Host server-2\n  HostName 127.0.0.1\n  IdentityFile "/b c/private_key"\n'
    )
    assert str(identity_file(config, "default")) == "/a/private_key"
    assert str(identity_file(config, "server-2")) == "/b c/private_key"
    with pytest.raises(KitError, match="no IdentityFile of server-3"):
        identity_file(config, "server-3")


def test_without_an_answer_from_dhcp_it_says_where_to_look(monkeypatch):
    monkeypatch.setattr(join_lan, "run", lambda *_: json.dumps([NAT, LAN_WAITING]))
    with pytest.raises(join_lan.LanError) as raised:
        join_lan.wait_for_address(LAN_MAC, "dhcp", "wlp4s0", seconds=0.1)
    for hint in ("No DHCP server answered on wlp4s0", "Wi-Fi", LAN_MAC, "settings.local.yml"):
        assert hint in str(raised.value)


def test_a_fixed_address_that_is_taken_is_said_to_be(monkeypatch):
    monkeypatch.setattr(join_lan, "run", lambda *_: json.dumps([NAT, LAN_WAITING]))
    with pytest.raises(join_lan.LanError, match=r"192.168.178.50/24 was not taken"):
        join_lan.wait_for_address(LAN_MAC, "192.168.178.50/24", "br0", seconds=0.1)
