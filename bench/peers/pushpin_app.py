"""An application behind Pushpin that recovers: ``app`` for gunicorn, and the publisher.

Pushpin keeps no messages. What its documentation calls reliability is the application's part: it
keeps them (here in Redis streams), numbers them, and says where Pushpin asks for what it missed.
Environment: REDIS_URL and, for the publisher, PUSHPIN. As a program it publishes what a line of
JSON on its standard input asks for.
"""

import json
import os
import re
import sys
import time
from collections import defaultdict

import redis
import zmq
from flask import Flask, Response, request

NONE_YET = "0-0"
app = Flask(__name__)
connection = redis.Redis.from_url(os.environ.get("REDIS_URL", ""), decode_responses=True)


def event(number: str, text: str) -> str:
    """Return a server-sent event; its number comes last, so that who has it has all."""
    return f"data: {text}\nid: {number}\n\n"


@app.get("/stream/<channel>")
def stream(channel: str) -> Response:
    """Answer what came after the last event that Pushpin or the page has had, and hold the page.

    A page that has had none is told the latest.
    """
    known = re.search(r"last-id=([\d-]+)", request.headers.get("Grip-Last", ""))
    last = known[1] if known else request.headers.get("Last-Event-ID")
    if last:
        entries = connection.xrange(channel, f"({last}")
    else:
        entries = connection.xrevrange(channel, count=1)
    newest = entries[-1][0] if entries else last or NONE_YET
    return Response(
        [event(number, fields["text"]) for number, fields in entries],
        content_type="text/event-stream",
        headers={
            "Grip-Hold": "stream",
            "Grip-Channel": f"{channel}; prev-id={newest}",
            "Grip-Link": f"<{request.path}>; rel=next",
        },
    )


def publish(  # noqa: PLR0913  # what one run of messages is made of
    pushpin: zmq.Socket,
    latest: dict[str, str],
    *,
    start: float,
    rate: float,
    count: int,
    first_channel: int,
    channels: int,
    first: int,
    text: str,
) -> None:
    """Keep and publish messages at fixed times from ``start`` on, in turn to each channel."""
    done = 0
    while done < count:
        pause = start + done / rate - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        due = min(count, int((time.perf_counter() - start) * rate) + 1)
        kept = []
        with connection.pipeline(transaction=False) as pipeline:
            for i in range(done, due):
                number = first_channel + i % channels
                message = text.replace("@5555577777777@", f"@{number:05}{first + i:08}@")
                kept.append((f"progress:{number:05}", message))
                pipeline.xadd(kept[-1][0], {"text": message}, maxlen=1000)
            identifiers = pipeline.execute()
        for (channel, message), identifier in zip(kept, identifiers, strict=True):
            item = {
                "channel": channel,
                "id": identifier,
                "prev-id": latest[channel],
                "no-seq": True,  # they come in order: only gaps are looked for
                "formats": {"http-stream": {"content": event(identifier, message)}},
            }
            pushpin.send(b"J" + json.dumps(item).encode())
            latest[channel] = identifier
        done = due


def main() -> None:
    """Publish as asked, until the input ends."""
    pushpin = zmq.Context().socket(zmq.PUSH)
    pushpin.connect(os.environ["PUSHPIN"])
    latest: dict[str, str] = defaultdict(lambda: NONE_YET)
    for line in sys.stdin:
        publish(pushpin, latest, **json.loads(line))


if __name__ == "__main__":
    main()
