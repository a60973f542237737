"""What the kit calls running, stopped and gone is what it is, whatever has become of its files."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kit import container
from kit.checkout import INSTANCES_DIR, ROOT
from tests.surroundings.instances import kit, run

INSTANCE = "surroundings"
KIT_DIR = INSTANCES_DIR / INSTANCE
WITHOUT_EXEC = """
mount -t tmpfs -o noexec none /tmp
mount -t tmpfs -o noexec none /var/tmp
exec "$1" trixie "$2" some-package
"""
OTHER_NAME_SERVERS = """
mount --bind "$OURS" /etc/resolv.conf
mount --bind "$BEHIND" /run/NetworkManager
exec "$0" -m kit create
"""


def ssh(command):
    config = str(KIT_DIR / "ssh_config")
    return subprocess.run(["ssh", "-F", config, "server", command], timeout=30, check=False)


def processes(name):
    """Return the processes that a container's system consists of, by the card of its network."""
    found = []
    for file in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (file / "root/etc/hostname").read_text() == f"{name}\n":
                found.append(int(file.name))
    return found


@pytest.fixture(scope="module")
def of_these_tests():
    """Return the name of a container that the tests below share: to make one takes longest."""
    # Other tests make containers at the same time: this one's name follows from its place.
    made = f"kit-{hashlib.sha256(f'{ROOT}#{INSTANCE}'.encode()).hexdigest()[:6]}"
    try:
        yield made
    finally:
        kit(INSTANCE, "destroy")
    assert_gone(made)


def assert_gone(name):
    assert not processes(name)
    assert not container.running(name)
    assert not (container.STATE_DIR / name).exists()


@pytest.fixture
def name(of_these_tests):
    """Return the name of a container that runs."""
    kit(INSTANCE, "create")
    return of_these_tests


def test_a_checkout_that_has_lost_its_files_is_let_in_again(name):
    pid = container.pid(name)
    shutil.rmtree(KIT_DIR)
    kit(INSTANCE, "create")
    assert ssh("true").returncode == 0
    assert container.pid(name) == pid


def test_half_a_record_of_another_checkout_stops_nobody(name):
    folder = container.STATE_DIR / "kit-000000"
    folder.mkdir()
    try:
        (folder / "record.json").write_text('{"checkout": "/nowhere", "bri')
        assert f"Warning: {folder}/record.json cannot be read" in kit(INSTANCE, "create")
        assert name in container.records()
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("then", ["create", "down", "destroy"])
def test_a_system_that_outlives_its_nspawn_is_seen_and_ended(name, then):
    os.kill(container.pid(name), signal.SIGKILL)
    left = processes(name)
    assert left
    assert container.pid(name) is None
    assert container.running(name)
    kit(INSTANCE, then)
    assert not set(left) & set(processes(name))
    if then == "destroy":
        assert_gone(name)
    if then == "create":
        assert ssh("systemctl is-system-running --wait").returncode in (0, 1)


@pytest.fixture
def create_with(tmp_path):
    """Return a function that makes the container where the host's name servers are others."""
    network_manager = Path("/run/NetworkManager")
    was_there = network_manager.exists()
    network_manager.mkdir(exist_ok=True)
    ours, behind = tmp_path / "resolv.conf", tmp_path / "NetworkManager"
    behind.mkdir()

    def create(own, *more):
        ours.write_text(f"nameserver {own}\n")
        for server in more:
            (behind / "no-stub-resolv.conf").write_text(f"nameserver {server}\n")
        command = ("unshare", "--mount", "sh", "-ec", OTHER_NAME_SERVERS, sys.executable)
        answer = run(*command, KIT_INSTANCE=INSTANCE, OURS=str(ours), BEHIND=str(behind))
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    yield create
    kit(INSTANCE, "down")
    if not was_there:
        network_manager.rmdir()


@pytest.mark.skipif(
    Path("/run/systemd/system").is_dir(), reason="systemd starts it, which has mounts of its own"
)
@pytest.mark.usefixtures("name")
def test_a_container_is_given_name_servers_that_it_can_reach(create_with):
    assert ssh("echo nameserver 198.51.100.6 >/etc/resolv.conf").returncode == 0
    kit(INSTANCE, "down")
    assert "no name server but on its loopback (127.0.0.1)" in create_with("127.0.0.1")
    assert ssh("grep -Fx 'nameserver 198.51.100.6' /etc/resolv.conf").returncode == 0, "it stays"
    kit(INSTANCE, "down")
    assert "Warning" not in create_with("127.0.0.1", "198.51.100.7")
    assert ssh("grep -Fx 'nameserver 198.51.100.7' /etc/resolv.conf").returncode == 0


def networks(*texts):
    return [ipaddress.IPv4Network(text) for text in texts]


@pytest.mark.parametrize(
    ("taken", "subnet", "said"),
    [
        ([], "198.18.100.0/24", ""),
        (["198.18.100.0/24"], "198.18.101.0/24", ""),
        # What sing-box and Clash take.
        (["198.18.0.0/16"], "198.19.100.0/24", "198.18.0.0/16 is in use here"),
        (["198.18.0.0/15"], "198.18.100.0/24", "198.18.0.0/15 is in use here"),
        (["198.18.0.0/15", "198.18.100.0/24"], "198.18.101.0/24", "198.18.0.0/15"),
        (["198.18.0.0/16", "198.19.100.0/24"], "198.19.101.0/24", "198.18.0.0/16"),
    ],
)
def test_a_subnet_is_found_whatever_this_host_is_in(taken, subnet, said):
    found, remark = container.free_subnet(100, networks(*taken))
    assert str(found) == subnet
    assert said in remark
    assert bool(said) is bool(remark)


def test_addresses_and_routes_of_this_host_count_and_its_own_bridge_does_not():
    addresses = json.dumps(
        [
            {"ifname": "Meta", "addr_info": [{"local": "198.18.0.1", "prefixlen": 30}]},
            {"ifname": container.BRIDGE, "addr_info": [{"local": "198.18.70.1", "prefixlen": 24}]},
        ]
    )
    routes = json.dumps(
        [
            {"dst": "default", "dev": "eth0"},
            {"dst": "198.18.0.0/16", "dev": "Meta"},
            {"dst": "198.18.70.0/24", "dev": container.BRIDGE},
        ]
    )
    found = container.networks_in_use(addresses, routes)
    assert found == networks("198.18.0.0/30", "198.18.0.0/16")


def test_a_root_file_system_is_made_where_programs_may_run():
    """CIS has /tmp and /var/tmp mounted so; with a stand-in for what makes it."""
    with tempfile.TemporaryDirectory(dir=KIT_DIR.parent) as folder:  # not below /tmp
        maker = Path(folder) / "mmdebstrap"
        maker.write_text('#!/bin/sh\necho "made in $TMPDIR" >&2\nexit 1\n')
        maker.chmod(0o755)
        answer = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", WITHOUT_EXEC, "sh", ROOT / "kit/rootfs.sh", folder],
            env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"made in {folder}\n" in answer.stderr


def test_a_damaged_root_file_system_is_made_anew(tmp_path):
    """With a stand-in for what makes it: that takes half a minute, and is what every run does."""
    folder, programs = tmp_path / "rootfs", tmp_path / "bin"
    programs.mkdir()
    maker = programs / "mmdebstrap"
    maker.write_text(
        '#!/bin/sh\nfor a; do case $a in *.tar) tar -cf "$a" -C / etc/hostname;; esac; done\n'
    )
    maker.chmod(0o755)

    def path():
        answer = subprocess.run(
            [ROOT / "kit/rootfs.sh", "trixie", folder, "some-package"],
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        return Path(answer.stdout.splitlines()[-1]), answer.stderr

    archive, _ = path()
    good = archive.read_bytes()
    assert path() == (archive, "")
    for by_hand in (False, True):
        archive.write_bytes(good[:700])
        if by_hand:
            archive.with_name(f"{archive.name}.cksum").unlink()
        found, said = path()
        assert found == archive
        assert f"{archive} is damaged: it is made again" in said
        assert len(archive.read_bytes()) >= len(good)
