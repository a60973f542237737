"""The same with numbers: each message is kept, and can be asked for afterwards."""

import os
import time

from flask import Flask, request
from redis import Redis

from webdis_progress import Progress, events_after

CHANNEL = "progress:tutorial"
app = Flask(__name__)
redis = Redis.from_url(os.environ["REDIS_URL"])
PAGE = """
<main><form method="post"><button>Run</button></form>
<button id="leave">Disconnect</button> <button id="return">Connect</button><br></main>
<script type="module">
  const show = (text) =>
    document.querySelector("main").append(text, document.createElement("br"));
  let socket;
  function connect() {
    socket = new WebSocket("WEBDIS_URL");
    socket.onopen = () => socket.send('["SUBSCRIBE", "CHANNEL"]');
    socket.onclose = () => show("disconnected");
    socket.onmessage = ({ data }) => {
      const [kind, , text] = JSON.parse(data).SUBSCRIBE;
      show(kind === "message" ? JSON.parse(text).text : "connected");
    };
  }
  connect();
  document.querySelector("#leave").onclick = () => socket.close();
  document.querySelector("#return").onclick = connect;
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
