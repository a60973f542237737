"""A Flask application with one slow function, and the page that watches it.

Beside it: static/progress.js, copied from webdis-kit. Installed: the publisher, clients/python,
and Flask-WTF.
Run it with REDIS_URL, WEBDIS_URL and SECRET_KEY set: flask --app app run
"""

import os
import re
import secrets
import threading
import time

from flask import Flask, abort, jsonify, redirect, render_template_string, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import CSRFProtect
from redis import Redis

from webdis_progress import Progress, replay

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]
redis = Redis.from_url(os.environ["REDIS_URL"], socket_timeout=5, socket_connect_timeout=5)

CSRFProtect(app)  # nobody else's page presses the button
RUNS_OF_A_SESSION = 20  # a cookie holds no more than 4 KiB

PAGE = """
<!doctype html>
<title>Devices</title>
<main>
  <form method="post" action="/runs">
    <input type="hidden" name="csrf_token" value="{{ csrf_token() }}"><button>Run</button>
  </form>
  {% if run %}
  <ol id="messages" data-url="{{ url }}" data-channel="progress:{{ run }}"
      data-events="{{ url_for('events', run=run) }}"></ol>
  <script type="module" src="/static/page.js"></script>
  {% endif %}
</main>
"""


def own(run: str) -> str:
    """Return the channel of a run that this user started; 404 for everybody else's."""
    if run not in session.get("runs", []):
        abort(404)
    return f"progress:{run}"


@app.get("/")
def page() -> str:
    """Show the button."""
    return render_template_string(PAGE)


@app.get("/runs/<run>")
def page_of(run: str) -> str:
    """Show what the function says; each tab has its own run."""
    own(run)
    return render_template_string(PAGE, url=os.environ["WEBDIS_URL"], run=run)


@app.get("/runs/<run>/events")
def events(run: str) -> ResponseReturnValue:
    """Return what the page has missed of this run."""
    channel = own(run)
    after = request.args.get("after", "0")
    if not re.fullmatch("[0-9]{1,15}", after):  # JavaScript counts to 2^53
        abort(400)
    return jsonify(replay(redis, channel, int(after), request.args.get("epoch", "")))


@app.post("/runs")
def start() -> ResponseReturnValue:
    """Start the slow function on a channel that nobody can guess, and answer at once."""
    run = secrets.token_hex(16)
    session["runs"] = [*session.get("runs", []), run][-RUNS_OF_A_SESSION:]
    threading.Thread(target=walk_devices, args=[f"progress:{run}"]).start()
    return redirect(url_for("page_of", run=run))


def walk_devices(channel: str) -> None:
    """Do the slow work: read three devices."""
    devices = ["core-1", "core-2", "edge-1"]
    with Progress(redis, channel) as progress:
        for device in progress.track(devices):
            progress.message(f"Reading {device}")
            time.sleep(0.5)
