"""The same with a page that asks for the messages that it does not have."""

import os
import time
from pathlib import Path

from flask import Flask, request
from redis import Redis

from webdis_progress import Progress, events_after

CHANNEL = "progress:tutorial"
app = Flask(__name__, static_folder=Path("clients/javascript/src").resolve())
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


@app.route("/", methods=["GET", "POST"])
def page() -> str:
    """Show the page; its button does the slow work before that."""
    if request.method == "POST":
        progress = Progress(redis, CHANNEL)
        for step in ("Started", "Still running", "Almost done"):
            progress.message(step)
            time.sleep(1)
    return PAGE.replace("WEBDIS_URL", os.environ["WEBDIS_URL"]).replace("CHANNEL", CHANNEL)


@app.get("/events")
def events() -> list[dict[str, object]]:
    """Return the messages after a number."""
    return events_after(redis, CHANNEL, request.args.get("after", 0, int))
