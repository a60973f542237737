"""Redis to an older version and back: what runs, what is kept, what is built."""

from __future__ import annotations

import json
import os
import secrets
import subprocess

import yaml

from demo_app.progress import Progress, events_after
from kit.checkout import CACHE_DIR, INVENTORY_FILE, KIT_DIR, ROOT
from kit.verify import publisher

OLDER = {
    "version": "8.0.2",
    "url": "debian-pool:main/r/redis/redis_8.0.2.orig.tar.gz",
    "filename": "redis_8.0.2.orig.tar.gz",
    "sha256": "caf3c0069f06fc84c5153bd2a348b204c578de80490c73857bee01d9b5d7401f",
}


def provision(candidates):
    variables = {
        "kit_dir": str(KIT_DIR),
        "kit_cache_dir": str(CACHE_DIR),
        "redis_candidates": candidates,
    }
    answer = subprocess.run(
        [
            ROOT / ".venv/bin/ansible-playbook",
            "--inventory",
            INVENTORY_FILE,
            "ansible/site.yml",
            "--extra-vars",
            json.dumps(variables),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-3000:]


def running_version(server):
    pid = server.run("systemctl show -P MainPID redis").stdout.strip()
    return server.run(f"readlink /proc/{pid}/exe").stdout.split("/")[3]


def test_older_and_back_keeps_the_stream_and_does_not_build_twice(server, instance):
    channel = f"progress:{secrets.token_hex(16)}"
    with publisher(instance) as connection:
        Progress(connection, channel).message("kept")
    program = server.file(f"/opt/redis/{instance['redis']['version']}/bin/redis-server")
    built_at = program.mtime
    usual = yaml.safe_load((ROOT / "ansible/roles/redis/defaults/main.yml").read_text())
    try:
        provision([OLDER])
        assert running_version(server) == OLDER["version"]
    finally:
        provision(usual["redis_candidates"])
    assert running_version(server) == instance["redis"]["version"]
    assert program.mtime == built_at, "a rollback must not build again"
    assert server.file(f"/opt/redis/{OLDER['version']}/bin/redis-server").exists
    with publisher(instance) as connection:
        assert [event["text"] for event in events_after(connection, channel, 0)] == ["kept"]
