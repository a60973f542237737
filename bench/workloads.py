"""The work that every system does, and what is counted while it does it."""

from __future__ import annotations

import json
import socket
import statistics
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.client import CHANNEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.client import Fleet
    from bench.systems import Running

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_LONGEST_NANOSECONDS = 120 * 10**9
_DIGITS = 3
_HELD_P99_MICROSECONDS = 1e6
_SETTLE_SECONDS = 0.3
_STATE_SECONDS = 1.5  # a page that polls each second sees the last message by then
_WARM_SECONDS = 0.3
_WHOLE_SECONDS = 15.0
_JOINS = 9


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        repeats: How often all systems are run in turn.
        steady: Subscribers and channels of (a).
        rate: Messages a second of (a), (f) and the growth.
        seconds: Of each measured period.
        broadcast: Subscribers of (b) and (e).
        broadcast_rate: Messages a second of (b).
        first_rate: Where (c) starts.
        growth: Subscribers for the cost growth; the last count is left idle too.
        reconnect: Subscribers of (f).
        drain: Seconds that late messages are waited for.
        step: Factor between two rates of (c).
        halvings: How often the step at which (c) failed is narrowed down.
        step_seconds: How long each rate of (c) is held.
        reconnect_seconds: How long (f) publishes.
        tabs: That (h) loads anew.
        late_messages: Behind the page of (g).
        late_tasks: Whose messages these are.
        client_rate: Messages a second that the client itself can receive; (c) asks for no more.
    """

    repeats: int = 5
    steady: int = 500
    rate: float = 1000.0
    seconds: float = 2.0
    broadcast: int = 1000
    broadcast_rate: float = 10.0
    first_rate: float = 1000.0
    growth: tuple[int, ...] = (100, 1000, 8000)
    reconnect: int = 200
    drain: float = 3.0
    step: float = 2.0
    halvings: int = 3
    step_seconds: float = 1.0
    reconnect_seconds: float = 3.0
    tabs: int = 20
    late_messages: int = 100_000
    late_tasks: int = 50
    client_rate: float = 0.0


FULL = Size()
QUICK = Size(
    repeats=1,
    seconds=0.6,
    broadcast=300,
    growth=(300,),
    reconnect=50,
    reconnect_seconds=1.0,
    step=4.0,
    step_seconds=0.5,
    drain=1.0,
    late_messages=10_000,
)


def counts(fleet: Fleet, numbers: range, *, everyone: bool, state_only: bool) -> dict[str, Any]:
    """Count and time what arrived of some messages.

    Args:
        fleet: The client that received them.
        numbers: Those that were planned.
        everyone: Each subscriber should get each message (broadcast).
        state_only: Only newer messages count; those passed over are not lost.

    Returns:
        Latencies in microseconds, and how many were lost, doubled, out of order.
    """
    from hdrh.histogram import HdrHistogram  # noqa: PLC0415  # who reads results does without

    histogram = HdrHistogram(1000, _LONGEST_NANOSECONDS, _DIGITS)
    latest: dict[int, int] = {}
    seen: set[tuple[int, int]] = set()
    doubled = reordered = 0
    last_arrival = 0.0
    for now, subscriber, markers in fleet.arrivals:
        for marker in markers:
            number = int(marker[5:])
            if number not in numbers:
                continue
            key = (subscriber, number)
            if key in seen:
                doubled += not state_only
                continue
            seen.add(key)
            if number < latest.get(subscriber, -1):
                reordered += 1
            else:
                latest[subscriber] = number
            last_arrival = now
            histogram.record_value(int((now - fleet.planned[number]) * 1e9))
    planned = len(numbers) * (len(fleet.subscribers) if everyone else 1)
    values = histogram.get_percentile_to_value_dict(PERCENTILES)
    return {
        "planned": planned,
        "delivered": len(seen),
        "lost": 0 if state_only else planned - len(seen),
        "passed_over": planned - len(seen) if state_only else 0,
        "doubled": doubled,
        "reordered": reordered,
        "connections_lost": fleet.lost_connections,
        "latency_us": {f"p{p:g}": values[p] / 1e3 for p in PERCENTILES} if seen else {},
        "late_seconds": max(0.0, last_arrival - fleet.planned[numbers[-1]]) if numbers else 0.0,
        "refusals": fleet.refusals[:3],
    }


def _publish(  # noqa: PLR0913  # what one period is made of
    running: Running,
    fleet: Fleet,
    rate: float,
    seconds: float,
    drain: float,
    *,
    everyone: bool = False,
    at: Callable[[], None] | None = None,
) -> tuple[range, float]:
    """Publish, and receive until all is there or ``drain`` is over; return the wall time too."""
    start = time.perf_counter()
    arrived_before = len(fleet.arrivals)
    if running.hand_over:
        first = time.perf_counter() + 0.05
        numbers = fleet.plan(first, rate, seconds)
        order = {"start": first, "rate": rate, "count": len(numbers), "first": numbers.start}
        order |= {"first_channel": fleet.first_channel, "channels": fleet.channels}
        running.hand_over(order)
        if at:
            fleet.wait(lambda: time.perf_counter() > first + seconds / 4, seconds)
            at()
        fleet.wait(lambda: time.perf_counter() > first + seconds, seconds + 1)
    else:
        numbers = fleet.run(rate, seconds, at)
    wanted = len(numbers) * (len(fleet.subscribers) if everyone else 1)
    if running.state_only:
        fleet.wait(lambda: False, _STATE_SECONDS)
    else:
        counted, total = arrived_before, 0

        def all_here() -> bool:
            nonlocal counted, total
            total += sum(len(markers) for _, _, markers in fleet.arrivals[counted:])
            counted = len(fleet.arrivals)
            return total >= wanted

        fleet.wait(all_here, drain)
    return numbers, time.perf_counter() - start


def _used(running: Running) -> dict[str, float]:
    return {one.label: one.cpu_seconds() for one in running.programs if one.label != "publisher"}


def _measured(  # noqa: PLR0913  # what one measured period is made of
    running: Running,
    fleet: Fleet,
    rate: float,
    seconds: float,
    drain: float,
    *,
    everyone: bool = False,
) -> dict[str, Any]:
    """Warm up, then publish and measure; CPU is that of all the system's processes."""
    fleet.begin()
    _publish(running, fleet, rate, _WARM_SECONDS, drain, everyone=everyone)
    fleet.arrivals.clear()
    before = _used(running)
    numbers, wall = _publish(running, fleet, rate, seconds, drain, everyone=everyone)
    after = _used(running)
    result = counts(fleet, numbers, everyone=everyone, state_only=running.state_only)
    fleet.arrivals.clear()
    cpu = {label: after[label] - before[label] for label in after}
    result["cpu_seconds"] = cpu
    result["wall_seconds"] = wall
    if result["delivered"]:
        result["cpu_us_per_delivery"] = sum(cpu.values()) / result["delivered"] * 1e6
    result["cpu_us_per_message"] = sum(cpu.values()) / len(numbers) * 1e6
    return result


def steady(running: Running, fleet: Fleet, size: Size, subscribers: int) -> dict[str, Any]:
    """(a) One channel a subscriber, messages in turn to each."""
    fleet.connect(subscribers, subscribers, at_once=False, timeout=30)
    result = _measured(running, fleet, size.rate, size.seconds, size.drain)
    fleet.disconnect()
    return result


def storm_and_broadcast(running: Running, fleet: Fleet, size: Size) -> dict[str, Any]:
    """(e) Everyone connects at once; (b) then all get each message of one channel."""
    before = _used(running)
    seconds = fleet.connect(size.broadcast, 1, at_once=True, timeout=20)
    after = _used(running)
    times = [one.ready_at - one.started_at for one in fleet.subscribers if one.ready_at]
    storm = {
        "seconds": seconds,
        "connected": len(times),
        "median_seconds": statistics.median(times) if times else 0.0,
        "cpu_seconds": sum(after.values()) - sum(before.values()),
    }
    fleet.wait(lambda: False, _SETTLE_SECONDS)
    broadcast = _measured(
        running, fleet, size.broadcast_rate, size.seconds, size.drain, everyone=True
    )
    fleet.disconnect()
    return {"storm": storm, "broadcast": broadcast}


def reconnect(running: Running, fleet: Fleet, size: Size, *, front_dies: bool) -> dict[str, Any]:
    """(f) A quarter of the way through the front is killed and started again, or all are cut off.

    Args:
        running: The system.
        fleet: Its client.
        size: How much.
        front_dies: Else the front stays, and only the subscribers' connections are lost.
    """
    front = running.front
    if front is None:
        return {}
    fleet.connect(size.reconnect, size.reconnect, at_once=False, timeout=20)
    broken_at = 0.0

    def break_it() -> None:
        nonlocal broken_at
        broken_at = time.perf_counter()
        if front_dies:
            # The loop goes on meanwhile: it publishes and connects again.
            threading.Thread(target=front.restart).start()
        else:
            fleet.cut()
        fleet.watch(broken_at)

    numbers, _ = _publish(
        running, fleet, size.rate / 2, size.reconnect_seconds, size.drain, at=break_it
    )
    whole = fleet.wait(
        lambda: all(one.ready_at > broken_at for one in fleet.subscribers), _WHOLE_SECONDS
    )
    fleet.wait(lambda: False, _STATE_SECONDS if running.state_only else _SETTLE_SECONDS)
    result = counts(fleet, numbers, everyone=False, state_only=running.state_only)
    result["whole_seconds"] = (
        max(one.ready_at for one in fleet.subscribers) - broken_at if whole else None
    )
    fleet.disconnect()
    return result


def reload(running: Running, fleet: Fleet, size: Size) -> dict[str, Any]:
    """(h) All tabs of one run are loaded anew at once while it talks.

    A tab sees the run from some message on; of those that follow, none may be missing.
    """
    fleet.connect(size.tabs, 1, at_once=False, timeout=20)
    reloaded_at = 0.0

    def load_anew() -> None:
        nonlocal reloaded_at
        reloaded_at = time.perf_counter()
        fleet.reload()
        fleet.watch(reloaded_at)

    before = _used(running)
    numbers, _ = _publish(
        running, fleet, size.rate, size.seconds, size.drain, everyone=True, at=load_anew
    )
    whole = fleet.wait(lambda: all(one.ready_at for one in fleet.subscribers), _WHOLE_SECONDS)
    fleet.wait(lambda: False, _STATE_SECONDS if running.state_only else _SETTLE_SECONDS)
    cpu = sum(_used(running).values()) - sum(before.values())
    seen: dict[int, set[int]] = {one.index: set() for one in fleet.subscribers}
    for now, subscriber, markers in fleet.arrivals:
        if now > reloaded_at:
            seen[subscriber].update(int(marker[5:]) for marker in markers)
    lost = sum(numbers.stop - min(one, default=numbers.start) - len(one) for one in seen.values())
    result = {
        "whole_seconds": max(one.ready_at for one in fleet.subscribers) - reloaded_at
        if whole
        else None,
        "lost": 0 if running.state_only else lost,
        "planned": len(numbers) * len(seen),
        "cpu_seconds": cpu,
    }
    fleet.disconnect()
    return result


def late_page(running: Running, fleet: Fleet, size: Size) -> dict[str, Any]:
    """(g) A page joins a run that has talked for long."""
    if running.long_run is None or fleet.replay_address is None:
        return {}
    channel = "progress:99999"
    running.long_run(channel, size.late_messages, size.late_tasks)
    request = fleet.protocol.join.replace(CHANNEL, channel.encode())
    seconds, answer = [], b""
    for _ in range(_JOINS):
        start = time.perf_counter()
        with socket.create_connection(fleet.replay_address) as page, page.makefile("rb") as stream:
            page.sendall(request)
            answer = stream.read()
        seconds.append(time.perf_counter() - start)
    state = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    return {
        "seconds": statistics.median(seconds),
        "bytes": len(answer),
        "requests": 1,
        "tasks": len(state["state"]["tasks"]),
        "messages": state["seq"],
    }


def highest_rate(running: Running, fleet: Fleet, size: Size) -> dict[str, Any]:
    """(c) Raise the rate until messages are lost, p99 is over 1 s, or a queue is left over."""
    fleet.connect(size.steady, size.steady, at_once=False, timeout=30)
    fleet.arrivals.clear()

    def held(rate: float) -> bool:
        lost_before = fleet.lost_connections
        numbers, _ = _publish(running, fleet, rate, size.step_seconds, drain=1.5)
        result = counts(fleet, numbers, everyone=False, state_only=running.state_only)
        fleet.arrivals.clear()
        return bool(
            result["delivered"]
            and result["lost"] == 0
            and fleet.lost_connections == lost_before
            and result["latency_us"]["p99"] <= _HELD_P99_MICROSECONDS
            and (running.state_only or result["late_seconds"] <= size.step_seconds / 4)
        )

    good, rate = 0.0, size.first_rate
    while rate <= size.client_rate and held(rate):
        good, rate = rate, rate * size.step
    bad = rate
    for _ in range(size.halvings if good and rate <= size.client_rate else 0):
        fleet.wait(lambda: False, 1.0)  # let it work off what the failed step left
        between = (good * bad) ** 0.5
        if held(between):
            good = between
        else:
            bad = between
    fleet.disconnect()
    return {"messages_per_second": good}


def idle_and_growth(running: Running, fleet: Fleet, size: Size) -> dict[str, Any]:
    """(d) What subscribers cost that get nothing; and (a) again with more and more of them."""
    empty = _footprint(running)
    growth = {}
    for count in size.growth[:-1]:
        growth[str(count)] = steady(running, fleet, size, count)
    count = size.growth[-1]
    seconds = fleet.connect(count, count, at_once=False, timeout=60)
    connected = sum(1 for one in fleet.subscribers if one.ready_at)
    fleet.wait(lambda: False, _SETTLE_SECONDS)
    full = _footprint(running)
    before, start = _used(running), time.perf_counter()
    fleet.wait(lambda: False, size.seconds)
    cpu = sum(_used(running).values()) - sum(before.values())
    idle: dict[str, Any] = {
        "subscribers": connected,
        "connect_seconds": seconds,
        "cpu_share": cpu / (time.perf_counter() - start),
    }
    for what in ("memory_bytes", "descriptors"):
        idle[what] = {label: full[label][what] - empty[label][what] for label in full}
    growth[str(count)] = _measured(running, fleet, size.rate, size.seconds, size.drain)
    fleet.disconnect()
    return {"idle": idle, "growth": growth}


def _footprint(running: Running) -> dict[str, dict[str, int]]:
    return {
        one.label: {"memory_bytes": one.memory_bytes(), "descriptors": one.descriptors()}
        for one in running.programs
        if one.label != "publisher"
    }


# -- what a run does with a system that has just been started -------------------------


def messages(running: Running, fleet: Fleet, size: Size) -> dict[str, Any]:
    """(a), (b), (e)."""
    return {
        "steady": steady(running, fleet, size, size.steady),
        **storm_and_broadcast(running, fleet, size),
    }


def faults(running: Running, fleet: Fleet, size: Size) -> dict[str, Any]:
    """(f), (g), (h)."""
    return {
        "reconnect": reconnect(running, fleet, size, front_dies=True),
        "cut": reconnect(running, fleet, size, front_dies=False),
        "reload": reload(running, fleet, size),
        "late": late_page(running, fleet, size),
    }


def rate(running: Running, fleet: Fleet, size: Size) -> dict[str, Any]:
    """(c)."""
    return {"highest": highest_rate(running, fleet, size)}


def idle(running: Running, fleet: Fleet, size: Size) -> dict[str, Any]:
    """(d)."""
    return idle_and_growth(running, fleet, size)


PARTS: dict[str, Callable[[Running, Fleet, Size], dict[str, Any]]] = {
    "messages": messages,
    "faults": faults,
    "rate": rate,
    "idle": idle,
}
