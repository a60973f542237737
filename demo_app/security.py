"""What every answer carries, and the pages for what goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import current_app, render_template
from redis.exceptions import RedisError
from werkzeug.exceptions import HTTPException

from demo_app.jobs.queue import QueueFullError
from webdis_progress import NotSentError

if TYPE_CHECKING:
    from flask import Flask, Response


def init_app(app: Flask) -> None:
    """Add headers and error pages to ``app``."""
    app.after_request(_add_headers)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(QueueFullError, _queue_full)
    app.register_error_handler(RedisError, _message_server_away)
    app.register_error_handler(NotSentError, _message_server_away)


def _add_headers(response: Response) -> Response:
    server = urlsplit(current_app.config["WEBDIS_URL"])
    # The page's own files and the message server, nothing else; no inline scripts or styles.
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"font-src 'self'; connect-src 'self' {server.scheme}://{server.netloc}; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    # A run's address is its key.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    # Not no-store, which would take the page out of the browser's back and forward cache.
    response.headers.setdefault("Cache-Control", "private, no-cache")
    return response


def _http_error(error: HTTPException) -> tuple[str, int]:
    code = error.code or 500
    return render_template("error.html", title=error.name, text=error.description), code


def _queue_full(error: Exception) -> tuple[str, int]:
    return render_template("error.html", title="Too many jobs", text=str(error)), 503


def _message_server_away(error: Exception) -> tuple[str, int]:
    current_app.logger.error("Redis: %s", error)
    text = "The message server does not answer. Try again in a moment; `make status` says more."
    return render_template("error.html", title="Message server away", text=text), 503
