"""The same job, with a button that cancels it."""

import os
import secrets
import time
from pathlib import Path

from flask import Flask, abort, redirect, request, session
from redis import Redis
from rq import Queue
from werkzeug import Response

from webdis_progress import Progress, events_after

app = Flask(__name__, static_folder=Path("clients/javascript/src").resolve())
app.secret_key = os.environ["SECRET_KEY"]
redis = Redis.from_url(os.environ["REDIS_URL"])
queue = Queue("tutorial", connection=Redis.from_url(os.environ["JOBS_URL"]))
PAGE = """
<main>
  <form method="post"><button>Run</button></form>
  <run-progress url="WEBDIS_URL" channel="CHANNEL" replay="/events/CHANNEL" after="0">
    <form slot="actions" method="post" action="/cancel"><button>Cancel</button></form>
  </run-progress>
</main>
<script type="module">
  import { defineRunProgress } from "/src/element.js";
  defineRunProgress();
</script>"""


def own_channel() -> str:
    """Return the channel of this user's run, which nobody can guess."""
    if "token" not in session:
        session["token"] = secrets.token_hex(16)
    return f"progress:{session['token']}"


def work(channel: str) -> None:
    """Do the slow work; whatever comes of it, the run has an end."""
    with Progress(redis, channel) as progress:
        for step in progress.track(range(1, 21)):
            if step % 10 == 0:
                progress.message(f"Step {step} begins")
            time.sleep(0.5)


@app.get("/")
def page() -> str:
    """Show the page."""
    return PAGE.replace("WEBDIS_URL", os.environ["WEBDIS_URL"]).replace("CHANNEL", own_channel())


@app.post("/")
def start() -> Response:
    """Start a run, on a channel of its own, and show the page again at once."""
    session["token"] = secrets.token_hex(16)
    queue.enqueue(work, own_channel(), description="work")  # a log must not tell the channel
    return redirect("/", 303)


@app.post("/cancel")
def cancel() -> tuple[str, int]:
    """Ask the run to stop at its next step; the page stays."""
    Progress(redis, own_channel()).request_cancel()
    return "", 204


@app.get("/events/<channel>")
def events(channel: str) -> list[dict[str, object]]:
    """Return what the page has missed, to the user whose channel it is."""
    if channel != own_channel():
        abort(404)
    return events_after(redis, channel, request.args.get("after", 0, int))
