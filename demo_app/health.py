"""Is the demo well? ``/healthz``, ``/readyz``, ``/metrics`` and ``/status/``, apart from the pages.

They have a port of their own, on loopback; on another address they want a token.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app, jsonify, request
from redis.exceptions import RedisError
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException, Unauthorized

from demo_app import connections, metrics, security, status
from demo_app.jobs import queue, worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

MESSAGE_SECONDS = 3.0
# Of the channel and the key that only `ready` writes.
EXPIRY_SECONDS = 60

blueprint = Blueprint("health", __name__)


class NotReadyError(Exception):
    """Something is missing; the message says what."""


def create_app(demo: Flask) -> Flask:
    """Return the application that says whether the demo is well.

    Args:
        demo: Whose configuration and connections it uses.
    """
    app = Flask("demo_app")
    app.config.update(demo.config)
    app.extensions["redis"] = demo.extensions["redis"]
    app.before_request(_check_token)
    app.after_request(security.add_headers)
    app.register_blueprint(blueprint)
    app.register_blueprint(status.blueprint)
    app.register_blueprint(demo.blueprints["webdis_progress"])
    app.register_error_handler(HTTPException, _plain)
    status.Watcher(demo).start()
    return app


def _plain(error: HTTPException) -> AnyResponse:
    answer = error.get_response()
    answer.set_data(f"{error.description}\n")
    answer.content_type = "text/plain; charset=utf-8"
    return answer


def _check_token() -> None:
    token = current_app.config["HEALTH_TOKEN"]
    given = request.authorization
    # Browsers ask a person for a name and a password.
    words = (given.token or given.password or "") if given else ""
    if token and not hmac.compare_digest(words.encode(), token.encode()):
        raise Unauthorized(
            "It takes the token of DEMO_HEALTH_TOKEN, as a bearer or as a password.",
            www_authenticate=[
                WWWAuthenticate("bearer"),
                WWWAuthenticate("basic", {"realm": "status"}),
            ],
        )


@blueprint.get("/healthz")
def healthz() -> Response:
    """Answer, which only a web server that runs can."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """Answer with each thing that the demo needs, and 503 if one is missing."""
    checks = {name: _found(check) for name, check in CHECKS.items()}
    ready = all(found == "ok" for found in checks.values())
    return jsonify(status="ok" if ready else "missing", checks=checks), 200 if ready else 503


@blueprint.get("/metrics")
def prometheus() -> Response:
    """Answer with all numbers, for Prometheus."""
    answer = current_app.make_response(metrics.text(gauges))
    answer.content_type = metrics.CONTENT_TYPE
    return answer


def _found(check: Callable[[], None]) -> str:
    try:
        check()
    except (NotReadyError, RedisError, WebSocketException, OSError) as error:
        return str(error) or type(error).__name__
    return "ok"


def _redis_writes() -> None:
    key = "progress:ready"
    connections.publisher().hset(key, "at", str(time.time()))
    connections.publisher().expire(key, EXPIRY_SECONDS)


def _a_worker_is_alive() -> None:
    if not worker.alive():
        raise NotReadyError("no worker of this queue has been heard of lately")


def _a_message_arrives() -> None:
    """Of several nodes one will do: pages go to the next as well."""
    problem = NotReadyError()
    for url in current_app.config["WEBDIS_URLS"].split():
        try:
            asyncio.run(asyncio.wait_for(_subscribe_and_publish(url), MESSAGE_SECONDS))
        except TimeoutError:
            problem = NotReadyError(f"no message within {MESSAGE_SECONDS:.0f} s")
        except (NotReadyError, WebSocketException, OSError) as error:
            problem = NotReadyError(str(error) or type(error).__name__)
        else:
            return
    raise problem


async def _subscribe_and_publish(url: str) -> None:
    config = current_app.config
    trust = None
    if urlsplit(url).scheme == "wss":
        trust = ssl.create_default_context()
        trust.load_verify_locations(Path(str(config["KIT_DIR"])) / "tls" / "ca.pem")
    instance = config["INSTANCE"]
    # The edge wants a page's origin, and the package of Webdis any.
    origin = (instance["origins"] or [f"http://{instance['address']}"])[0].removesuffix(":*")
    channel = f"progress:ready:{secrets.token_hex(16)}"
    async with connect(url, origin=origin, proxy=None, close_timeout=0.2, ssl=trust) as page:
        await page.send(f'["SUBSCRIBE","{channel}"]')
        await page.recv()
        connections.publisher().publish(channel, "ready")
        if '"ready"' not in str(await page.recv()):
            raise NotReadyError("Webdis has sent something else than the message")


CHECKS: dict[str, Callable[[], None]] = {
    "redis": _redis_writes,
    "worker": _a_worker_is_alive,
    "webdis": _a_message_arrives,
}


def gauges() -> dict[str, tuple[str, float]]:
    """Return what is known only when somebody asks: by name, what it is about and its value."""
    waiting = queue.current()
    waited = 0.0
    for oldest in waiting.get_jobs(0, 1):
        if oldest.enqueued_at:
            waited = (datetime.now(UTC) - oldest.enqueued_at.replace(tzinfo=UTC)).total_seconds()
    return {
        "demo_queue_jobs": ("Jobs that wait", waiting.count),
        "demo_queue_oldest_wait_seconds": ("Of the job that has waited longest", waited),
        "demo_workers": ("Workers that have been heard of lately", worker.alive()),
    }
