"""Secrets stay where they belong: not in git, logs, output, process list, journal, page."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from demo_app import create_app
from kit.checkout import INSTANCE_FILE, INSTANCES_DIR, KIT_DIR, LOG_DIR, ROOT

OPEN_FOR_ALL = {"instance.json", "sbom.json"}  # below .kit, which is for its owner alone


class Secret(str):
    """A secret that a failed test does not print."""

    __slots__ = ()

    def __repr__(self):
        return "<secret>"


@pytest.fixture(scope="module")
def secrets(server):
    """Return every secret of the instance by where it is kept."""
    found = {path: path.read_text().strip() for path in (KIT_DIR / "secrets").iterdir()}
    for path in (*KIT_DIR.glob("tls/*.key"), KIT_DIR / "ssh" / "id_ed25519"):
        if path.exists():
            # Its second line is key and no frame.
            found[path] = path.read_text().splitlines()[1]
    found[Path("admin")] = server.file("/etc/redis/admin_password").content_string.strip()
    assert all(len(secret) >= 40 for secret in found.values())
    return {path: Secret(secret) for path, secret in found.items()}


def leaks(secrets, text):
    return [str(path) for path, secret in secrets.items() if secret in text]


class ProcessList(threading.Thread):
    """Looks at the arguments of every process of this host, over and over.

    The instance's processes are among them where it is a container.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self.stop, self.seen = threading.Event(), set()

    def run(self):
        while not self.stop.wait(0.05):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(process.read_bytes())
                except OSError:
                    continue  # it has ended


@pytest.fixture(scope="module", params=[0o000, 0o077], ids=["umask000", "umask077"])
def provisioned(request, instance, server):
    """Provision once more, as loudly as Ansible can, with every file with a secret to write."""
    for file in ("/etc/webdis/redis_password", "/etc/redis/users.acl", "/etc/webdis/webdis.json"):
        assert server.run(f"rm {file}").rc == 0
    for path in (INSTANCE_FILE, KIT_DIR / "inventory.yml", KIT_DIR / "ssh_config"):
        path.unlink()
    processes = ProcessList()
    processes.start()
    answer = subprocess.run(
        [
            "sh",
            "-c",
            f'umask {request.param:03o} && exec "$@"',
            "sh",
            sys.executable,
            "-m",
            "kit",
            "up",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_VERBOSITY": "3",
            "ANSIBLE_DIFF_ALWAYS": "1",
            "TLS": "1" if instance["tls"] else "0",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    processes.stop.set()
    processes.join()
    assert answer.returncode == 0, answer.stdout[-3000:]
    return answer.stdout, b"\n".join(processes.seen).decode(errors="replace")


def test_not_in_output_logs_and_process_list(provisioned, secrets):
    output, processes = provisioned
    assert "webdis" in processes
    for text in (output, processes):
        assert not leaks(secrets, text)
    logs = sorted(LOG_DIR.glob("*provision*"))
    assert "ESTABLISH SSH CONNECTION" in logs[-1].read_text(), "this was not -vvv"
    for log in LOG_DIR.glob("*.log"):
        assert leaks(secrets, log.read_text(errors="replace")) == [], log


def test_files_here_are_for_their_owner(provisioned):
    assert provisioned
    assert KIT_DIR.stat().st_mode & 0o777 == 0o700
    for path in KIT_DIR.rglob("*"):
        if {LOG_DIR, INSTANCES_DIR} & set(path.parents):  # other instances come and go meanwhile
            continue
        if path.is_file() and path.name not in OPEN_FOR_ALL:
            others = path.stat().st_mode & 0o077
            assert others == 0 or path.suffix == ".pub", path


def test_files_there_are_for_their_service(provisioned, server):
    assert provisioned
    for path, owner, group, mode in (
        ("/etc/redis", "root", "redis", 0o750),
        ("/etc/redis/admin_password", "root", "root", 0o600),
        ("/etc/redis/users.acl", "root", "redis", 0o640),
        ("/etc/redis/redis.conf", "root", "redis", 0o640),
        ("/var/lib/redis", "redis", "redis", 0o700),
        ("/etc/webdis", "root", "webdis", 0o750),
        ("/etc/webdis/redis_password", "root", "webdis", 0o640),
        ("/etc/webdis/webdis.json", "root", "webdis", 0o640),
        ("/run/webdis", "webdis", "webdis", 0o700),
    ):
        file = server.file(path)
        assert (file.user, file.group, file.mode) == (owner, group, mode), path
    # What is written below is the distribution's own, or ours and open to nobody's pen.
    loose = server.run(
        "find /etc /opt /usr/local /var/lib -xdev -perm -o+w ! -type l ! -perm -1000"
    )
    assert loose.stdout == ""


def test_not_in_the_journal(secrets, server):
    assert leaks(secrets, server.run("journalctl --no-pager -o cat").stdout) == []


def test_not_in_git(secrets):
    tracked = subprocess.run(["git", "grep", "-hI", ""], cwd=ROOT, capture_output=True, check=True)
    assert leaks(secrets, tracked.stdout.decode(errors="replace")) == []
    ignored = subprocess.run(
        ["git", "check-ignore", ".kit/secrets/redis_webdis", ".kit/tls/ca_own.key"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(ignored.stdout.splitlines()) == 2


def test_not_in_instance_json_and_the_page(secrets):
    assert leaks(secrets, INSTANCE_FILE.read_text()) == []
    app = create_app()
    page = app.test_client().get("/shared/")
    for connection in app.extensions["redis"].values():
        connection.close()
    assert page.status_code == 200
    assert leaks(secrets, page.text + str(page.headers)) == []
