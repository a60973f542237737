"""A server's Prometheus, asked over its port."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request

from tests.demo_server import eventually


class Prometheus:
    """Asks the Prometheus of a server.

    Args:
        address: Of the server.
    """

    def __init__(self, address):
        self._url = f"http://{address}:9090/api/v1"

    def get(self, path, **arguments):
        query = urllib.parse.urlencode(arguments)
        url = f"{self._url}/{path}?{query}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  # the server's
            return json.load(answer)["data"]

    def query(self, expression):
        """Return the samples of an instant query."""
        return self.get("query", query=expression)["result"]

    def value(self, expression):
        """Return the only value of a query."""
        ((_, value),) = [sample["value"] for sample in self.query(expression)]
        return float(value)

    def firing(self):
        return {
            alert["labels"]["alertname"]
            for alert in self.get("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def wait_for(self, alert):
        eventually(lambda: alert in self.firing(), f"{alert} does not fire", 60)

    def wait_for_none(self):
        eventually(lambda: not self.firing(), f"{self.firing()} does not end", 90)
