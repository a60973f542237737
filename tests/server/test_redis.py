"""Redis as it runs on the instance."""

from __future__ import annotations

import hashlib

import pytest
import redis

from kit.verify import redis_as


def test_runs_the_version_that_was_built(server, instance):
    pid = server.run("systemctl show -P MainPID redis").stdout.strip()
    program = server.run(f"readlink /proc/{pid}/exe").stdout.strip()
    assert program.startswith(f"/opt/redis/{instance['redis']['version']}")
    version = server.run(f"{program} --version").stdout.split()[2]
    assert version == f"v={instance['redis']['version']}"
    assert server.run("systemctl show -P Type redis").stdout.strip() == "notify"


def test_default_user_is_off(instance):
    with (
        redis_as(instance) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_publisher_keeps_to_progress(publisher_redis):
    publisher_redis.publish("progress:test", "x")
    for forbidden in (
        lambda: publisher_redis.publish("other", "x"),
        lambda: publisher_redis.xrange("other"),
        lambda: publisher_redis.config_get("*"),
        lambda: publisher_redis.keys("*"),
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            forbidden()


def test_webdis_user_may_subscribe_and_nothing_else(instance, secrets_dir):
    with redis_as(
        instance,
        username="webdis",
        password=(secrets_dir / "redis_webdis").read_text().strip(),
        lib_name=None,
        lib_version=None,
    ) as connection:
        for command in ("GET a", "SET a b", "PUBLISH a b", "PSUBSCRIBE *", "CONFIG GET *", "PING"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                connection.execute_command(*command.split())


def test_acl_file_holds_digests_only(server, secrets_dir):
    content = server.file("/etc/redis/users.acl").content_string
    password = (secrets_dir / "redis_publisher").read_text().strip()
    assert hashlib.sha256(password.encode()).hexdigest() in content
    assert password not in content


def test_streams_are_written_to_disk(server):
    assert "appendonly yes" in server.file("/etc/redis/redis.conf").content_string
    assert server.file("/var/lib/redis/appendonlydir").is_directory
