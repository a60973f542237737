"""Whatever a caller's environment and paths hold, a target works or says why it cannot."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kit.checkout import CACHE_DIR, ROOT
from tests.surroundings.instances import run

# Each was enough to break a target of this kit or of a project like it.
HOSTILE = {
    "ANSIBLE_CONFIG": "/nowhere/ansible.cfg",
    "ANSIBLE_FORCE_COLOR": "1",
    "ANSIBLE_INVENTORY": "/nowhere",
    "ANSIBLE_ROLES_PATH": "/nowhere",
    "ANSIBLE_STDOUT_CALLBACK": "nonsense",
    "ANSIBLE_VAULT_PASSWORD_FILE": "/nowhere",
    "BASH_ENV": "/nowhere",
    "CDPATH": "/",
    "ENV": "/nowhere",
    "GREP_OPTIONS": "--nonsense",
    "LANG": "de_DE.UTF-8",
    "LC_ALL": "xx_XX.UTF-8",
    "LD_PRELOAD": "",
    "NODE_OPTIONS": "--nonsense",
    "PATH": "/usr/local/bin:/usr/bin:/bin",  # as root has it by `su`
    "PIP_REQUIRE_VIRTUALENV": "yes",
    "PIP_TARGET": "/nowhere",
    "PIP_USER": "yes",
    "POSIXLY_CORRECT": "1",
    "PYTHONHOME": "/nowhere",
    "PYTHONOPTIMIZE": "2",
    "PYTHONPATH": "/nowhere",
    "PYTHONSTARTUP": "/nowhere",
    "PYTHONWARNINGS": "error",
    "RUBYOPT": "-rnonsense",
    "SSH_AUTH_SOCK": "/nowhere",
    "VAGRANT_VAGRANTFILE": "/nowhere",
    "VIRTUAL_ENV": "/nowhere",
}


def make(*arguments, cwd=ROOT, seconds=240, **environment):
    """Run make as a person would, and return what came of it."""
    return run("make", "--no-print-directory", *arguments, cwd=cwd, seconds=seconds, **environment)


@pytest.mark.parametrize("target", ["status", "verify", "up"])
def test_a_hostile_environment_changes_nothing(instance, target):
    answer = make(target, **HOSTILE)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert not answer.stderr
    if target == "status":
        assert instance["name"] in answer.stdout


def test_what_is_meant_for_a_target_reaches_it():
    answer = make("up", SUITE="nonsense")
    assert answer.returncode == 2
    assert "SUITE=nonsense is not known" in answer.stderr


class Refusing(BaseHTTPRequestHandler):
    """A proxy that does nothing for anybody, and counts who asked."""

    asked = 0

    def handle(self):
        type(self).asked += 1

    def log_message(self, *_):
        pass


def test_the_instance_is_not_looked_for_behind_a_proxy(instance):
    assert instance["address"]
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{proxy.server_port}"
        names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        answer = make("verify", **dict.fromkeys(names, url), no_proxy="198.18.0.0/15")
        proxy.shutdown()
        thread.join()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert Refusing.asked == 0


INVENTORY = ("--inventory", ".kit/instances/machine/inventory.yml")
# As hardened hosts are, and a user on one.
HARDENED = """
umask 077
for folder in /tmp /var/tmp /dev/shm; do mount -t tmpfs -o noexec none $folder; done
exec "$@"
"""
ANSIBLE = {"ANSIBLE_CONFIG": "kit/ansible/ansible.cfg", "LC_ALL": "C.UTF-8"}


@pytest.fixture
def copied():
    """Return a copy of the checkout, its environment included, at a path with much in it."""
    with tempfile.TemporaryDirectory(dir=CACHE_DIR) as there:
        folder = Path(there) / "100 % of a rather long name of a folder" / "webdis-kit"
        # Not what is installed in the environment: its programs and stamps make it look complete.
        unused = (".git", "node_modules", "instances", "logs", "test-results", "site-packages")
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*unused), symlinks=True)
        yield folder
        answer = make("destroy", cwd=folder)
        assert answer.returncode == 0, answer.stdout + answer.stderr


def hardened(*command):
    """Return the command for a host on which nothing runs that is in a folder for all users."""
    return ("unshare", "--mount", "sh", "-ec", HARDENED, "sh", *command)


@pytest.fixture
def long_home():
    """Return a home folder in which paths of sockets come near to their limit of 107 bytes."""
    name = "home-of-somebody-with-a-long-name-"
    with tempfile.TemporaryDirectory(dir=Path.home(), prefix=name) as home:
        yield home


@pytest.mark.timeout(600)
def test_a_copied_checkout_has_an_instance_of_its_own(instance, copied, long_home):
    answer = make("ip", cwd=copied)
    assert answer.returncode == 2
    assert "making it anew" in answer.stdout
    assert f"is of {instance['name']}, the instance of another folder" in " ".join(
        answer.stderr.split()
    )
    assert "Traceback" not in answer.stderr
    own = {"HOME": long_home, "XDG_CACHE_HOME": str(CACHE_DIR.parent)}
    for target in ("up", "verify"):
        command = hardened("make", "--no-print-directory", target)
        answer = run(*command, cwd=copied, PROVIDER="local", **own)
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "127.0.0.1" in make("ip", cwd=copied).stdout
    # SSH and Ansible, which have ideas of their own about paths: a role is enough for that.
    for command in (
        [".venv/bin/python", "-m", "kit", "create"],
        [".venv/bin/ansible-playbook", *INVENTORY, "--tags", "firewall", "kit/ansible/server.yml"],
    ):
        answer = run(*hardened(*command), cwd=copied, KIT_INSTANCE="machine", **own, **ANSIBLE)
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert re.search(r"^server +: ok=[1-9]", answer.stdout, re.MULTILINE), answer.stdout


HOLD = """
import fcntl, sys

with open(sys.argv[1], "w") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print(flush=True)
    input()
"""


def test_apt_waits_while_the_system_updates_itself(tmp_path):
    lists = tmp_path / "lists"
    (lists / "partial").mkdir(parents=True)
    (tmp_path / "sources").mkdir()
    apt = [
        *(ROOT / "kit/apt_get.sh", "-o", f"Dir::State::lists={lists}", "-o"),
        *("Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={tmp_path}/sources"),
        "update",
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, lists / "lock"], **pipes) as holder:
        assert holder.stdout.readline()
        with subprocess.Popen(apt, stdout=subprocess.PIPE, text=True) as waiting:
            # It has begun a second time: the first ended at the lock.
            for _ in range(2):
                assert "Reading package lists" in waiting.stdout.readline()
            assert waiting.poll() is None
            holder.communicate("\n", timeout=30)
            waiting.communicate(timeout=60)
            assert waiting.returncode == 0
