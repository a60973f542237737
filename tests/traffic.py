"""A job that counts up in a channel, and a page that follows it whatever happens to the server."""

from __future__ import annotations

import contextlib
import json
import threading
import time

import redis
from websockets.exceptions import WebSocketException

from kit.verify import publisher
from kit.websocket import Page
from webdis_progress import Progress, events_after

MESSAGE_SECONDS = 0.05


class Reader(threading.Thread):
    """A page: subscribes, replays, shows each message once, reconnects; ends with the `last`."""

    def __init__(self, instance, channel):
        super().__init__(daemon=True)
        self.instance, self.channel = instance, channel
        self.shown, self.connections = [], 0
        self.subscribed, self.last = threading.Event(), None

    def _newest(self):
        return self.shown[-1] if self.shown else 0

    def _show(self, event):
        if event["seq"] > self._newest():
            self.shown.append(event["seq"])

    def _replay(self):
        with publisher(self.instance) as connection:
            while missed := events_after(connection, self.channel, self._newest()):
                for event in missed:
                    self._show(event)

    def run(self):
        while not self.done():
            with (
                contextlib.suppress(OSError, WebSocketException, ValueError, redis.RedisError),
                Page(self.instance) as page,
            ):
                page.subscribe(self.channel)
                self.connections += 1
                self._replay()
                self.subscribed.set()
                while not self.done():
                    event = json.loads(page.message(self.channel))
                    if event["seq"] > self._newest() + 1:
                        self._replay()
                    self._show(event)
            time.sleep(MESSAGE_SECONDS)

    def done(self):
        return self.last is not None and self._newest() >= self.last


class Writer(threading.Thread):
    """The job behind that page: a numbered message every 50 ms."""

    def __init__(self, instance, channel):
        super().__init__(daemon=True)
        self.instance, self.channel = instance, channel
        self.stop, self.count = threading.Event(), 0

    def run(self):
        with publisher(self.instance) as connection:
            progress = Progress(connection, self.channel, patience_seconds=60)
            while not self.stop.wait(MESSAGE_SECONDS):
                progress.message(str(self.count + 1))
                self.count += 1

    def end(self, reader):
        """End, and wait until the page has shown all, or is not going to."""
        self.stop.set()
        self.join()
        reader.last = self.count
        with publisher(self.instance) as connection:
            Progress(connection, self.channel).message("the end")
        reader.join(60)
