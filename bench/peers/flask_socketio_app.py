"""Flask-SocketIO on gevent, with the Redis message queue. Arguments: PORT REDIS_URL."""

# ruff: noqa: E402  # patching comes first
from gevent import monkey

monkey.patch_all()

import sys

from flask import Flask
from flask_socketio import SocketIO, emit, join_room

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent", message_queue=sys.argv[2], cors_allowed_origins="*")


@socketio.on("join")
def join(channel: str) -> None:
    """Put the browser into the room of its channel."""
    join_room(channel)
    emit("joined", channel)


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]))
