"""A Flask application with one slow function, and the page that watches it.

Beside it: templates/, static/, and in static/webdis-progress/ a copy of the subscriber,
clients/javascript/src. Installed: the publisher, clients/python, and Flask-WTF.
Run it with REDIS_URL, WEBDIS_URL and SECRET_KEY set: flask --app app run

The other examples are this one with another `start` or another page.
"""

import os
import re
import secrets
import threading
import time
from collections.abc import Callable

from flask import Flask, abort, jsonify, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import CSRFProtect
from itsdangerous import Signer
from redis import Redis

from webdis_progress import Progress, replay

redis = Redis.from_url(os.environ["REDIS_URL"], socket_timeout=5, socket_connect_timeout=5)


def walk_devices(channel: str) -> None:
    """Do the slow work: read three devices."""
    devices = ["core-1", "core-2", "edge-1"]
    with Progress(redis, channel) as progress:
        for device in progress.track(devices):
            progress.message(f"Reading {device}")
            time.sleep(0.5)


def start_thread(channel: str) -> None:
    """Start the work and return at once."""
    threading.Thread(target=walk_devices, args=[channel]).start()


def signer() -> Signer:
    """Return what signs the runs that this user starts, and knows them again."""
    user = session.setdefault("user", secrets.token_hex(16))
    return Signer(os.environ["SECRET_KEY"], salt=user)


def own(run: str) -> str:
    """Return the channel of a run that this user started; 404 for everybody else's."""
    if not signer().validate(run):
        abort(404)
    return f"progress:{run}"


def create_app(
    start: Callable[[str], None] = start_thread, page: str = "page.html", script: str = "page.js"
) -> Flask:
    """Return the application.

    Args:
        start: Starts the work that publishes to the channel that it is given.
        page: Template of the page.
        script: Of the page, in static/.
    """
    app = Flask(__name__)
    app.secret_key = os.environ["SECRET_KEY"]
    CSRFProtect(app)  # nobody else's page presses the button

    @app.get("/")
    def index() -> str:
        """Show the button."""
        signer()  # the cookie has a user from here on: runs started at once share it
        return render_template(page)

    @app.post("/runs")
    def start_run() -> ResponseReturnValue:
        """Start the work on a channel that nobody can guess, and answer at once."""
        run = signer().sign(secrets.token_hex(16)).decode()
        start(f"progress:{run}")
        return redirect(url_for("show", run=run))

    @app.get("/runs/<run>")
    def show(run: str) -> str:
        """Show what the work says; each tab has its own run."""
        return render_template(
            page,
            run=run,
            url=os.environ["WEBDIS_URL"],
            channel=own(run),
            replay=url_for("events", run=run),
            script=script,
        )

    @app.get("/runs/<run>/events")
    def events(run: str) -> ResponseReturnValue:
        """Return what the page has missed of this run; without `after`, where it is."""
        channel = own(run)
        after = request.args.get("after")
        if after is not None and not re.fullmatch(
            "[0-9]{1,15}", after
        ):  # JavaScript counts to 2^53
            abort(400)
        position = None if after is None else int(after)
        return jsonify(replay(redis, channel, position, request.args.get("epoch", "")))

    return app
