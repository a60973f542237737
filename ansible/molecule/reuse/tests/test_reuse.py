"""What the foreign playbooks asked for, from a browser's side and on the servers."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import redis
from websockets.sync.client import connect

from kit.checkout import INSTANCE, INSTANCES_DIR, ROOT

FOLDER = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
SCENARIO = ROOT / "ansible/molecule/reuse"
CERTIFICATE = FOLDER / "fullchain.pem"
SCORES = {"username": "scores", "password": "only-for-this-test-of-scores"}


def on(server, command):
    config = INSTANCES_DIR / f"{INSTANCE}-{server}" / "ssh_config"
    return subprocess.run(
        ["ssh", "-F", config, "server", command], capture_output=True, text=True, check=True
    ).stdout.strip()


def address(server):
    config = INSTANCES_DIR / f"{INSTANCE}-{server}" / "ssh_config"
    return config.read_text().split("HostName ")[1].split()[0]


def a_score_arrives(page, host, port):
    page.send(json.dumps(["SUBSCRIBE", "scores:final"]))
    assert json.loads(page.recv(10)) == {"SUBSCRIBE": ["subscribe", "scores:final", 1]}
    with redis.Redis(host=host, port=port, lib_name=None, lib_version=None, **SCORES) as connection:
        assert connection.publish("scores:final", "2:1") == 1
    assert json.loads(page.recv(10)) == {"SUBSCRIBE": ["message", "scores:final", "2:1"]}


def test_webdis_hands_on_what_a_redis_elsewhere_is_told():
    url = f"ws://{address('relay')}:7400/.json"
    with connect(url, origin="http://club.invalid", close_timeout=1) as page:
        a_score_arrives(page, address("store"), 6400)


def test_the_whole_server_does_by_tls():
    trust = ssl.create_default_context(cafile=CERTIFICATE)
    with connect(
        "wss://push.club.invalid/.json",
        sock=socket.create_connection((address("whole"), 443), timeout=10),
        origin="https://club.invalid",
        ssl=trust,
        close_timeout=1,
    ) as page:
        a_score_arrives(page, address("whole"), 6379)


@pytest.mark.parametrize(
    ("server", "services"),
    [("store", "redis"), ("relay", "webdis"), ("whole", "redis webdis nginx")],
)
def test_each_server_has_the_services_that_were_asked_for_and_no_others(server, services):
    there = on(
        server,
        "cd /etc/systemd/system && ls -d redis.service webdis.service nginx.service.d || true",
    )
    assert {name.split(".")[0] for name in there.split()} == set(services.split())
    assert on(server, f"systemctl is-active {services}").split() == ["active"] * len(
        services.split()
    )


def test_the_whole_server_tells_its_metrics():
    url = "http://127.0.0.1:9100/metrics"
    program = f"import urllib.request as r; print(r.urlopen('{url}').read().decode())"
    assert "\nwebdis_max_subscribers " in on("whole", f'python3 -c "{program}"')


def test_a_third_program_is_built_and_runs():
    assert "Version 5.1" in on("relay", "/opt/fping/current/sbin/fping --version")


def store_runs(program):
    answer = subprocess.run(
        [
            *(ROOT / ".venv/bin/ansible-playbook", f"--inventory={SCENARIO}/inventory/hosts.yml"),
            *(f"--extra-vars=redis_program={program}", SCENARIO / "redis.yml"),
        ],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "kit/ansible/ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(FOLDER / "collections"),
            "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.returncode == 0, " ".join(answer.stdout.split())


@pytest.mark.timeout(1800)  # a build
def test_valkey_takes_the_place_of_redis_where_no_data_is_in_the_way():
    before = on("store", "readlink /opt/redis/current; systemctl show -P MainPID redis")
    done, said = store_runs("valkey")
    assert not done
    assert re.search("cannot read data of the format REDIS[0-9]{4}, which /var/lib/redis has", said)
    assert on("store", "readlink /opt/redis/current; systemctl show -P MainPID redis") == before

    on("store", "systemctl stop redis && rm -r /var/lib/redis/*")
    done, said = store_runs("valkey")
    assert done, said
    assert "valkey_version:9" in on("store", "redis-admin INFO server")
    test_webdis_hands_on_what_a_redis_elsewhere_is_told()

    done, said = store_runs("redis")
    assert not done
    assert "cannot read data of the format VALKEY080, which /var/lib/redis has" in said
    assert "valkey_version:9" in on("store", "redis-admin INFO server")
