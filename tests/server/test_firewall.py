"""The firewall as it is loaded on the instance."""

from __future__ import annotations

import json

FILE = "/etc/webdis-kit-firewall.nft"
UNIT = "webdis-kit-firewall"


def loaded(server):
    """Return what the table holds: sets by name, and the rules as nft prints them."""
    answer = server.run("nft --json list table inet webdis_kit")
    assert answer.rc == 0, answer.stderr
    entries = json.loads(answer.stdout)["nftables"]
    sets = {
        entry["set"]["name"]: entry["set"].get("elem", []) for entry in entries if "set" in entry
    }
    return sets, server.run("nft -nn list table inet webdis_kit").stdout


def test_ports_are_closed_to_all_but_the_listed_subnets(server, instance):
    sets, rules = loaded(server)
    assert sets["ports"] == sorted(entry["port"] for entry in instance["firewall"]["ports"])
    v4 = {f"{elem['prefix']['addr']}/{elem['prefix']['len']}" for elem in sets["subnets4"]}
    v6 = {f"{elem['prefix']['addr']}/{elem['prefix']['len']}" for elem in sets["subnets6"]}
    assert v4 | v6 == set(instance["firewall"]["subnets"])
    assert instance["subnet"] in v4
    for line in (
        "ip saddr != @subnets4 counter",
        "ip6 saddr != @subnets6 counter",
        "ct count over",
    ):
        assert line in rules


def test_whoever_provisions_keeps_ssh(server):
    client = server.run("echo $SSH_CONNECTION").stdout.split()[0]
    rules = loaded(server)[1]
    assert rules.index(f"ip saddr {client} tcp dport 22 accept") < rules.index("jump closed")


def test_other_tables_are_left_alone(server):
    assert server.run("nft add table inet someone_else").rc == 0
    try:
        assert server.run(f"systemctl reload {UNIT}").rc == 0
        assert server.run("nft list table inet someone_else").rc == 0
    finally:
        server.run("nft delete table inet someone_else")


def test_broken_rules_do_not_replace_good_ones(server, provision):
    before = loaded(server)[0]
    answer = provision("--tags=firewall", firewall_subnets=["198.18.300.0/24"])
    assert answer.returncode != 0
    assert "failed to validate" in answer.stdout
    assert "198.18.300.0" not in server.file(FILE).content_string
    # Broken by hand, they are refused as a whole when they are to be loaded.
    try:
        assert server.run(f"sed -i 's/ct state/ct nonsense/' {FILE} && systemctl reload {UNIT}").rc
        after = loaded(server)[0]
    finally:
        assert server.run(
            f"sed -i 's/ct nonsense/ct state/' {FILE} && systemctl reload {UNIT}"
        ).succeeded
    assert before["ports"] == after["ports"]


def test_loaded_at_boot_and_after_the_distribution_s_own_rules(server):
    assert server.run(f"systemctl is-enabled {UNIT}").stdout.strip() == "enabled"
    properties = server.run(f"systemctl show -P After -P PartOf {UNIT}").stdout
    assert properties.count("nftables.service") == 2
    assert server.run(f"systemd-analyze verify {UNIT}.service").stderr == ""


def test_a_start_of_the_distribution_s_own_rules_does_not_take_these_away(server):
    # It flushes everything, and no other unit is told of a start.
    before = loaded(server)[0]
    try:
        assert server.run("systemctl start nftables").rc == 0
        assert loaded(server)[0]["ports"] == before["ports"]
    finally:
        assert server.run(f"systemctl stop nftables; systemctl restart {UNIT}").rc == 0
    assert loaded(server)[0]["ports"] == before["ports"]
