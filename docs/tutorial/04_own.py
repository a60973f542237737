"""The same with an identifier for each user: nobody sees what another one started."""

import os
import secrets
import time
from pathlib import Path

from flask import Flask, request, session
from redis import Redis

from webdis_progress import Progress, events_after

app = Flask(__name__, static_folder=Path("clients/javascript/src").resolve())
app.secret_key = os.environ["SECRET_KEY"]
redis = Redis.from_url(os.environ["REDIS_URL"])
PAGE = """
<main>
  <form method="post"><button>Run</button></form>
  <button id="leave">Disconnect</button> <button id="return">Connect</button>
  <run-progress messages-only url="WEBDIS_URL" channel="CHANNEL" replay="/events" after="0">
  </run-progress>
</main>
<script type="module">
  import { defineRunProgress } from "/src/element.js";
  defineRunProgress();
  const run = document.querySelector("run-progress");
  document.querySelector("#leave").onclick = () => run.pause();
  document.querySelector("#return").onclick = () => run.resume();
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
        progress = Progress(redis, channel)
        for step in ("Started", "Still running", "Almost done"):
            progress.message(step)
            time.sleep(1)
    return PAGE.replace("WEBDIS_URL", os.environ["WEBDIS_URL"]).replace("CHANNEL", channel)


@app.get("/events")
def events() -> list[dict[str, object]]:
    """Return the messages after a number, of this user's channel."""
    return events_after(redis, own_channel(), request.args.get("after", 0, int))
