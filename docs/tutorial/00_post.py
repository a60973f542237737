"""The bare post: a function publishes to Redis, a page listens over a WebSocket."""

import os
import time

from flask import Flask, request
from redis import Redis

CHANNEL = "progress:tutorial"
app = Flask(__name__)
redis = Redis.from_url(os.environ["REDIS_URL"])
PAGE = """
<main><form method="post"><button>Run</button></form></main>
<script type="module">
  const show = (text) =>
    document.querySelector("main").append(text, document.createElement("br"));
  const socket = new WebSocket("WEBDIS_URL");
  socket.onopen = () => socket.send('["SUBSCRIBE", "CHANNEL"]');
  socket.onmessage = ({ data }) => {
    const [kind, , text] = JSON.parse(data).SUBSCRIBE;
    show(kind === "message" ? text : "connected");
  };
</script>"""


@app.route("/", methods=["GET", "POST"])
def page() -> str:
    """Show the page; its button does the slow work before that."""
    if request.method == "POST":
        for step in ("Started", "Still running", "Almost done"):
            redis.publish(CHANNEL, step)
            time.sleep(1)
    return PAGE.replace("WEBDIS_URL", os.environ["WEBDIS_URL"]).replace("CHANNEL", CHANNEL)
