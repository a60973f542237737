"""The kit's replay, as the demo serves it. Arguments: PORT; environment: REDIS_URL."""

import os
import sys

import redis
import waitress
from flask import Flask, Response, jsonify, request

from webdis_progress import events_after
from webdis_progress import replay as replay_of

app = Flask(__name__)
connection = redis.Redis.from_url(os.environ["REDIS_URL"])


@app.get("/replay/<channel>")
def replay(channel: str) -> Response:
    """Return the messages after a sequence number."""
    return jsonify(events_after(connection, channel, request.args.get("after", 0, type=int)))


@app.get("/join/<channel>")
def join(channel: str) -> Response:
    """Return what a page needs that has nothing yet: the state, and the last messages."""
    return jsonify(replay_of(connection, channel))


if __name__ == "__main__":
    waitress.serve(app, listen=f"127.0.0.1:{sys.argv[1]}", threads=4, connection_limit=10000)
