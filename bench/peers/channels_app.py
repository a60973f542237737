"""Django Channels: ``application`` for daphne, and the publisher. Environment: REDIS_URL.

As a program it publishes what a line of JSON on its standard input asks for: which
channels is asked of Redis with each message, so nothing can be prepared beforehand.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import re_path

settings.configure(
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
        }
    },
)
django.setup()


class Consumer(AsyncWebsocketConsumer):
    """One browser, in the group of its channel."""

    async def connect(self) -> None:
        """Join the group, then accept."""
        # A group's name may not have a colon.
        self.group = self.scope["url_route"]["kwargs"]["channel"].replace(":", ".")
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:  # noqa: ARG002  # the interface's
        """Leave the group."""
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def progress_message(self, event: dict[str, Any]) -> None:
        """Pass a message on."""
        await self.send(text_data=event["text"])


application = ProtocolTypeRouter(
    {"websocket": URLRouter([re_path(r"^ws/(?P<channel>[\w:]+)$", Consumer.as_asgi())])}
)


async def publish(  # noqa: PLR0913  # what one run of messages is made of
    *,
    start: float,
    rate: float,
    count: int,
    first_channel: int,
    channels: int,
    first: int,
    text: str,
) -> None:
    """Publish ``count`` messages at fixed times from ``start`` on, in turn to each channel."""
    layer = get_channel_layer()
    for i in range(count):
        pause = start + i / rate - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        channel = first_channel + i % channels
        message = text.replace("@5555577777777@", f"@{channel:05}{first + i:08}@")
        event = {"type": "progress.message", "text": message}
        await layer.group_send(f"progress.{channel:05}", event)


async def main() -> None:
    """Publish as asked, until the input ends."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        await publish(**json.loads(line))


if __name__ == "__main__":
    asyncio.run(main())
