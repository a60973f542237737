"""The lab's routers: what they see of each other, who gets in, and what a fault does."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kit.checkout import KIT_DIR
from tests.lan_host import assert_only_neighbours_reach

# A router that hears nothing gives its neighbour up after 4 seconds; FRRouting's default is 40.
# Between the two a busy machine has its time.
DEAD_SECONDS = 20
HANGS = ("-o", "ConnectTimeout=3")


def neighbors(answer):
    """Return the interfaces over which a router has a neighbour, by what it answers."""
    return {
        entry["ifaceName"].split(":")[0]
        for entries in answer["neighbors"].values()
        for entry in entries
        if entry.get("nbrState", entry.get("state", "")).startswith("Full")
    }


@pytest.fixture(scope="module")
def tables(whole_lab):
    """Return what each router sees: OSPF's neighbours, BGP's, and routes."""
    commands = [f"show ip {what} json" for what in ("ospf neighbor", "bgp summary", "route")]

    def decoded(text):
        if not (rest := text.lstrip()):
            return []
        table, end = json.JSONDecoder().raw_decode(rest)
        return [table, *decoded(rest[end:])]

    return {name: decoded(answer) for name, answer in whole_lab.answers(*commands).items()}


def test_every_router_has_all_its_neighbours(lab, tables):
    for name, router in lab.routers.items():
        links = {interface["name"] for interface in router["interfaces"]}
        ospf, bgp, _ = tables[name]
        assert neighbors(ospf) == links, name
        peers = bgp["ipv4Unicast"]["peers"]
        assert {peer["state"] for peer in peers.values()} == {"Established"}
        assert len(peers) == len(links)


def test_every_router_has_a_route_to_every_loopback_and_prefix(lab, tables):
    for name, (_, _, routes) in tables.items():
        for other in lab.routers.values():
            assert f"{other['loopback']}/32" in routes, name
            learnt = routes[other["prefix"]][0]["protocol"]
            assert learnt == ("static" if other["name"] == name else "bgp"), name


def test_a_login_ends_in_the_router_of_that_port_and_nowhere_else(lab):
    with ThreadPoolExecutor(max_workers=4) as pool:
        shown = pool.map(lambda name: lab.show(name, "show running-config"), lab.routers)
    for name, configuration in zip(lab.routers, shown, strict=True):
        assert f"hostname {name}\n" in configuration
    assert "Unknown command" in lab.ssh("r1", "id").stdout
    assert "Unknown command" in lab.ssh("r1", "start-shell").stdout


def test_a_login_gets_no_tunnel(lab):
    answer = lab.ssh("r1", options=("-W", "127.0.0.1:6379"))
    assert "forwarding failed" in answer.stderr


def test_only_the_lab_s_key_logs_in_and_not_to_the_server(lab, server):
    without = lab.ssh("r1", options=("-o", "PubkeyAuthentication=no"))
    assert "Permission denied (publickey)" in without.stderr
    known = f"UserKnownHostsFile={KIT_DIR / 'ssh' / 'known_hosts'}"
    answer = lab.ssh("r1", "true", options=("-o", "Port=22", "-o", known))
    assert "Permission denied" in answer.stderr
    assert server.user(lab.user).groups == [lab.user, "frr", "frrvty"]


def test_ports_are_open_to_the_lan_and_to_nobody_else(instance, lab, server):
    ports = [router["port"] for router in lab.routers.values()]
    assert_only_neighbours_reach(instance, server, ports)


def test_the_server_s_own_routes_are_left_alone(server):
    assert "198.19." not in server.run("ip route show table all").stdout
    assert server.run("systemctl is-enabled frr").stdout.strip() == "masked"


def test_a_router_that_hangs_takes_a_connection_and_says_nothing(lab):
    lab.fault("r2", "hang")
    answer = lab.ssh("r2", "show version", options=HANGS)
    assert "timed out" in answer.stderr
    assert "FRRouting" in lab.show("r1", "show version")
    lab.fault("r2", "none")
    assert "FRRouting" in lab.show("r2", "show version")


@contextlib.contextmanager
def terminal(lab, router):
    """Log in at a terminal; give a function that types a line and returns the answer."""
    command = ["ssh", "-F", lab.config, "-tt", router]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:

        def type_line(line, seconds=20):
            if line:
                process.stdin.write(line.encode() + b"\n")
                process.stdin.flush()
            shown = b""
            while not shown.endswith(f"{router}# ".encode()):
                ready, _, _ = select.select([process.stdout], [], [], seconds)
                assert ready, f"no prompt after {shown!r}"
                more = os.read(process.stdout.fileno(), 4096)
                assert more, f"the session ended after {shown!r}"
                shown += more
            return shown.decode()

        try:
            type_line("")
            yield type_line
        finally:
            process.kill()


def test_a_session_under_way_hangs_too(lab):
    with terminal(lab, "r2") as type_line:
        assert "FRRouting" in type_line("show version")
        lab.fault("r2", "hang")
        with pytest.raises(AssertionError, match="no prompt"):
            type_line("show version", 1)


def test_a_router_that_refuses_knows_the_key_no_more(lab):
    lab.fault("r2", "refuse")
    assert "Permission denied (publickey)" in lab.ssh("r2", "show version").stderr
    lab.fault("r2", "none")
    assert "FRRouting" in lab.show("r2", "show version")


def test_a_router_that_truncates_drops_the_end_and_prompts(lab):
    def last_line():
        with terminal(lab, "r2") as type_line:
            type_line("terminal length 0")
            lines = type_line("show running-config").splitlines()
            assert any(line.startswith("frr version") for line in lines)
            return lines[-2]

    assert last_line() == "end"
    lab.fault("r2", "truncate")
    assert last_line() != "end"


def test_a_router_with_a_slow_line_is_slow_and_others_are_not(lab, server):
    def read(router):
        """Read a configuration; return the seconds, and the bytes that took the slow line."""
        began, before = time.monotonic(), slow_bytes(server)
        assert "end" in lab.show(router, "show running-config")
        return time.monotonic() - began, slow_bytes(server) - before

    lab.fault("r2", "slow")
    seconds, size = read("r2")
    assert size > 3000
    # At 19,200 bit/s; its first and its last bytes do not wait for the line.
    assert seconds > size * 8 / 19_200 / 2
    _, size = read("r1")
    assert size < 1000, "the others take it, too"  # the end of the session before may come late
    lab.fault("r2", "none")
    assert "htb" not in server.run("tc qdisc show").stdout


def slow_bytes(server):
    sent = re.findall(
        r"class htb .*\n *Sent (\d+) bytes", server.run("tc -s class show dev host0").stdout
    )
    return sum(map(int, sent))


def test_a_link_that_is_down_is_a_neighbour_less_within_the_dead_time(lab):
    other = lab.routers["r1"]["interfaces"][0]["neighbor"]

    def seen():
        return neighbors(json.loads(lab.show(other, "show ip ospf neighbor json")))

    before = seen()
    lab.fault("r1", "link-down")
    lab.eventually(lambda: seen() == before - {"to-r1"}, "the neighbour stays", DEAD_SECONDS)


def test_another_fault_takes_the_place_of_the_one_before(lab, server):
    lab.fault("r2", "slow")
    lab.fault("r2", "refuse")
    assert json.loads(server.run("router-lab faults").stdout) == {"r2": "refuse"}
    assert "htb" not in server.run("tc qdisc show").stdout
