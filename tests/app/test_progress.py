"""The publisher against the instance's Redis."""

from __future__ import annotations

import json
import secrets
import threading

import pytest

from demo_app.progress import MAX_TEXT_CHARACTERS, Progress, events_after, last_sequence
from kit.verify import publisher


@pytest.fixture
def channel():
    return f"progress:{secrets.token_hex(16)}"


def test_two_connections_make_one_contiguous_sequence(instance, publisher_redis, channel):
    def publish():
        with publisher(instance) as connection:
            progress = Progress(connection, channel)
            for number in range(200):
                progress.message(str(number))

    threads = [threading.Thread(target=publish) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = events_after(publisher_redis, channel, 0)
    assert [event["seq"] for event in events] == list(range(1, 401))
    assert last_sequence(publisher_redis, channel) == 400


def test_replay_starts_after_the_number_asked_for(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    for text in ("a", "b", "c"):
        progress.message(text)
    assert [event["text"] for event in events_after(publisher_redis, channel, 1)] == ["b", "c"]
    assert events_after(publisher_redis, channel, 3) == []


@pytest.mark.parametrize("text", ["\0", "\ud800", "x" * 1_000_000, "\N{PILE OF POO}" * 9000])
def test_any_text_is_published_small_and_ascii(publisher_redis, channel, text):
    Progress(publisher_redis, channel).message(text)
    (entry,) = publisher_redis.xrange(f"{channel}:events")
    payload = entry[1][b"message"]
    assert payload.isascii()
    assert b"\0" not in payload
    assert len(payload) < 65_536
    assert len(json.loads(payload)["text"]) <= MAX_TEXT_CHARACTERS


def test_wrong_type_names_the_value(publisher_redis, channel):
    with pytest.raises(TypeError, match="text is 3"):
        Progress(publisher_redis, channel).message(3)
