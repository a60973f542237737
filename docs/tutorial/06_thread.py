"""The same in a thread: the page is there again at once, and the work goes on."""

import os
import secrets
import time
from pathlib import Path
from threading import Thread

from flask import Flask, redirect, request, session
from redis import Redis
from werkzeug import Response

from webdis_progress import Progress, events_after

app = Flask(__name__, static_folder=Path("clients/javascript/src").resolve())
app.secret_key = os.environ["SECRET_KEY"]
redis = Redis.from_url(os.environ["REDIS_URL"])
PAGE = """
<main>
  <form method="post"><button>Run</button></form>
  <run-progress url="WEBDIS_URL" channel="CHANNEL" replay="/events" after="0">
  </run-progress>
</main>
<script type="module">
  import { defineRunProgress } from "/src/element.js";
  defineRunProgress();
</script>"""


def own_channel() -> str:
    """Return the channel of this user, which nobody can guess."""
    if "token" not in session:
        session["token"] = secrets.token_hex(16)
    return f"progress:{session['token']}"


def work(channel: str) -> None:
    """Do the slow work."""
    progress = Progress(redis, channel)
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
    """Start the slow work, and show the page again at once."""
    Thread(target=work, args=[own_channel()]).start()
    return redirect("/", 303)


@app.get("/events")
def events() -> list[dict[str, object]]:
    """Return the messages after a number, of this user's channel."""
    return events_after(redis, own_channel(), request.args.get("after", 0, int))
