"""The demo's processes as others meet them: addresses, busy threads, a neighbour's cookie."""

from __future__ import annotations

import concurrent.futures
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error

import pytest


def test_slow_functions_leave_threads_for_the_rest(start_demo):
    demo = start_demo(DEMO_PAUSE_SECONDS=5)
    visitors = [demo.visitor() for _ in range(20)]

    def press(visitor):
        try:
            return visitor.post("/shared/"), ""
        except urllib.error.HTTPError as error:
            with error:
                return "", f"{error.code} {error.headers['Retry-After']} {error.read().decode()}"

    with concurrent.futures.ThreadPoolExecutor(len(visitors)) as pool:
        presses = [pool.submit(press, visitor) for visitor in visitors]
        turned_away = next(concurrent.futures.as_completed(presses)).result()
        # Whoever runs the function is not done yet, and pages and replay answer all the same.
        assert not [done for done in presses if done.done() and done.result()[0]]
        visitor = demo.visitor()
        replay = re.search(r'\breplay="([^"]+)"', visitor.get("/shared/"))[1]
        assert visitor.get(replay)
        assert not [done for done in presses if done.done() and done.result()[0]]
        answers = [done.result() for done in presses]
    assert re.match("503 [0-9]+ .*8 .* at the moment", turned_away[1], re.DOTALL)
    assert sum(1 for path, _ in answers if path) == 8
    demo.stop()


@pytest.mark.parametrize(
    ("host", "shown", "reached"),
    [
        ("::1", "http://[::1]:{port}/,", ["::1"]),
        ("::", "http://[::1]:{port}/ and on every address of this host,", ["::1", "127.0.0.1"]),
        ("0.0.0.0", "http://127.0.0.1:{port}/ and on every address", ["127.0.0.1"]),  # noqa: S104  # what is tested
    ],
)
def test_the_address_that_is_shown_can_be_opened(start_demo, host, shown, reached):
    demo = start_demo(DEMO_HOST=host)
    assert f"Demo on {shown.format(port=demo.port)}" in demo.log()
    for address in reached:
        with socket.create_connection((address, demo.port), timeout=30):
            pass
        connection = http.client.HTTPConnection(address, demo.port, timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
    demo.stop()


def test_an_ipv6_address_that_is_taken_is_named_so_that_it_can_be_read(start_demo, refusal):
    demo = start_demo(DEMO_HOST="::1")
    said = refusal(DEMO_HOST="::1", DEMO_PORT=str(demo.port))
    assert f"[::1]:{demo.port} cannot be used" in said
    demo.stop()


def test_the_demo_of_another_checkout_has_a_cookie_of_its_own(demo, start_demo, kit_dir):
    other = start_demo(DEMO_KIT_DIR=kit_dir)
    visitor = demo.visitor()
    path = visitor.post("/job/")
    # Browsers send a host's cookies to each of its ports.
    visitor.url, home = other.url, visitor.url
    elsewhere = visitor.post("/job/")
    visitor.url = home
    assert visitor.status_of(path) == 200
    visitor.url = other.url
    assert visitor.status_of(elsewhere) == 200
    other.stop()


@pytest.mark.parametrize(
    ("process", "told"),
    [
        ("demo_app", signal.SIGINT),
        ("demo_app", signal.SIGTERM),
        ("demo_app.server.web", signal.SIGTERM),  # no terminal reaches it
    ],
)
def test_one_that_is_ended_while_it_begins_says_nothing(tmp_path, process, told):
    description = tmp_path / "instance.json"
    os.mkfifo(description)
    command = [sys.executable, "-m", process, "0", str(os.getpid())]
    environment = os.environ | {"DEMO_KIT_DIR": str(tmp_path)}
    with (
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as started,
        description.open("w"),  # it is read now, and does not end
    ):
        started.send_signal(told)
        said = started.communicate(timeout=60)[1]
    assert (said, started.returncode) == ("", 0)


def test_ctrl_c_of_a_terminal_reaches_only_the_process_that_ends_the_others(demo):
    groups = [os.getpgid(demo.process_of(module)) for module in ("web", "worker")]
    assert os.getpgid(demo.process.pid) not in groups


def test_a_demo_that_has_lost_its_instance_says_so_less_and_less_often(start_demo, kit_dir):
    demo = start_demo(DEMO_KIT_DIR=kit_dir)
    gone = kit_dir.rename(kit_dir.with_name("gone"))
    os.kill(demo.process_of("web"), signal.SIGKILL)
    for seconds in (2, 4):
        said = f"web has ended ({os.EX_CONFIG}); it starts again in {seconds} s."
        demo.eventually(lambda said=said: said in demo.log(), said, 120)
    assert "Traceback" not in demo.log()
    assert "`make up`" in demo.log()
    gone.rename(kit_dir)
    assert demo.eventually(lambda: demo.visitor().status_of("/") == 200, "no page any more", 120)
    demo.stop()
