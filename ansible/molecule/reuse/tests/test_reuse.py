"""What the foreign playbook asked for, from a browser's side."""

from __future__ import annotations

import json

import redis
import yaml
from websockets.sync.client import connect

from kit.checkout import INVENTORY_FILE, ROOT

PLAY = yaml.safe_load((ROOT / "ansible/molecule/reuse/playbook.yml").read_text())[0]
VARIABLES = PLAY["vars"]


def address():
    inventory = yaml.safe_load(INVENTORY_FILE.read_text())
    return inventory["all"]["children"]["redis_primary"]["hosts"]["server"]["instance_address"]


def test_a_score_reaches_the_page():
    url = f"ws://{address()}:{VARIABLES['webdis_port']}/.json"
    with connect(url, origin="http://club.invalid", close_timeout=1) as socket:
        socket.send(json.dumps(["SUBSCRIBE", "scores:final"]))
        assert json.loads(socket.recv(10)) == {"SUBSCRIBE": ["subscribe", "scores:final", 1]}
        with redis.Redis(
            host=address(),
            port=VARIABLES["redis_port"],
            username="scores",
            password=VARIABLES["scores_password"],
            lib_name=None,
            lib_version=None,
        ) as connection:
            assert connection.publish("scores:final", "2:1") == 1
        message = ["message", "scores:final", "2:1"]
        assert json.loads(socket.recv(10)) == {"SUBSCRIBE": message}
