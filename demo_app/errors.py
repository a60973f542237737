"""The pages for what goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app, render_template
from flask_wtf.csrf import CSRFError
from redis.exceptions import RedisError
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from demo_app.jobs.queue import QueueFullError
from webdis_progress import NotSentError

if TYPE_CHECKING:
    from flask import Flask, Response

RETRY_SECONDS = 10  # told to clients that are turned away
# In place of Werkzeug's words, which are for programmers.
WORDS = {
    404: ("Nothing is here", "There is no page at this address."),
    405: ("This is not a page", "A button of a page sends to this address. It cannot be opened."),
    500: ("Something went wrong", "The demo could not answer. Its log says why."),
}


def init_app(app: Flask) -> None:
    """Add error pages to ``app``."""
    app.register_error_handler(HTTPException, _error_page)
    app.register_error_handler(CSRFError, _form_too_old)
    app.register_error_handler(QueueFullError, _queue_full)
    app.register_error_handler(RedisError, _message_server_away)
    app.register_error_handler(NotSentError, _message_server_away)


def _error_page(error: HTTPException, title: str | None = None) -> Response:
    response = cast("Response", error.get_response())  # has its headers, such as Allow
    response.content_type = "text/html; charset=utf-8"
    name, text = WORDS.get(error.code or 0, (error.name, error.description))
    if error.description != type(error).description:  # it was given one of its own
        text = error.description
    page = render_template("error.html", code=error.code, title=title or name, text=text)
    response.set_data(page)
    return response


def _form_too_old(error: CSRFError) -> Response:
    error.description = "Open the page of this form again, and press the button there."
    return _error_page(error, "This form is too old")


def _queue_full(error: Exception) -> Response:
    unavailable = ServiceUnavailable(str(error), retry_after=RETRY_SECONDS)
    return _error_page(unavailable, "Too many jobs")


def _message_server_away(error: Exception) -> Response:
    current_app.logger.error("Redis: %s", error)
    text = "The message server does not answer. Try again in a moment."
    unavailable = ServiceUnavailable(text, retry_after=RETRY_SECONDS)
    return _error_page(unavailable, "Message server away")
