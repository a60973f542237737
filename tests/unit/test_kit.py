"""The command line's answers to mistakes, and what follows from a checkout's path."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from kit import container
from kit.checkout import BRIDGE, ROOT, node_name
from kit.errors import KitError
from kit.run_logged import run_logged
from tests import scenarios


@pytest.fixture
def checkout(tmp_path):
    """Return a checkout of its own: this one may be busy."""
    shutil.copytree(ROOT / "kit", tmp_path / "kit")
    return tmp_path


@pytest.fixture
def run_kit(checkout):
    """Return a function that runs a command of the kit."""

    def run_kit(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kit", command],
            cwd=checkout,
            env={**os.environ, "KIT_INSTANCE": "", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run_kit


@pytest.mark.parametrize(
    ("variable", "valid"),
    [
        ("PROVIDER", "virtualbox, libvirt, container"),
        ("SUITE", "trixie"),
        ("SOURCES", "upstream"),
        ("METRICS", "0, 1, full"),
    ],
)
def test_unknown_choice_names_the_valid_ones(run_kit, variable, valid):
    # Where the check itself is at fault, no instance is made for it.
    answer = run_kit("up", **{"PROVIDER": "virtualbox", variable: "nonsense"})
    assert answer.returncode == 2
    assert f"{variable}=nonsense" in answer.stderr
    assert valid in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["kit", "status"], 1, "no instance"),
        (["kit", "destroy"], 1, "`make destroy` goes on from here"),
        (["kit.doctor"], 0, ""),
    ],
)
def test_output_that_nobody_reads_any_more_is_no_error(checkout, command, code, said):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        answer = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=checkout,
            env={**os.environ, "KIT_INSTANCE": ""},
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert answer.returncode == code
    assert said in answer.stderr
    assert bool(said) == bool(answer.stderr)


@pytest.mark.parametrize("name", ["../elsewhere", "TLS", "a b", "a/b"])
def test_an_instance_name_that_is_none_is_refused(run_kit, name):
    answer = run_kit("status", KIT_INSTANCE=name)
    assert answer.returncode == 2
    assert f"KIT_INSTANCE={name} is not allowed" in " ".join(answer.stderr.split())


def test_a_second_instance_of_a_checkout_is_never_a_virtual_machine(run_kit):
    answer = run_kit("up", KIT_INSTANCE="second", PROVIDER="libvirt")
    assert answer.returncode == 2
    assert "valid are: auto, container, local." in " ".join(answer.stderr.split())


@pytest.mark.parametrize("value", ["1", "21", "-2", "six", "2.5", "99999"])
def test_a_lab_of_another_size_is_refused(run_kit, value):
    answer = run_kit("up", LAB=value)
    assert answer.returncode == 2
    assert f"LAB={value} is not allowed; a number of routers from 2 to 20" in answer.stderr


@pytest.mark.parametrize("value", ["0", "2", "4", "x", "7", "-1"])
def test_a_number_of_nodes_that_decides_nothing_is_refused(run_kit, value):
    answer = run_kit("up", NODES=value)
    assert answer.returncode == 2
    assert f"NODES={value} is not allowed; 1, 3, 5 are: a primary is chosen" in " ".join(
        answer.stderr.split()
    )


@pytest.mark.parametrize(("made", "number"), [(["server-2"], 3), (["server-2", "server-4"], 5)])
def test_virtual_machines_are_never_fewer_than_there_are(run_kit, checkout, made, number):
    for name in ["default", *made]:  # what Vagrant keeps of a machine; it was cut off
        (checkout / ".vagrant/machines" / name / "libvirt").mkdir(parents=True)
        (checkout / ".vagrant/machines" / name / "libvirt/id").touch()
    answer = run_kit("up", NODES="1")
    assert answer.returncode == 2
    assert f"NODES=1 is fewer than the {number} that there are" in " ".join(answer.stderr.split())


def test_local_has_one_node(run_kit):
    answer = run_kit("up", NODES="3", PROVIDER="local")
    assert answer.returncode == 2
    assert "NODES=3 is not for PROVIDER=local" in answer.stderr


def test_names_fit_into_linux():
    assert len(BRIDGE) <= 15
    assert len(f"vb-{node_name(5)}") <= 15


def test_subnets_stay_in_their_range():
    for checkout_id in ("000000", "ffffff", "abc123"):
        assert 66 <= container.subnet_number(checkout_id) <= 255


def test_one_instance_is_not_changed_by_two_commands_at_once(run_kit, checkout):
    folder = checkout / ".kit/instances/at-once"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        answer = run_kit("down", KIT_INSTANCE="at-once")
        assert answer.returncode == 1
        assert "wait until it has ended, then run `make down` again" in answer.stderr
        assert run_kit("down", KIT_INSTANCE="another").returncode == 0
    assert run_kit("down", KIT_INSTANCE="at-once").returncode == 0
    assert run_kit("destroy", KIT_INSTANCE="at-once").returncode == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("said", "no_network"),
    [
        ("W: Failed to fetch http://a/  Temporary failure resolving 'a'", True),
        ("E: Could not connect to a:80, connection timed out", True),
        ("WARNING: Retrying after connection broken by 'NewConnectionError(...)'", True),
        ("E: Unable to locate package nothing", False),
    ],
)
def test_a_command_that_fails_for_want_of_a_network_says_so(said, no_network):
    with pytest.raises(KitError) as error:
        run_logged("Packages", ["sh", "-c", 'echo "$1"; exit 1', "sh", said], log="network-test")
    assert ("No answer came from the network." in str(error.value)) == no_network


DRY_RUN = "INFO     [default > check] Executing"
RECAP = "server                     : ok=90   changed={}   unreachable=0    failed=0"


@pytest.mark.parametrize(
    ("printed", "changes"),
    [
        ([DRY_RUN, RECAP.format(23)], 0),  # of an empty machine, which changes by its nature
        ([DRY_RUN, RECAP.format(23), DRY_RUN, RECAP.format(0), *["verified"] * 500], 0),
        ([DRY_RUN, RECAP.format(23), DRY_RUN, RECAP.format(2), *["verified"] * 500], 2),
    ],
)
def test_changes_of_the_last_dry_run_are_counted(printed, changes):
    command = [sys.executable, "-c", "import sys; print(sys.argv[1])", "\n".join(printed)]
    lines = run_logged("A scenario", command, log="dry-run-test")
    assert scenarios.changes_of_last_dry_run(lines) == changes


def test_ansible_in_the_virtual_machine_gives_its_host_a_way_in(checkout):
    lan = {
        "address": "192.168.178.50",
        "bridge": "Intel(R) Ethernet",
        "subnet": "192.168.178.0/24",
        "host_keys": ["ssh-ed25519 AAAA"],
        "other_subnets": ["10.0.2.0/24"],
    }
    (checkout / "lan.json").write_text(json.dumps(lan), encoding="utf-8")
    (checkout / ".kit").mkdir()
    (checkout / ".kit/provisioned").touch()
    root = "C:/Users/Eve Doe/webdis-kit"
    program = "import kit.__main__ as kit; kit.LAN_FILE = 'lan.json'; kit.guest_inventory()"
    printed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=checkout,
        env={**os.environ, "PROVIDER": "virtualbox", "KIT_HOST_ROOT": root},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    host = yaml.safe_load(printed)["all"]["children"]["redis_primary"]["hosts"]["server"]
    assert host["ansible_connection"] == "local"
    assert host["instance_name"] == "kit-" + hashlib.sha256(root.encode()).hexdigest()[:6]
    options = (checkout / ".kit/ssh_config").read_text(encoding="utf-8")
    assert "HostName 192.168.178.50\n" in options
    assert f'IdentityFile "{root}/.vagrant/machines/default/virtualbox/private_key"\n' in options
    assert f'UserKnownHostsFile "{root}/.kit/ssh/known_hosts"\n' in options
    known_hosts = (checkout / ".kit/ssh/known_hosts").read_text(encoding="utf-8")
    assert known_hosts == "192.168.178.50 ssh-ed25519 AAAA\n"
    assert not (checkout / ".kit/provisioned").exists()
