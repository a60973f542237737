"""A page that asks once a second, celery-progress's way. Environment: REDIS_URL."""

import os

import redis
from flask import Flask, Response

app = Flask(__name__)
connection = redis.Redis.from_url(os.environ["REDIS_URL"])


@app.get("/poll/<channel>")
def poll(channel: str) -> Response:
    """Return the latest state of a task."""
    return Response(connection.get(channel) or b"{}", content_type="application/json")
