"""The page of status, where the server has metrics: it shows Webdis, too."""

from __future__ import annotations

import html
import json
import re
import urllib.request

from tests.demo_server import eventually

TOKEN = "a token of twenty characters or more"


def seen(demo):
    """Return what the page shows."""
    url = f"{demo.health_url}/status/"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310  # the demo's
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        page = answer.read().decode()
    return json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', page)[1]))


def test_memory_and_restarts_of_webdis_are_shown(server, instance, start_demo):
    # With a token of its own it listens on loopback, and not where Prometheus asks the demo.
    demo = start_demo(DEMO_HEALTH_TOKEN=TOKEN)
    (before,) = eventually(lambda: seen(demo).get("webdis"), "no numbers of Webdis")
    assert before["node"] == instance["nodes"][0]["name"]
    assert 0 < before["memory_bytes"] < before["memory_limit_bytes"] == 256 << 20
    at = int(server.check_output("date +%s"))
    server.check_output("systemctl kill --signal=KILL --kill-who=main webdis")

    def news():
        now = seen(demo)
        restarts = [of["restarts"] for of in now["webdis"]]
        entries = [entry for entry in now["news"] if "Webdis" in entry["what"]]
        return restarts == [before["restarts"] + 1] and entries and entries[0]["at"] >= at - 1

    eventually(news, "nobody has noticed", 60)
    words = f"Webdis on {before['node']} was started again"
    assert words in [entry["what"] for entry in seen(demo)["news"]]
