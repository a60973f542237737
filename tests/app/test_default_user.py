"""A Webdis that names no user, as Debian 12's package: what it takes from Redis's default user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from kit.local import start_webdis
from tests.app.own_redis import OwnRedis
from tests.demo_server import eventually

PASSWORD = "of-admin"
USERS = f"""\
user default on nopass ~* &* +@all
user admin on >{PASSWORD} ~* &* +@all
user webdis on >of-webdis resetkeys allchannels -@all +subscribe
"""
# What a script writes is one transaction in the append-only file.
SCRIPT = "redis.call('SET', KEYS[1], 1) redis.call('EXPIRE', KEYS[1], 3600)"
TRANSACTIONS = 2000  # it serves others after every 1,024 commands that it has read back


def test_a_redis_that_reads_back_still_may_and_loses_no_transaction(tmp_path, monkeypatch):
    (tmp_path / "users.acl").write_text(USERS)
    (tmp_path / "admin_password").write_text(PASSWORD)
    monkeypatch.chdir(tmp_path)
    options = f"--appendonly yes --appendfsync always --aclfile {tmp_path}/users.acl"
    with OwnRedis(options, "--key-load-delay 100") as server:
        with server.client.pipeline(transaction=False) as pipeline:
            for number in range(TRANSACTIONS):
                pipeline.eval(SCRIPT, 1, f"key:{number}")
            pipeline.execute()
        first = server.client.info("server")["process_id"]
        server.crash()
        eventually(lambda: not Path(f"/proc/{first}").exists(), "Redis does not crash")
        port = server.client.get_connection_kwargs()["port"]
        target = tmp_path / "webdis.json"
        settings = {"redis_host": "127.0.0.1", "redis_port": port}
        target.write_text(json.dumps({**settings, "redis_auth": ["default", "of-webdis"]}))
        start_webdis.wait_for(("127.0.0.1", port))
        start_webdis.be_the_default_user(target)
        with redis.Redis(port=port, username="admin", password=PASSWORD) as admin:
            assert admin.dbsize() == TRANSACTIONS
        assert json.loads(target.read_text())["redis_auth"] == "of-webdis"
        with redis.Redis(port=port, password="of-webdis") as webdis:
            with pytest.raises(redis.exceptions.NoPermissionError):
                webdis.get("key:0")
            with webdis.pubsub() as subscription:
                subscription.subscribe("any")
                assert subscription.get_message(timeout=30)["type"] == "subscribe"
