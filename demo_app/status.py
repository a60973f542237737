"""How the demo and its message server are, for whoever runs them: `/status/` beside `health`.

A thread of the web server looks every few seconds, keeps the last hour in Redis, and publishes
what it sees as the lessons publish theirs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any, cast

import redis
from flask import Blueprint, Flask, current_app, jsonify, render_template, request
from prometheus_client.parser import text_string_to_metric_families

from demo_app import connections, metrics
from demo_app.jobs import queue, worker
from demo_app.replay import missed
from webdis_progress import Progress, ProgressError

if TYPE_CHECKING:
    from flask import Response

SECONDS = 5.0
HOUR = int(3600 / SECONDS)
MOST_NEWS = 20
EVENTS_KEPT = 20  # of the channel: a page that was away gets the last ones
EXPIRY_SECONDS = 86_400
# As node exporter and webdis-metrics name them (role metrics of webdis_kit.server).
RESTARTS = "node_systemd_service_restart_total"
STARTED = "node_systemd_unit_start_time_seconds"
# What Redis calls them, and what people do.
ROLES = {"master": "primary", "slave": "replica"}

_log = logging.getLogger(__name__)
blueprint = Blueprint("status", __name__, url_prefix="/status")


def channel() -> str:
    """Return the channel of this page: nobody can guess it, and it outlives the web server."""
    key = f"{current_app.config['SECRET_KEY']} status"
    return f"progress:{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _key(name: str) -> str:
    # Beside the channel's own keys, and of this demo only.
    return f"{channel()}:{name}"


def look() -> dict[str, Any]:
    """Return what is to be seen now.

    Raises:
        redis.RedisError: Redis is away.
    """
    info = cast("dict[str, Any]", connections.publisher().info())
    instance = current_app.config["INSTANCE"]
    workers = worker.alive()
    # Each worker listens, too. Redis before 7.4 counts all clients only.
    listening = info.get("pubsub_clients", info["connected_clients"])
    return {
        "server": f"Redis {info['redis_version']}, Webdis {instance['webdis']['version']}",
        "origins": f"{instance['redis']['origin']}, {instance['webdis']['origin']}",
        "nodes": [_node(node, instance, info) for node in instance["nodes"]],
        "webdis": [found for node in instance["nodes"] if (found := _webdis(node))],
        "subscribers": max(0, listening - workers),
        "max_subscribers": instance["webdis"].get("max_subscribers"),
        "memory_bytes": info["used_memory"],
        "memory_limit_bytes": info["maxmemory"],
        "workers": workers,
        "queue": queue.current().count,
        "run_id": info["run_id"],
        "started_at": time.time() - info["uptime_in_seconds"],
    }


def _node(node: dict[str, Any], instance: dict[str, Any], primary: dict[str, Any]) -> str:
    """Return a node's name and role, for people."""
    if len(instance["nodes"]) == 1:
        return f"{node['name']}: {ROLES[primary['role']]}"
    options = current_app.config["REDIS_PUBLISHER"] | {"host": node["address"]}
    try:
        with redis.Redis(**options, socket_timeout=1, socket_connect_timeout=1) as connection:
            role = ROLES[cast("dict[str, Any]", connection.info("replication"))["role"]]
    except redis.RedisError:
        role = "away"
    return f"{node['name']}: {role}"


def _webdis(node: dict[str, Any]) -> dict[str, Any]:
    """Return how a node's Webdis is; nothing where there are no metrics, or nobody answers."""
    if not node.get("metrics"):
        return {}
    try:
        with urllib.request.urlopen(node["metrics"], timeout=1) as answer:  # noqa: S310  # the kit's
            families = list(text_string_to_metric_families(answer.read().decode()))
    except OSError:
        return {}
    found = {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("name", "webdis.service") == "webdis.service"
    }
    return {
        "node": node["name"],
        "restarts": found.get(RESTARTS),
        "started_at": found.get(STARTED),
        "memory_bytes": found.get("webdis_data_memory_bytes"),
        "memory_limit_bytes": found.get("webdis_data_memory_max_bytes"),
    }


def history() -> list[float]:
    """Return messages a second over the last hour, the oldest first."""
    entries = connections.publisher().xrange(_key("rates"))
    return [float(fields[b"rate"]) for _, fields in cast("list[Any]", entries)]


def news() -> list[dict[str, Any]]:
    """Return what has happened, the newest first: each with ``at`` and ``what``."""
    entries = connections.publisher().xrevrange(_key("news"), count=MOST_NEWS)
    return [json.loads(fields[b"json"]) for _, fields in cast("list[Any]", entries)]


class Watcher:
    """Looks again and again.

    Args:
        app: Whose connections and configuration it uses.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._counted: tuple[float, float] | None = None

    def start(self) -> None:
        """Look from now on, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="status", daemon=True).start()

    def _run(self) -> None:
        metrics.leave_out_this_thread()
        with self._app.app_context():
            while True:
                try:
                    self.tick()
                except (redis.RedisError, ProgressError, OSError) as error:
                    _log.debug("Not looked: %s", error)  # the page sees that nothing comes
                time.sleep(SECONDS)

    def tick(self) -> None:
        """Look once, keep it and publish it."""
        now = time.time()
        seen = look() | {"rate": self._rate()}
        connection = connections.publisher()
        self._keep_news(seen, now)
        connection.xadd(_key("rates"), {"rate": seen["rate"]}, maxlen=HOUR, approximate=False)
        for name in ("rates", "news", "known"):
            connection.expire(_key(name), EXPIRY_SECONDS)
        Progress(connection, channel(), required=False).message("", data=seen | {"news": news()})
        connection.xtrim(f"{channel()}:events", maxlen=EVENTS_KEPT)

    def _rate(self) -> float:
        """Return messages a second since the last look."""
        now, total = time.monotonic(), metrics.published()
        before, self._counted = self._counted, (now, total)
        if before is None:
            return 0.0
        return round((total - before[1]) / (now - before[0]), 2)

    def _keep_news(self, seen: dict[str, Any], looked_at: float) -> None:
        connection = connections.publisher()
        # What is compared with the last look, when it became so, and what that means.
        facts = {
            "run_id": (seen["run_id"], seen["started_at"], "Redis was started again"),
            "nodes": (json.dumps(seen["nodes"]), time.time(), "roles: " + ", ".join(seen["nodes"])),
        }
        for found in seen["webdis"]:
            if at := found["started_at"]:
                words = f"Webdis on {found['node']} was started again"
                facts[f"webdis {found['node']}"] = (str(at), at, words)
        known = cast("dict[bytes, bytes]", connection.hgetall(_key("known")))
        values = {name: now for name, (now, _, _) in facts.items()}
        connection.hset(_key("known"), mapping=values | {"looked_at": str(looked_at)})
        last_look_at = float(known.get(b"looked_at", "inf"))
        for name, (now, at, what) in facts.items():
            # That of another server, which runs for longer; Redis tells whole seconds.
            if name == "run_id" and at < last_look_at - 1:
                continue
            if known.get(name.encode(), now.encode()) != now.encode():
                happened = json.dumps({"at": at, "what": what})
                connection.xadd(_key("news"), {"json": happened}, maxlen=MOST_NEWS)


@blueprint.get("/")
def show() -> str:
    """Show how everything is; the page goes on by itself."""
    seen: dict[str, Any] = {}
    rates: list[float] = []
    with contextlib.suppress(redis.RedisError):
        seen, rates = look() | {"news": news()}, history()
    return render_template("status/show.html", seen=seen, rates=rates, channel=channel())


@blueprint.get("/events")
def events() -> Response:
    """Answer what the page has missed (clients/PROTOCOL.md, "Replay")."""
    arguments = request.args
    answer = jsonify(missed(channel(), arguments.get("after"), arguments.get("epoch", "")))
    answer.headers["Cache-Control"] = "no-store"
    return answer
