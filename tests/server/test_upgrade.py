"""Redis to an older version and back: what runs, what is kept, what is built."""

from __future__ import annotations

import secrets

import pytest
import yaml

from demo_app.progress import Progress, events_after
from kit.checkout import ROOT
from kit.verify import publisher

OLDER = {
    "version": "8.0.2",
    "url": "debian-pool:main/r/redis/redis_8.0.2.orig.tar.gz",
    "filename": "redis_8.0.2.orig.tar.gz",
    "sha256": "caf3c0069f06fc84c5153bd2a348b204c578de80490c73857bee01d9b5d7401f",
}
NOWHERE = {
    "version": "99.0.0",
    "url": "http://127.0.0.1:1/redis-99.0.0.tar.gz",
    "filename": "redis-99.0.0.tar.gz",
    "sha256": "0" * 64,
}


def running_program(server):
    pid = server.run("systemctl show -P MainPID redis").stdout.strip()
    return server.run(f"readlink /proc/{pid}/exe").stdout.strip()


@pytest.mark.timeout(1200)  # it may build a Redis
def test_older_and_back_keeps_the_stream_and_does_not_build_twice(server, instance, provision):
    channel = f"progress:{secrets.token_hex(16)}"
    with publisher(instance) as connection:
        Progress(connection, channel).message("kept")
    usual = running_program(server)
    built_at = server.file(usual).mtime
    releases = yaml.safe_load((ROOT / "ansible/roles/redis/vars/main.yml").read_text())
    candidates = releases["_redis_releases"]
    try:
        answer = provision(
            "--tags=redis",
            redis_candidates=[*candidates, OLDER],
            redis_version=OLDER["version"],
        )
        assert answer.returncode == 0, answer.stdout[-3000:]
        older = running_program(server)
        assert server.run(f"{older} --version").stdout.split()[2] == f"v={OLDER['version']}"
        # A release that cannot be reached is no reason to build what is there again.
        answer = provision("--tags=redis", redis_candidates=[NOWHERE, *candidates])
        assert answer.returncode == 0, answer.stdout[-3000:]
        assert running_program(server) == usual
        assert server.file(usual).mtime == built_at, "a rollback must not build again"
        assert server.file(older).exists
    finally:
        answer = provision("--tags=redis")
    assert answer.returncode == 0, answer.stdout[-3000:]
    assert running_program(server) == usual
    with publisher(instance) as connection:
        assert [event["text"] for event in events_after(connection, channel, 0)] == ["kept"]
