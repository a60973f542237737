"""``make status``: how the instance is, in ten lines; ``JSON=1`` for programs."""

from __future__ import annotations

import json
import os
import socket
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from kit import instance, providers, verify
from kit.checkout import KIT_DIR, ROOT, host_name, read_instance
from kit.errors import KitError
from kit.local import health
from kit.ssh import ssh
from kit.websocket import TIMEOUT_SECONDS, trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kit.machine import MachineProvider

# From here on something is said to be wrong.
MOST_OF_A_LIMIT = 0.9
LEAST_FREE_DISK = 0.05
CERTIFICATE_DAYS = 14
BACKUPS_DIR = KIT_DIR / "backups"  # where the lesson "devices" keeps configurations
TITLES = {"redis": "Redis", "sentinel": "Sentinel", "webdis": "Webdis", "nginx": "Edge"}


def status() -> None:
    """Print how the instance is.

    Raises:
        KitError: Something is wrong; it says what.
    """
    found = read()
    if os.environ.get("JSON"):
        print(json.dumps(found, indent=4))
    else:
        for title, text in _lines(found):
            print(f"{title + ':':<14} {text}")
    if found["wrong"]:
        raise KitError("; ".join(found["wrong"]) + ".")


def read() -> dict[str, Any]:
    """Return how the instance is: what ``JSON=1`` prints.

    Raises:
        KitError: There is none.
    """
    described = read_instance()
    services = ("redis", "webdis")
    found: dict[str, Any] = {
        "name": described["name"],
        "provider": described["provider"],
        "address": described["address"],
        "running": providers.running(),
        "versions": {name: described[name]["version"] for name in services},
        "origins": {name: described[name]["origin"] for name in services},
        "where": {
            "redis": f"{described['redis']['host']}:{described['redis']['port']}",
            "webdis": described["webdis"]["url"],
        },
        "max_subscribers": described["webdis"].get("max_subscribers"),
        "backups": _backups(),
        "nodes": [],
    }
    if found["running"]:
        found["nodes"] = list(_nodes(described))
        found["redis"] = _redis(described)
        found["message"] = _message(described)
        found["certificate_ends"] = _certificate_ends(described)
    found["wrong"] = list(_wrong(found))
    return found


def _nodes(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    port = described["webdis"].get("port", 7379)
    if described["provider"] == "local":
        yield {"name": "server", **health.read(port)}
        return
    provider = cast("MachineProvider", providers.current())
    script = (ROOT / "kit/server_status.py").read_text(encoding="utf-8")
    for number, node in enumerate(described["nodes"], 1):
        state: dict[str, Any] = {"name": node["name"]}
        if described["sentinels"]:
            if not provider.node_runs(number):
                yield state | {
                    "wrong": f"is stopped; `make node-start NODE={number}` brings it back"
                }
                continue
            state["role"] = verify.role(described, node)
        answer = ssh(host_name(number), "python3", "-", str(port), script=script)
        if answer.returncode:
            said = answer.stderr.strip().rpartition("\n")[2]
            yield state | {"wrong": f"does not answer by SSH: {said}"}
        else:
            yield state | json.loads(answer.stdout)


def _redis(described: dict[str, Any]) -> dict[str, Any]:
    """Return what the primary says of itself, or why it does not."""
    try:
        with verify.primary(described) as connection:
            info = cast("dict[str, Any]", connection.info())
    except verify.FAILURES as error:
        return {"wrong": str(error)}
    return {
        "memory_bytes": info["used_memory"],
        "memory_limit_bytes": info["maxmemory"],
        "append_only_file": info["aof_last_write_status"],
        "append_only_file_rewrite": info["aof_last_bgrewrite_status"],
        "replicas": info["connected_slaves"],
        "replicas_wanted": len(described["nodes"]) - 1,
    }


def _message(described: dict[str, Any]) -> str:
    """Return ``ok`` if a message published to Redis comes out of Webdis, else why not."""
    try:
        verify.message_arrives(described)
    except verify.FAILURES as error:
        return str(error) or type(error).__name__
    return "ok"


def _certificate_ends(described: dict[str, Any]) -> str | None:
    """Return when the certificate that browsers see ends; nothing without TLS."""
    if not described["tls"]:
        return None
    edge = urlsplit(described["webdis"]["url"])
    address = (str(edge.hostname), edge.port or 443)
    try:
        with (
            socket.create_connection(address, TIMEOUT_SECONDS) as plain,
            trust(described).wrap_socket(plain, server_hostname=edge.hostname) as connection,
        ):
            ends = str((connection.getpeercert() or {})["notAfter"])
    except OSError:  # the message has not come either
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC).isoformat()


def _backups() -> dict[str, Any]:
    """Return how many devices have a configuration that was kept, and when the last one was."""
    kept = [file.stat().st_mtime for file in BACKUPS_DIR.glob("*.conf")]
    return {"devices": len(kept), "last": max(kept, default=None)}


def _wrong(found: dict[str, Any]) -> Iterator[str]:
    if not found["running"]:
        yield "The instance is stopped; `make up` brings it back"
        return
    for node in found["nodes"]:
        if "wrong" in node:
            yield f"{node['name']} {node['wrong']}"
            continue
        yield from _wrong_of_node(node, found["max_subscribers"])
    primary = found["redis"]
    if "wrong" in primary:
        yield f"Redis does not answer: {primary['wrong']}"
    else:
        yield from _wrong_of_redis(primary)
    if found["message"] != "ok":
        yield f"A message does not come out of Webdis: {found['message']}"
    if found["certificate_ends"]:
        left = datetime.fromisoformat(found["certificate_ends"]) - datetime.now(UTC)
        if left.days < CERTIFICATE_DAYS:
            yield f"The certificate ends in {left.days} days; `make up` makes another"


def _wrong_of_node(node: dict[str, Any], max_subscribers: int | None) -> Iterator[str]:
    for name, service in node["services"].items():
        if not service["active"]:
            yield f"{TITLES[name]} does not run on {node['name']}"
        elif _near(service.get("memory_bytes"), service.get("memory_limit_bytes")):
            yield f"{TITLES[name]} on {node['name']} is near its limit of memory"
    for name in node.get("metrics_stopped", []):
        yield f"{name} does not run on {node['name']}"
    if _near(node.get("subscribers"), max_subscribers):
        yield f"Webdis on {node['name']} has nearly as many subscribers as it takes"
    if node["disk_free_ratio"] < LEAST_FREE_DISK:
        yield f"The disk of {node['name']} is {1 - node['disk_free_ratio']:.0%} full"


def _wrong_of_redis(primary: dict[str, Any]) -> Iterator[str]:
    if _near(primary["memory_bytes"], primary["memory_limit_bytes"]):
        yield "Redis is near its limit of memory (redis_maxmemory)"
    for name in ("append_only_file", "append_only_file_rewrite"):
        if primary[name] != "ok":
            yield f"Redis cannot write its append-only file ({name}: {primary[name]})"
    if primary["replicas"] < primary["replicas_wanted"]:
        yield f"The primary has {primary['replicas']} replicas of {primary['replicas_wanted']}"


def _near(value: float | None, limit: float | None) -> bool:
    return bool(value and limit and value >= MOST_OF_A_LIMIT * limit)


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Instance", f"{found['name']} ({found['provider']}), {found['address']}"
    for name in ("redis", "webdis"):
        origin = instance.ORIGINS[found["origins"][name]]
        yield TITLES[name], f"{found['versions'][name]} at {found['where'][name]}, {origin}"
    nodes = [node for node in found["nodes"] if "services" in node]
    if len(found["nodes"]) > 1:
        for node in found["nodes"]:
            yield node["name"], str(node.get("wrong") or node["role"])
    if found["running"]:
        yield "Running since", _each(nodes, _since)
        yield "Restarts", _each(nodes, lambda state: str(state["restarts"]))
        subscribers = [str(node.get("subscribers", "unknown")) for node in nodes]
        yield "Subscribers", f"{' + '.join(subscribers)} of {found['max_subscribers'] or 'unknown'}"
        yield "Memory", _memory(found, nodes)
        faults = [node["last_fault"] for node in nodes if node["last_fault"]]
        newest = max(faults, key=lambda fault: float(fault["at"]), default=None)
        yield "Last fault", f"{_time(newest['at'])}, {newest['what']}" if newest else "none"
    backups = found["backups"]
    yield (
        "Backups",
        f"configurations of {backups['devices']} devices, the last {_time(backups['last'])}"
        if backups["devices"]
        else 'none of a device\'s configuration; the lesson "devices" makes them',
    )
    state = "running" if found["running"] else "stopped; `make up` brings it back"
    yield (
        "State",
        f"{state}, and something is wrong" if found["nodes"] and found["wrong"] else state,
    )


def _since(service: dict[str, Any]) -> str:
    return _time(service["since"]) if service["active"] else "not running"


def _each(nodes: list[dict[str, Any]], text: Callable[[dict[str, Any]], str]) -> str:
    return ", ".join(
        f"{TITLES[name]} {' + '.join(text(node['services'][name]) for node in nodes)}"
        for name in TITLES
        if all(name in node["services"] for node in nodes) and nodes
    )


def _memory(found: dict[str, Any], nodes: list[dict[str, Any]]) -> str:
    parts = []
    if "memory_bytes" in found["redis"]:
        parts.append(f"Redis {_of(found['redis'])} of data")
    for node in nodes:
        webdis = node["services"].get("webdis", {})
        if "memory_bytes" in webdis:
            parts.append(f"Webdis {_of(webdis)}")
    return ", ".join(parts)


def _of(state: dict[str, Any]) -> str:
    value = f"{state['memory_bytes'] / 2**20:.0f}"
    limit = state.get("memory_limit_bytes")
    return f"{value} of {limit / 2**20:.0f} MiB" if limit else f"{value} MiB"


def _time(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")
