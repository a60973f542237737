"""The lab's shape and addresses, what a router that truncates shows, and what `LAB` remembers."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import subprocess
import sys

import pytest
import yaml

from kit.checkout import KIT_DIR, ROOT

PROGRAM = ROOT / "ansible/roles/lab/files/router_lab.py"


def load():
    spec = importlib.util.spec_from_file_location("router_lab", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


router_lab = load()


@pytest.mark.parametrize(("routers", "links"), [(2, 1), (3, 3), (4, 5), (6, 7), (20, 21)])
def test_a_ring_with_a_chord_has_each_link_once(routers, links):
    lab = router_lab.topology(routers, 2201, "10.3")
    assert len({frozenset(pair) for pair in lab["links"]}) == len(lab["links"]) == links
    assert [router["port"] for router in lab["routers"]] == list(range(2201, 2201 + routers))
    ends = {router["name"]: 0 for router in lab["routers"]}
    for pair in lab["links"]:
        for name in pair:
            ends[name] += 1
    for router in lab["routers"]:
        assert len({entry["name"] for entry in router["interfaces"]}) == ends[router["name"]]
        assert all(len(entry["name"]) <= 15 for entry in router["interfaces"])  # Linux


def test_no_address_is_given_twice_and_both_ends_agree():
    lab = router_lab.topology(20, 2201, "10.3")
    everything = ipaddress.ip_network("198.19.0.0/16")
    seen = set()
    ends = {}
    for router in lab["routers"]:
        for entry in router["interfaces"]:
            address = ipaddress.ip_interface(entry["address"])
            assert address.network.subnet_of(everything)
            assert address.ip not in seen
            seen.add(address.ip)
            ends[router["name"], entry["neighbor"]] = address
    for (own, other), address in ends.items():
        assert ends[other, own].network == address.network
        neighbor = next(
            entry["neighbor_address"]
            for router in lab["routers"]
            if router["name"] == own
            for entry in router["interfaces"]
            if entry["neighbor"] == other
        )
        assert neighbor == str(ends[other, own].ip)


@pytest.mark.parametrize("size", [1, 7, 1024])
def test_a_router_that_truncates_shows_every_prompt_whole(size):
    printed = b"r1# show run\r\n" + b"a line\r\n" * 40 + b"end\r\nr1# exit\r\n"
    reading, writing = os.pipe()
    os.write(writing, printed)
    os.close(writing)
    cut = router_lab.Truncation("r1")
    shown = b""
    while data := cut.read(reading, size):
        shown += data
    os.close(reading)
    lines = router_lab.LINES_LEFT - 1
    assert shown == b"r1# show run\r\n" + b"a line\r\n" * lines + b"r1# exit\r\n"


def of_instance(name, code, **environment):
    """Return what a new process of the kit prints that works on an instance."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "KIT_INSTANCE": name, "LAB": "", **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def wanted(name, **environment):
    return of_instance(
        name, "from kit.lab import routers_wanted; print(routers_wanted())", **environment
    )


def test_a_lab_stays_until_it_is_taken_away(request):
    name = "lab-remembered"
    folder = KIT_DIR / "instances" / name
    folder.mkdir(parents=True)
    request.addfinalizer(lambda: subprocess.run(["rm", "-rf", folder], check=True))

    def inventory(**variables):
        hosts = {"redis_primary": {"hosts": {"server": variables}}}
        (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))

    assert wanted(name) == "None"
    inventory()
    assert wanted(name) == "None"
    inventory(lab_routers=6)
    assert wanted(name) == "6"
    assert wanted(name, LAB="8") == "8"
    assert wanted(name, LAB="0") == "0"
    # It was being taken away, and that run was cut off.
    inventory(lab_routers=0)
    assert wanted(name) == "0"
    (folder / "lab").mkdir()
    of_instance(name, "from kit.lab import finish; finish({'lab': None})")
    assert not (folder / "lab").exists()
    (folder / "provisioned").touch()
    assert wanted(name) == "None"


def test_without_a_lab_there_is_nothing_to_list_or_to_break(request):
    name = "lab-none"
    folder = KIT_DIR / "instances" / name
    folder.mkdir(parents=True)
    request.addfinalizer(lambda: subprocess.run(["rm", "-rf", folder], check=True))
    machine = of_instance(name, "from kit.checkout import NAME; print(NAME)")
    (folder / "instance.json").write_text(json.dumps({"name": machine, "lab": None}))
    for command in ("lab", "lab-fault"):
        answer = subprocess.run(
            [sys.executable, "-m", "kit", command],
            cwd=ROOT,
            env={**os.environ, "KIT_INSTANCE": name, "ROUTER": "r1", "KIND": "hang"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 1
        assert "has no lab of routers; `make up LAB=6` adds one" in answer.stderr
