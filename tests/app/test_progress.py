"""The publisher against the instance's Redis."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import redis.asyncio

import webdis_progress as module
from kit.checkout import ROOT
from kit.verify import publisher, redis_as
from kit.websocket import Page
from webdis_progress import (
    MAX_MESSAGES,
    MAX_PAYLOAD_BYTES,
    AsyncProgress,
    CancelledError,
    EndedError,
    NotSentError,
    Observer,
    Progress,
    events_after,
    last_events,
    position,
    replay,
    set_observer,
)


def all_events(connection, channel):
    events = []
    while answer := events_after(connection, channel, events[-1]["seq"] if events else 0):
        events += answer
    return events


def texts(connection, channel):
    return [event["text"] for event in all_events(connection, channel)]


def sequence(connection, channel):
    return [event["seq"] for event in all_events(connection, channel)]


PUBLISH = """
import sys
from webdis_progress import Progress
from kit.checkout import read_instance
from kit.verify import publisher

channel, name, count = sys.argv[1:]
with publisher(read_instance()) as connection:
    progress = Progress(connection, channel)
    for number in range(int(count)):
        progress.message(f"{name} {number}")
"""


def test_two_processes_make_one_contiguous_sequence(publisher_redis, channel):
    count = 2000
    processes = [
        subprocess.Popen([sys.executable, "-c", PUBLISH, channel, name, str(count)], cwd=ROOT)
        for name in ("a", "b")
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    events = all_events(publisher_redis, channel)
    assert [event["seq"] for event in events] == list(range(1, 2 * count + 1))
    assert position(publisher_redis, channel) == (events[0]["epoch"], 2 * count)
    for name in ("a", "b"):
        own = [event["text"] for event in events if event["text"].startswith(name)]
        assert own == [f"{name} {number}" for number in range(count)]


def test_threads_share_a_publisher(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)

    def publish():
        for _ in range(200):
            progress.message("x")

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sequence(publisher_redis, channel) == list(range(1, 801))


def test_a_forked_child_publishes_for_itself(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    progress.message("before")
    child = os.fork()
    if not child:
        status = 1
        try:
            progress.message("child 1")
            progress.message("child 2")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    progress.message("parent 1")
    progress.message("parent 2")
    assert texts(publisher_redis, channel) == [
        "before",
        "child 1",
        "child 2",
        "parent 1",
        "parent 2",
    ]


def test_lost_answers_double_nothing_and_lost_requests_lose_nothing(
    instance, publisher_redis, lossy_redis, lossy_proxy, channel
):
    expected = [str(number) for number in range(60)]
    with Page(instance) as page:
        page.subscribe(channel)
        progress = Progress(lossy_redis, channel)
        numbers = []
        for text in expected:
            lossy_proxy.plan = ["cut", "drop", "cut"] if int(text) % 3 else ["pass"]
            numbers.append(progress.message(text))
        pushed = [json.loads(page.message(channel)) for _ in expected]
        # A doubled message would be next, before this one.
        progress.done()
        assert json.loads(page.message(channel))["kind"] == "done"
    assert numbers == list(range(1, 61))
    # Two that reach Webdis at once may leave it in the other order: that is for the page to mend.
    assert sorted(event["seq"] for event in pushed) == numbers
    assert texts(publisher_redis, channel) == [*expected, "Done"]


def test_a_request_that_arrives_after_its_retry_is_known(
    publisher_redis, lossy_redis, lossy_proxy, channel
):
    progress = Progress(lossy_redis, channel)
    progress.message("first")
    lossy_proxy.plan = ["hold"]
    progress.message("second")
    progress.message("third")
    lossy_proxy.release()
    progress.message("fourth")
    assert texts(publisher_redis, channel) == ["first", "second", "third", "fourth"]


@pytest.mark.parametrize("fate", ["cut", "drop"])
def test_after_the_bound_it_says_what_was_not_sent(
    publisher_redis, lossy_redis, lossy_proxy, channel, fate
):
    progress = Progress(lossy_redis, channel, total=7, patience_seconds=0.5)
    progress.update(1, "taken")
    lossy_proxy.plan = [fate] * 1000
    with pytest.raises(NotSentError, match="not taken") as failure:
        progress.update(2, "not taken")
    assert failure.value.unsent["text"] == "not taken"
    assert (failure.value.unsent["current"], failure.value.unsent["total"]) == (2, 7)
    lossy_proxy.plan = []
    progress.update(3, "later")
    # Whether Redis has had it cannot be known; the numbers have no hole either way.
    seen = texts(publisher_redis, channel)
    assert seen == ["taken", *(["not taken"] if fate == "cut" else []), "later"]
    assert sequence(publisher_redis, channel) == list(range(1, len(seen) + 1))


@pytest.mark.timeout(60)
def test_a_wrong_password_is_not_tried_again(instance, channel):
    with (
        redis_as(instance, username="publisher", password="wrong") as stranger,
        pytest.raises(NotSentError, match="invalid username-password"),
    ):
        Progress(stranger, channel, patience_seconds=3600).message("x")


def test_nothing_is_lost_while_redis_restarts(redis_service, publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    progress.message("0")
    # A restart that does not happen fails this test, though in a thread.
    restart = threading.Thread(target=redis_service.restart)
    run_id = publisher_redis.info("server")["run_id"]
    restart.start()
    count = 1
    while restart.is_alive() or count < 50:
        progress.message(str(count))
        count += 1
    restart.join()
    assert publisher_redis.info("server")["run_id"] != run_id
    kept = texts(publisher_redis, channel)
    # A slow restart leaves time for more messages than are kept.
    assert len(kept) >= min(count, MAX_MESSAGES)
    assert kept == [str(number) for number in range(count)][-len(kept) :]
    assert sequence(publisher_redis, channel) == list(range(1, count + 1))[-len(kept) :]


@pytest.mark.parametrize("ending", ["done", "failed", "cancelled"])
def test_nothing_follows_the_end(publisher_redis, channel, ending):
    progress = Progress(publisher_redis, channel)
    getattr(progress, ending)("the end")
    other = Progress(publisher_redis, channel)
    for publish in (
        lambda: progress.message("late"),
        lambda: other.update(1),
        other.started,
        other.done,
        lambda: other.failed("late"),
        other.cancelled,
    ):
        with pytest.raises(EndedError, match=ending):
            publish()
    (event,) = all_events(publisher_redis, channel)
    assert (event["kind"], event["text"]) == (ending, "the end")
    assert not progress.request_cancel()


def test_an_end_whose_answer_is_lost_is_no_error(
    publisher_redis, lossy_redis, lossy_proxy, channel
):
    progress = Progress(lossy_redis, channel)
    progress.message("x")
    lossy_proxy.plan = ["cut"]
    assert progress.done() == 2
    assert texts(publisher_redis, channel) == ["x", "Done"]


def expires(connection, key):
    # It refuses to set an expiry where there is one.
    return not connection.expire(key, module.EXPIRY_SECONDS, nx=True)


def kinds(connection, channel):
    return [event["kind"] for event in all_events(connection, channel)]


def test_the_block_ends_in_done(publisher_redis, channel):
    with Progress(publisher_redis, channel) as progress:
        progress.message("x")
    assert kinds(publisher_redis, channel) == ["started", "message", "done"]


def test_the_block_ends_in_failed_and_keeps_the_details_to_itself(publisher_redis, channel):
    with pytest.raises(ValueError, match="password"), Progress(publisher_redis, channel):
        raise ValueError("password is 1234")
    last = all_events(publisher_redis, channel)[-1]
    assert (last["kind"], last["text"]) == ("failed", "Failed: ValueError")


def test_the_block_may_end_the_stream_itself(publisher_redis, channel):
    with Progress(publisher_redis, channel) as progress:
        progress.failed("The disk is full")
    assert kinds(publisher_redis, channel) == ["started", "failed"]


def test_a_block_that_fails_after_somebody_ended_the_stream_raises_its_own_error(
    publisher_redis, channel
):
    def work():
        with Progress(publisher_redis, channel):
            Progress(publisher_redis, channel).cancelled()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert kinds(publisher_redis, channel) == ["started", "cancelled"]


def test_cancel_ends_the_block_in_cancelled(publisher_redis, channel):
    done = 0
    with Progress(publisher_redis, channel) as progress:
        assert not progress.cancel_requested()
        for item in progress.track(range(1_000_000), per_second=1000):
            done = item
            if item == 10:
                assert Progress(publisher_redis, channel).request_cancel()
    assert 10 <= done < 999_999
    assert kinds(publisher_redis, channel)[-1] == "cancelled"


def test_cancel_is_seen_before_the_first_message_and_expires(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    progress.request_cancel()
    assert expires(publisher_redis, f"{channel}:state")
    assert Progress(publisher_redis, channel).cancel_requested()
    with pytest.raises(CancelledError):
        next(Progress(publisher_redis, channel).track(range(3)))


def test_track_is_throttled_and_sends_the_last(publisher_redis, channel):
    per_second = 5.0
    start = time.monotonic()
    with Progress(publisher_redis, channel) as progress:
        for _ in progress.track([0.002] * 400, "Working", per_second=per_second):
            time.sleep(0.002)
    most = (time.monotonic() - start) * per_second + 2
    updates = [e for e in all_events(publisher_redis, channel) if e["kind"] == "progress"]
    assert 2 < len(updates) <= most
    assert (updates[0]["current"], updates[0]["total"]) == (0, 400)
    assert (updates[-1]["current"], updates[-1]["text"]) == (400, "Working")


def test_one_track_after_another_begins_anew(publisher_redis, channel):
    progress = Progress(publisher_redis, channel, total=3)
    for items, total in ((iter("abc"), 3), (range(50), 50), (iter("ab"), None)):
        list(progress.track(items, str, per_second=1000))
        run = replay(publisher_redis, channel)["state"]["run"]
        assert run["total"] == total
    assert (run["current"], run["text"]) == (2, "b")


def test_a_track_within_another_has_a_task_of_its_own(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    with progress.task("core-1") as task:
        for _ in task.track(range(2)):
            list(task.track(range(3), "Interfaces"))
    for _ in progress.track(range(4)):
        list(progress.track(iter("ab")))
    state = replay(publisher_redis, channel)["state"]
    seen = {t["task"]: (t["kind"], t["current"], t.get("total")) for t in state["tasks"]}
    assert seen == {
        "core-1": ("done", 2, 2),
        "core-1/track 2": ("done", 3, 3),
        "track 2": ("done", 2, None),
    }
    assert (state["run"]["current"], state["run"]["total"]) == (4, 4)


def test_tracks_at_the_same_time_have_bars_of_their_own(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    own, left, on, late = (progress.track("ab", text) for text in ("own", "left", "on", "late"))
    for items in (own, left, on):
        next(items)
    left.close()
    next(late)
    tasks = replay(publisher_redis, channel)["state"]["tasks"]
    assert {task["task"]: task["text"] for task in tasks} == {"track 2": "late", "track 3": "on"}
    own.close()
    next(progress.track("ab", "next"))
    assert replay(publisher_redis, channel)["state"]["run"]["text"] == "next"


def test_track_of_nothing_and_of_an_iterator(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    assert list(progress.track([])) == []
    progress.total = None
    assert list(progress.track(iter("abc"))) == ["a", "b", "c"]
    events = all_events(publisher_redis, channel)
    assert [(event["current"], event["total"]) for event in events] == [
        (0, 0),
        (0, None),
        (3, None),
    ]


class Endless:
    def __len__(self):
        raise TypeError("it has no length")

    def __iter__(self):
        return iter("abc")


@pytest.mark.parametrize("items", [Endless(), range(10**20)])
def test_track_of_what_has_no_length_after_all(publisher_redis, channel, items):
    assert len(list(zip(Progress(publisher_redis, channel).track(items), "ab", strict=False))) == 2
    assert all_events(publisher_redis, channel)[0]["total"] is None


def test_a_generator_that_is_left_early_has_not_failed(publisher_redis, channel):
    def numbers(progress):
        with progress.task("core-1") as task:
            yield from task.track(range(5))

    with Progress(publisher_redis, channel) as progress:
        for number in numbers(progress):
            if number == 2:
                break
    state = replay(publisher_redis, channel)["state"]
    assert [(t["kind"], t["current"]) for t in state["tasks"]] == [("cancelled", 2)]
    assert state["run"]["kind"] == "done"


class Interrupts(Observer):
    def published(self, messages, seconds):  # noqa: ARG002  # an observer's
        set_observer(Observer())
        raise KeyboardInterrupt


def test_who_is_interrupted_at_the_beginning_ends_what_redis_has(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    for bar in (progress.task("core-1"), progress):
        set_observer(Interrupts())
        with pytest.raises(KeyboardInterrupt), bar:
            pass
    state = replay(publisher_redis, channel)["state"]
    assert (state["run"]["kind"], state["tasks"][0]["kind"]) == ("failed", "failed")
    assert kinds(publisher_redis, channel) == ["started", "failed", "started", "failed"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\0b", "a\N{SYMBOL FOR NULL}b"),
        ("a\ud800b", "a\N{REPLACEMENT CHARACTER}b"),
        ("\ud83d\ude00", "\N{GRINNING FACE}"),
        ("</script>\u202e\u2028\r\n\x1b", "</script>\u202e\u2028\r\n\x1b"),
        ("", ""),
    ],
)
def test_text_is_carried_or_replaced_visibly(publisher_redis, channel, text, shown):
    Progress(publisher_redis, channel).message(text)
    assert texts(publisher_redis, channel) == [shown]


@pytest.mark.parametrize("piece", ["x", "\0", "\ud800", '"', "\N{PILE OF POO}", "é"])
@pytest.mark.parametrize("length", [2600, 32_255, 32_256, 32_257, 1_000_000])
def test_long_text_is_cut_visibly_and_stays_small_and_ascii(
    publisher_redis, channel, piece, length
):
    Progress(publisher_redis, channel, total=2**53 - 1).message(piece * length)
    (entry,) = publisher_redis.xrange(f"{channel}:events")
    payload = entry[1][b"message"]
    assert payload.isascii()
    assert b"\0" not in payload
    assert len(payload) <= MAX_PAYLOAD_BYTES
    text = json.loads(payload)["text"]
    if len(text) < length:
        assert text.endswith("\N{HORIZONTAL ELLIPSIS}")
        assert len(payload) > MAX_PAYLOAD_BYTES - 600, "no more is cut than needs to be"


@pytest.mark.parametrize(
    ("publish", "error", "name"),
    [
        (lambda progress: progress.message(3), TypeError, "text is 3"),
        (lambda progress: progress.message(b"x"), TypeError, "text is b'x'"),
        (lambda progress: progress.done(None), TypeError, "text is None"),
        (lambda progress: progress.failed(3), TypeError, "error is 3"),
        (lambda progress: progress.update("3"), TypeError, "current is '3'"),
        (lambda progress: progress.update(1.5), TypeError, "current is 1.5"),
        (lambda progress: progress.update(current=True), TypeError, "current is True"),
        (lambda progress: progress.update(-1), ValueError, "current is -1"),
        (lambda progress: progress.update(2**53), ValueError, "current is 9007199254740992"),
        (lambda progress: progress.update(1, 2), TypeError, "text is 2"),
    ],
)
def test_wrong_values_are_named(publisher_redis, channel, publish, error, name):
    with pytest.raises(error, match=re.escape(name)):
        publish(Progress(publisher_redis, channel))
    assert position(publisher_redis, channel).seq == 0


@pytest.mark.parametrize(("total", "error"), [("1", TypeError), (2**53, ValueError)])
def test_wrong_totals_are_named(publisher_redis, channel, total, error):
    with pytest.raises(error, match="total is"):
        Progress(publisher_redis, channel, total)
    with pytest.raises(TypeError, match="channel is 666"):
        Progress(publisher_redis, 666)


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda client: Progress(client, ""), ValueError, "channel is empty"),
        (lambda client: Progress(client, b"x"), TypeError, "channel is b'x'"),
        (lambda client: Progress(client, "\ud800"), ValueError, "channel is '\\ud800'"),
        (lambda client: Progress(client, "x").task("\ud800"), ValueError, "task is '\\ud800'"),
        (lambda _: Progress("redis://:secret@x", "x"), TypeError, "redis is of the type str"),
        (lambda _: Progress(None, "x"), TypeError, "redis is of the type NoneType"),
        (lambda client: Progress(client, "x", patience_seconds=-1), ValueError, "patience_seconds"),
        (lambda client: Progress(client, "x", patience_seconds="1"), TypeError, "patience_seconds"),
        (lambda client: Progress(client, "x", required="no"), TypeError, "required is 'no'"),
        (lambda client: replay(client, "x", -5), ValueError, "after is -5"),
        (lambda client: replay(client, "x", "1"), TypeError, "after is '1'"),
        (lambda client: replay(client, "x", 1, None), TypeError, "epoch is None"),
        (lambda client: replay(client, "x", 1, "\ud800"), ValueError, "epoch is '\\ud800'"),
        (lambda client: position(client, 666), TypeError, "channel is 666"),
        (lambda client: last_events(client, "x", "1"), TypeError, "count is '1'"),
        (lambda _: set_observer(None), TypeError, "observer is None"),
        *(
            (lambda client, n=n: list(Progress(client, "x").track([1], per_second=n)), error, "per")
            for n, error in [(0, ValueError), (float("nan"), ValueError), ("5", TypeError)]
        ),
    ],
)
def test_wrong_arguments_are_named(publisher_redis, make, error, name):
    with pytest.raises(error, match=f"^{re.escape(name)}") as caught:
        make(publisher_redis)
    assert "secret" not in str(caught.value)


def test_the_largest_integer_is_exact(publisher_redis, channel):
    Progress(publisher_redis, channel, total=2**53 - 1).update(2**53 - 1)
    (event,) = all_events(publisher_redis, channel)
    assert (event["current"], event["total"]) == (2**53 - 1, 2**53 - 1)


def test_replay_starts_after_the_number_asked_for_and_is_bounded(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    for number in range(1, module.REPLAY_MESSAGES + 3):
        progress.message(str(number))
    answer = events_after(publisher_redis, channel, 1)
    assert [event["seq"] for event in answer] == list(range(2, module.REPLAY_MESSAGES + 2))
    assert [e["seq"] for e in events_after(publisher_redis, channel, 1001)] == [1002]
    assert events_after(publisher_redis, channel, 1002) == []


def test_the_stream_is_bounded_and_expires(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    extra = 1000
    for _ in range(module.MAX_MESSAGES + extra):
        progress.message("x")
    first = events_after(publisher_redis, channel, 0)[0]["seq"]
    assert 1 < first <= extra + 1
    for key in ("state", "events"):
        assert expires(publisher_redis, f"{channel}:{key}")


def test_a_lost_channel_counts_anew_in_another_epoch(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    for text in ("a", "b", "c"):
        progress.message(text)
    before = position(publisher_redis, channel)
    publisher_redis.delete(f"{channel}:state")
    progress.message("d")
    after = position(publisher_redis, channel)
    assert (before.seq, after.seq) == (3, 1)
    assert before.epoch != after.epoch
    # A reader that has seen three learns of the one.
    assert [e["text"] for e in events_after(publisher_redis, channel, 3)] == ["d"]


def test_no_number_is_used_twice_after_redis_lost_the_last_ones(publisher_redis, channel):
    first, second = (Progress(publisher_redis, channel) for _ in range(2))
    first.message("kept")
    second.message("kept")
    kept = publisher_redis.hgetall(f"{channel}:state")
    lost = [publish.message("lost") for publish in (first, second, second, first)]
    # What a power cut does between two syncs of the append-only file.
    publisher_redis.delete(f"{channel}:events")
    publisher_redis.hset(f"{channel}:state", mapping=kept)
    after = [first.message("a"), first.message("b")]
    assert after[0] > max(lost)
    assert after[1] == after[0] + 1
    assert second.message("c") > after[1]


def test_writers_are_forgotten_before_they_fill_the_memory(publisher_redis, channel):
    active = Progress(publisher_redis, channel)
    for _ in range(2 * module.MAX_WRITERS):
        Progress(publisher_redis, channel).message("x")
        active.message("x")
    assert publisher_redis.hlen(f"{channel}:state") <= module.MAX_WRITERS + 10
    assert position(publisher_redis, channel).seq == 4 * module.MAX_WRITERS


def test_a_connection_that_decodes_will_do(instance, channel):
    with publisher(instance) as connection:
        connection.connection_pool.connection_kwargs["decode_responses"] = True
        with Progress(connection, channel) as progress:
            progress.message("é")
        assert texts(connection, channel) == ["Started", "é", "Done"]
        assert position(connection, channel).epoch == all_events(connection, channel)[0]["epoch"]


def test_a_batch_of_more_than_waits_for_an_absent_redis_loses_nothing(publisher_redis, channel):
    count = 1500
    with Progress(publisher_redis, channel) as progress, progress.batch():
        for number in range(count):
            progress.message(str(number))
    assert texts(publisher_redis, channel) == ["Started", *map(str, range(count)), "Done"]


def test_a_batch_sends_what_fills_a_call_and_holds_no_more(publisher_redis, channel):
    with Progress(publisher_redis, channel) as progress, progress.batch():
        for number in range(249):
            assert progress.message(str(number)) == 0
        assert position(publisher_redis, channel).seq == 1
        assert progress.message("249") == 251
        assert position(publisher_redis, channel).seq == 251
        progress.message("x" * 20_000)
        assert position(publisher_redis, channel).seq == 251
        for _ in range(6):
            progress.message("x" * 20_000)
        assert position(publisher_redis, channel).seq == 258


def test_a_child_that_is_forked_within_a_batch_has_nothing_of_it(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    with progress.batch():
        progress.message("parent")
        child = os.fork()
        if not child:
            os._exit(progress.message("child") != 1)
        assert os.waitpid(child, 0)[1] == 0
    assert texts(publisher_redis, channel) == ["child", "parent"]


def test_a_writer_learns_of_others_and_of_a_cancel_from_its_answers(publisher_redis, channel):
    first, second = (Progress(publisher_redis, channel) for _ in range(2))
    assert [first.message("a"), first.message("b")] == [1, 2]  # as it expects
    assert second.message("c") == 3
    assert [first.message("d" * 3000), first.message("e")] == [4, 5]
    assert second.request_cancel()
    for progress, seq in ((first, 6), (second, 7)):
        with pytest.raises(CancelledError):
            next(progress.track(["x"]))
        assert position(publisher_redis, channel).seq == seq
    with second.batch():
        second.message("h")
        second.message("i" * 3000)
    assert second.done() == 10
    events = all_events(publisher_redis, channel)
    assert [event["seq"] for event in events] == list(range(1, 11))
    assert len({event["epoch"] for event in events}) == 1
    assert replay(publisher_redis, channel)["state"]["run"] == events[-1]
    for progress in (first, second):
        with pytest.raises(EndedError):
            progress.message("late")


def test_tasks_have_bars_and_ends_of_their_own(publisher_redis, channel):
    def work(progress):
        with progress.task("core-2", label="Core 2") as task:
            task.update(1)
            raise ValueError("secret")

    with Progress(publisher_redis, channel, count_tasks=True, started_text="Go") as progress:
        with progress.task("core-1", total=4, label="Core 1", done_text="Read") as task:
            task.advance()
            task.advance(2, "reading", data={"vlan": 12})
            task.message("slow", level="warning")
        with pytest.raises(ValueError, match="secret"):
            work(progress)
        progress.task("core-3").skipped("not asked for")
        with pytest.raises(EndedError, match="core-1"):
            task.message("late")
    events = all_events(publisher_redis, channel)
    own = [event for event in events if event.get("task") == "core-1"]
    assert [(e["kind"], e["text"], e["current"], e["total"]) for e in own] == [
        ("started", "Started", None, 4),
        ("progress", "", 1, 4),
        ("progress", "reading", 3, 4),
        ("message", "slow", 3, 4),
        ("done", "Read", 3, 4),
    ]
    assert {event["label"] for event in own} == {"Core 1"}
    assert (own[2]["data"], own[3]["level"]) == ({"vlan": 12}, "warning")
    run = [event for event in events if "task" not in event]
    assert [(e["kind"], e["text"], e["current"], e["total"]) for e in run] == [
        ("started", "Go", None, None),
        ("progress", "", 1, 1),
        ("progress", "", 2, 2),
        ("progress", "", 3, 3),
        ("done", "Done", 3, 3),
    ]
    state = replay(publisher_redis, channel)["state"]
    assert state["run"] == run[-1]
    assert {e["task"]: e["kind"] for e in state["tasks"]} == {
        "core-1": "done",
        "core-2": "failed",
        "core-3": "skipped",
    }
    assert "secret" not in str(events)


def test_a_task_that_is_begun_again_is_counted_once(publisher_redis, channel):
    with Progress(publisher_redis, channel, count_tasks=True) as progress:
        for ending in ("failed", "done"):
            task = progress.task("core-1")
            task.started()
            getattr(task, ending)("")
    run = [event for event in all_events(publisher_redis, channel) if "task" not in event]
    assert [(e["current"], e["total"]) for e in run[1:]] == [(1, 1), (0, 1), (1, 1), (1, 1)]


@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("kind", [Progress, AsyncProgress])
def test_a_writer_is_not_copied(publisher_redis, channel, kind, take):
    awaited = kind is AsyncProgress
    progress = kind(redis.asyncio.Redis() if awaited else publisher_redis, channel)
    for bar in (progress, progress.task("core-1")):
        with pytest.raises(TypeError, match=f"^{type(bar).__name__} cannot be copied or pickled"):
            take(bar)


def test_a_signal_may_come_at_any_moment(publisher_redis, channel):
    progress = Progress(publisher_redis, channel)
    handled = []

    def handle(*_):
        handled.append(f"signal {len(handled)}")
        progress.message(handled[-1])
        assert not progress.cancel_requested()
        signal.setitimer(signal.ITIMER_REAL, 0.0005)  # not again while it is handled

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    published = []
    try:
        while len(handled) < 100:
            published.append(f"message {len(published)}")
            progress.message(published[-1])
            assert not progress.cancel_requested()
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # a handler that still runs sets the timer
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    progress.done("end")
    seen = texts(publisher_redis, channel)
    assert [text for text in seen if text.startswith("message")] == published
    assert [text for text in seen if text.startswith("signal")] == handled
    assert sequence(publisher_redis, channel) == list(range(1, len(seen) + 1))


def test_advance_is_atomic_over_threads(publisher_redis, channel):
    progress = Progress(publisher_redis, channel, total=400)
    task = progress.task("t", total=400)

    def work():
        for _ in range(100):
            progress.advance()
            task.advance()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in (None, "t"):
        counts = [
            e["current"] for e in all_events(publisher_redis, channel) if e.get("task") == name
        ]
        assert counts == list(range(1, 401))


def test_joining_costs_what_there_is_and_not_what_there_was(publisher_redis, channel):
    names = [f"device-{number}" for number in range(50)]
    with Progress(publisher_redis, channel, count_tasks=True) as progress:
        tasks = [progress.task(name, total=100_000) for name in names]
        sent = 0
        while sent < 100_000:
            with progress.batch():
                for task in tasks:
                    for _ in range(5):
                        task.advance(1, "Reading the configuration of this device")
                        sent += 1
        for task in tasks:
            task.done()
    answer = replay(publisher_redis, channel)
    assert len(json.dumps(answer)) <= 100 * 1024
    assert answer["seq"] >= 100_000 == sent
    assert {task["task"] for task in answer["state"]["tasks"]} == set(names)
    assert {task["kind"] for task in answer["state"]["tasks"]} == {"done"}
    assert answer["state"]["run"]["kind"] == "done"
    assert answer["events"][-1]["seq"] == answer["seq"]


def test_replay_says_where_it_stands_and_gives_the_state_only_where_events_are_gone(
    publisher_redis, channel
):
    assert replay(publisher_redis, channel) == {
        "epoch": "",
        "seq": 0,
        "cancel": False,
        "events": [],
        "unreadable": 0,
        "state": {"run": None, "tasks": []},
    }
    progress = Progress(publisher_redis, channel)
    for number in range(5):
        progress.message(str(number))
    epoch = position(publisher_redis, channel).epoch

    def asked(after, epoch):
        answer = replay(publisher_redis, channel, after, epoch)
        assert answer["seq"] == 5
        return [event["seq"] for event in answer["events"]], "state" in answer

    assert asked(None, "") == ([1, 2, 3, 4, 5], True)
    assert asked(0, epoch) == ([1, 2, 3, 4, 5], False)
    assert asked(3, epoch) == ([4, 5], False)
    assert asked(3, "") == ([4, 5], False)
    assert asked(5, epoch) == ([], False)
    assert asked(5, "another-1") == ([1, 2, 3, 4, 5], True)
    assert asked(6, epoch) == ([1, 2, 3, 4, 5], True)
    publisher_redis.xtrim(f"{channel}:events", minid=4, approximate=False)
    assert asked(2, epoch) == ([4, 5], True)
    assert asked(3, epoch) == ([4, 5], False)
    progress.request_cancel()
    assert replay(publisher_redis, channel, 5)["cancel"]


@pytest.mark.parametrize("state", ["7-900 older-1", "7-900 older-1 done", "nonsense"])
def test_a_channel_of_an_older_version_is_begun_anew(publisher_redis, channel, state):
    publisher_redis.hset(f"{channel}:state", "state", state)
    publisher_redis.xadd(f"{channel}:events", {"message": "old"}, id="7-900")
    progress = Progress(publisher_redis, channel)
    progress.message("new")
    answer = replay(publisher_redis, channel)
    assert [(event["seq"], event["text"]) for event in answer["events"]] == [(1, "new")]
    assert answer["epoch"] != "older-1"


POISON = ['"', "[]", "3", "{}", '{"seq": true}', '{"seq": 1, "epoch": NaN}']
EVENT = '{{"seq": 1, "epoch": "e", "ts": "t", "kind": "k", "text": "", "current": {}, "total": 1}}'
POISON += [EVENT.format(n) for n in ("true", "Infinity", "NaN", '"unknown"', "[1]", 2**60, 1.5, -1)]


@pytest.mark.parametrize("entry", [*POISON, "[" * 100_000])
def test_an_entry_that_cannot_be_read_is_left_out_and_reported(
    publisher_redis, channel, entry, caplog
):
    progress = Progress(publisher_redis, channel)
    progress.message("before")
    publisher_redis.xadd(f"{channel}:events", {"message": entry}, id="1-9999")
    publisher_redis.hset(f"{channel}:state", "task:x", entry)
    progress.message("after")
    answer = replay(publisher_redis, channel)
    assert [event["text"] for event in answer["events"]] == ["before", "after"]
    assert answer["unreadable"] == 1
    assert answer["state"]["tasks"] == []
    assert "are no events" in caplog.text
