"""The same bar with three servers: one may be lost, and nothing is missing on the page."""

import os
import secrets
import time
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, request, session

from webdis_progress import Progress, events_after
from webdis_progress.sentinel import Sentinel

app = Flask(__name__, static_folder=Path("clients/javascript/src").resolve())
app.secret_key = os.environ["SECRET_KEY"]
login = urlsplit(os.environ["REDIS_URL"])
sentinel = Sentinel(
    [(host, 26379) for host in os.environ["SENTINEL_HOSTS"].split()],
    sentinel_kwargs={"username": "client", "password": os.environ["SENTINEL_PASSWORD"]},
)
redis = sentinel.master_for(
    "demo",  # the name that the Sentinels have for the primary
    username=login.username,
    password=login.password,
    socket_timeout=2,  # a server that is lost gives no answer
    socket_connect_timeout=2,
)
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


@app.route("/", methods=["GET", "POST"])
def page() -> str:
    """Show the page; its button does the slow work before that."""
    channel = own_channel()
    if request.method == "POST":
        progress = Progress(redis, channel, durability="replicated")
        for step in progress.track(range(1, 21)):
            if step % 10 == 0:
                progress.message(f"Step {step} begins")
            time.sleep(0.5)
    return PAGE.replace("WEBDIS_URL", os.environ["WEBDIS_URLS"]).replace("CHANNEL", channel)


@app.get("/events")
def events() -> list[dict[str, object]]:
    """Return the messages after a number, of this user's channel."""
    return events_after(redis, own_channel(), request.args.get("after", 0, int))
