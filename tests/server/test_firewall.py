"""The firewall as it is loaded on the instance, and what a stranger meets there."""

from __future__ import annotations

import json
import shlex

import pytest

FILE = "/etc/webdis-kit-firewall.nft"
UNIT = "webdis-kit-firewall"
# A host of its own on the server, in networks that it is in with nobody else.
STRANGER4, HERE4 = "198.19.250.2", "198.19.250.1"
STRANGER6, HERE6 = "fd66:250::2", "fd66:250::1"
MAKE = f"""
ip netns add stranger && ip link add stranger0 type veth peer name eth0 netns stranger &&
ip address add {HERE4}/24 dev stranger0 && ip address add {HERE6}/64 dev stranger0 nodad &&
ip link set stranger0 up && ip -n stranger link set eth0 up &&
ip -n stranger address add {STRANGER4}/24 dev eth0 &&
ip -n stranger address add {STRANGER6}/64 dev eth0 nodad &&
ip -n stranger route add default via {HERE4}
"""
REMOVE = "ip netns delete stranger; ip link delete stranger0"
CONNECT = """
import concurrent.futures, socket, sys

def answer(port):
    try:
        socket.create_connection((sys.argv[1], int(port)), timeout=float(sys.argv[2])).close()
    except OSError as error:
        return type(error).__name__
    return "open"

with concurrent.futures.ThreadPoolExecutor() as pool:
    print(*pool.map(answer, sys.argv[3:]))
"""


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


@pytest.fixture
def stranger(server):
    """Return a function that connects as a stranger, and tells what each port answers."""
    server.run(REMOVE)  # a run that was cut off may have left one
    made = server.run(MAKE)
    assert made.rc == 0, made.stderr

    def connect(address, ports, seconds):
        python = (
            f"python3 -c {shlex.quote(CONNECT)} {address} {seconds} {' '.join(map(str, ports))}"
        )
        return server.check_output(f"ip netns exec stranger {python}").split()

    yield connect
    server.run(REMOVE)


def test_a_stranger_gets_no_answer_from_any_port(server, instance, stranger):
    ports = [entry["port"] for entry in instance["firewall"]["ports"]]
    assert {22, 6379} <= set(ports)
    silence = ["TimeoutError"] * len(ports)
    for address in (instance["address"], HERE6):
        assert stranger(address, ports, 2) == silence, address
    # The same stranger, once they are let in: it was the wall.
    elements = (f"subnets4 {{ {STRANGER4} }}", f"subnets6 {{ {STRANGER6} }}")
    for element in elements:
        assert server.run(f"nft 'add element inet webdis_kit {element}'").rc == 0
    try:
        assert stranger(instance["address"], ports, 20) == ["open"] * len(ports)
        assert stranger(HERE6, [22, 6379], 20) == ["open"] * 2
    finally:
        for element in elements:
            server.run(f"nft 'delete element inet webdis_kit {element}'")


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
    assert "was refused by its check" in " ".join(answer.stdout.split())
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
