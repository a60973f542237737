"""Redis as it runs on the instance."""

from __future__ import annotations

import hashlib
import secrets

import pytest
import redis
import yaml

from kit.checkout import ROOT
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


def test_replica_carries_what_is_published(instance, server, publisher_redis):
    variables = yaml.safe_load((ROOT / "kit/ansible/group_vars/all/redis_users.yml").read_text())
    rules = next(
        user["rules"] for user in variables["kit_redis_node_users"] if user["name"] == "replica"
    )
    password = secrets.token_hex(16)
    port = 6399
    tls = (
        "--tls-replication yes --tls-ca-cert-file /etc/redis/ca.pem "
        "--tls-cert-file /etc/redis/certificate.pem --tls-key-file /etc/redis/key.pem"
    )
    replica = (
        "systemd-run --quiet --collect --unit=test-replica /opt/redis/current/bin/redis-server "
        f"--port {port} --dir /tmp --save '' --replicaof 127.0.0.1 6379 "
        f"--masteruser test-replica --masterauth {password} {tls if instance['tls'] else ''}"
    )
    client = f"/opt/redis/current/bin/redis-cli -p {port}"
    server.run("systemctl stop test-replica")  # a run that was cut off may have left one
    try:
        assert server.run(f"redis-admin ACL SETUSER test-replica on '>{password}' {rules}").rc == 0
        assert server.run(replica).rc == 0
        linked = (
            f"until {client} INFO replication | grep -q master_link_status:up; do sleep 0.1; done"
        )
        assert server.run(f"timeout 60 sh -c '{linked}'").rc == 0
        publisher_redis.xadd("progress:replica", {"text": "carried"}, id="1-1")
        arrived = (
            f"until {client} XRANGE progress:replica - + | grep -q carried; do sleep 0.1; done"
        )
        assert server.run(f"timeout 60 sh -c '{arrived}'").rc == 0
    finally:
        server.run("systemctl stop test-replica; redis-admin ACL DELUSER test-replica")
        publisher_redis.delete("progress:replica")


def test_a_build_that_cannot_read_the_data_is_refused(server):
    later = "/var/lib/redis/test-later.rdb"
    check = "redis-check build /opt/redis/current"
    assert server.run(check).rc == 0
    try:
        assert server.run(f"printf REDIS0099 >{later}").rc == 0
        answer = server.run(check)
    finally:
        server.run_test(f"rm -f {later}")
    assert answer.rc == 1
    assert "cannot read data of the format REDIS0099, which /var/lib/redis has" in answer.stderr


def test_a_build_that_the_user_redis_cannot_execute_is_refused(server):
    copy = "mkdir -m 0750 /run/test-build && cp -a /opt/redis/current/bin /run/test-build"
    try:
        assert server.run(copy).rc == 0
        answer = server.run("redis-check build /run/test-build")
    finally:
        server.run_test("rm -rf /run/test-build")
    assert answer.rc == 1
    assert "Permission denied" in answer.stderr


@pytest.mark.parametrize("value", [0, 1, 2])
def test_an_overcommit_that_would_refuse_a_fork_is_set_to_1(server, value):
    query, change, *_ = yaml.safe_load((ROOT / "ansible/roles/redis/tasks/kernel.yml").read_text())
    wanted = query["webdis_kit.server.query"]["cmd"]
    set_one = change["ansible.builtin.command"].replace("{{ item }}", "$one")
    # Bound over the kernel's, in a mount namespace of its own: the kernel is this host's.
    file = "/run/webdis-kit-test-overcommit"
    answer = server.run(
        f"echo {value} >{file} && unshare --mount sh -c %s && cat {file}; rm {file}",
        f"mount --bind {file} /proc/sys/vm/overcommit_memory\n"
        f"for one in $({wanted}\n); do echo $one; {set_one}; done",
    )
    said = [] if value == 1 else ["vm.overcommit_memory=1"]
    assert (answer.stdout.split(), answer.stderr) == ([*said, "1"], "")
