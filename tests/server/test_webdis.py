"""Webdis as it runs on the instance."""

from __future__ import annotations

import json

import pytest
from websockets.exceptions import ConnectionClosed

from kit.websocket import Page
from tests.demo_server import eventually
from tests.services import restart

DENIED = [
    ["SET", "progress:wall", "x"],
    ["GET", "progress:wall"],
    ["CONFIG", "GET", "*"],
    ["PSUBSCRIBE", "*"],
    ["PUBLISH", "progress:wall", "x"],
    ["UNSUBSCRIBE", "progress:wall"],  # Webdis dies of it
    ["QUIT"],
]
# Asks Webdis itself, past an edge: the status is all that it prints.
STATUS = """python3 -c 'import http.client, sys
asked = http.client.HTTPConnection("127.0.0.1", 7379, timeout=10)
asked.request("GET", sys.argv[1])
print(asked.getresponse().status)' """


def test_its_list_is_subscribe_and_nothing_else(server):
    # What it was started with, and what the next start would take.
    for file in ("/run/webdis/webdis.json", "/etc/webdis/webdis.json"):
        content = json.loads(server.file(file).content_string)
        assert content["acl"] == [{"disabled": ["*"]}, {"enabled": ["SUBSCRIBE"]}]
        assert content["websockets"] is True


@pytest.mark.parametrize("command", DENIED, ids=lambda command: command[0])
def test_http_is_denied(server, command):
    answer = server.run(f"{STATUS} '/{'/'.join(command)}'")
    assert answer.stdout.strip() == "403", answer.stderr


# The source build refuses by its own list. The package applies none on
# WebSockets, so there Redis's refusal comes back, or what Webdis makes of it.
REFUSALS = ("NOPERM", "orbidden", "[false", "Service Unavailable")


def opened(instance):
    """Open a WebSocket, at the second attempt if need be.

    After commands like these, 0.1.9 (the package of Debian 12) leaves every third
    handshake without an answer. Browsers try again too.
    """
    try:
        return Page(instance, open_timeout=5)
    except TimeoutError:
        return Page(instance)


@pytest.mark.parametrize("command", DENIED, ids=lambda command: command[0])
def test_websocket_command_has_no_effect(instance, publisher_redis, command):
    with opened(instance) as page:
        page.send(*command)
        try:
            answer = page.receive(5)
        except (TimeoutError, ConnectionClosed):
            answer = REFUSALS[0]  # no answer is a refusal too: some versions say nothing
    harmless = REFUSALS
    if instance["webdis"]["origin"] == "package" and command == ["QUIT"]:
        # Redis refuses it to nobody, whatever their rights: it ends one's own connection.
        harmless = (*REFUSALS, '{"QUIT":[true,"OK"]}')
    assert any(one in answer for one in harmless), answer
    # A string under that key would make this raise WRONGTYPE.
    assert publisher_redis.xrange("progress:wall") == []


def test_a_page_may_subscribe_to_any_channel(instance):
    # Webdis dies of a SUBSCRIBE that Redis refuses, so no name may be one that it refuses.
    for channel in ("progress:x", "other", "*", "__sentinel__:hello"):
        with opened(instance) as page:
            page.subscribe(channel)


def test_restarts_with_redis(server):
    before = server.run("systemctl show -P MainPID webdis").stdout.strip()
    restart(server, "redis")
    eventually(lambda: server.service("webdis").is_running, "Webdis stays away")
    assert server.run("systemctl show -P MainPID webdis").stdout.strip() != before
    assert (
        server.run(
            "timeout 20 sh -c 'until ss -Hltn sport = :7379 | grep -q .; do sleep 0.1; done'"
        ).rc
        == 0
    )


@pytest.mark.parametrize("service", ["redis", "webdis"])
def test_sandbox(server, service):
    answer = server.run(f"systemd-analyze security --no-pager {service}.service")
    exposure = float(answer.stdout.split("exposure level for")[1].split(":")[1].split()[0])
    assert exposure <= 2.0, answer.stdout
    # The figure hardly moves for one wall that is gone: so what the process meets is tried.
    pid = server.check_output(f"systemctl show -P MainPID {service}")
    for folder in ("/usr", "/etc", "/var/lib"):
        written = server.run(f"nsenter --target {pid} --mount touch {folder}/probe")
        assert "Read-only file system" in written.stderr, folder
    status = server.file(f"/proc/{pid}/status").content_string
    for line in ("CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in status
