"""Redis to a newer release and back: what runs, what is built, and that no message is lost.

The scenario has converged to the older release.
"""

from __future__ import annotations

import os
import secrets

import pytest

from tests.provisioning import changed, provision
from tests.traffic import Reader, Writer

TOO_OLD, OLDER, NEWER = "7.0.15", "8.0.2", "8.0.6"
# The scenario's inventory has the archives of both, and asks for the older one.
INVENTORY = f"--inventory={os.environ['MOLECULE_EPHEMERAL_DIRECTORY']}/inventory"


@pytest.fixture
def traffic(instance):
    channel = f"progress:{secrets.token_hex(16)}"
    reader, writer = Reader(instance, channel), Writer(instance, channel)
    reader.start()
    assert reader.subscribed.wait(60)
    writer.start()
    yield writer, reader
    writer.stop.set()


def running_version(server):
    """Ask the running server, not the link or the program behind it."""
    info = server.run_test(
        "REDISCLI_AUTH=$(cat /etc/redis/admin_password) /opt/redis/current/bin/redis-cli "
        "-s /run/redis/redis.sock --user admin INFO server"
    ).stdout
    return info.split("redis_version:")[1].split()[0]


def starts(server):
    return server.run("journalctl -o cat -u redis").stdout.count("Started redis.service")


def built_at(server, version):
    return server.run(f"stat -c %y /opt/redis/{version}/bin/redis-server").stdout


@pytest.mark.timeout(1800)  # a build, and others may be building too
def test_newer_and_back_loses_no_message(server, traffic):
    writer, reader = traffic
    assert running_version(server) == OLDER
    older_built, started = built_at(server, OLDER), starts(server)

    # Compiled here, while the older one serves, and not taken from the control node.
    assert changed(provision(INVENTORY, redis_version=NEWER, source_build_binary_cache_dir=""))
    assert running_version(server) == NEWER
    assert starts(server) == started + 1

    assert changed(provision(INVENTORY))
    assert running_version(server) == OLDER
    assert starts(server) == started + 2
    assert built_at(server, OLDER) == older_built, "a rollback must not build again"
    assert built_at(server, NEWER), "the newer release stays for the next time"

    refused = provision(INVENTORY, redis_version=TOO_OLD)
    assert refused.returncode
    assert f"redis {TOO_OLD} is not made current ({OLDER} stays)" in " ".join(
        refused.stdout.split()
    )
    assert server.run("readlink /opt/redis/current").stdout.strip() == OLDER
    assert running_version(server) == OLDER
    assert starts(server) == started + 2
    # Whatever the users' file has: neither can it read the data.
    aside = "mv /etc/redis/redis.conf /etc/redis/aside.conf"
    back = "mv /etc/redis/aside.conf /etc/redis/redis.conf"
    answer = server.run(
        f"{aside}; redis-check build /opt/redis/{TOO_OLD}; status=$?; {back}; exit $status"
    )
    assert answer.rc == 1
    assert "cannot read data of the format REDIS0012" in answer.stderr

    writer.end(reader)
    numbers = list(range(1, writer.count + 1))
    assert reader.shown[: writer.count] == numbers, "lost, doubled or out of order"
    assert reader.connections >= 3, "each restart of Redis must be seen as a lost connection"
    print(f"{writer.count} messages over {reader.connections} connections")
