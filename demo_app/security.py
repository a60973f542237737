"""What every answer carries, to keep others' pages and scripts out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import current_app

if TYPE_CHECKING:
    from flask import Flask, Response


def init_app(app: Flask) -> None:
    """Add headers to each answer of ``app``."""
    app.after_request(add_headers)


def add_headers(response: Response) -> Response:
    """Add to an answer what keeps others' pages and scripts out of it."""
    urls = map(urlsplit, current_app.config["WEBDIS_URLS"].split())
    servers = " ".join(f"{url.scheme}://{url.netloc}" for url in urls)
    # The page's own files and the message servers, nothing else; no inline scripts or styles.
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"font-src 'self'; connect-src 'self' {servers}; "
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
