"""Each query of the dashboard gives data, on a Prometheus that asks a server and a demo."""

from __future__ import annotations

import pytest

from tests.demo_server import eventually
from tests.docs.test_dashboard import load


@pytest.fixture(scope="module")
def busy(start_demo, instance):
    """Have a demo that does something, where Prometheus expects it."""
    settings = {"DEMO_HEALTH_PORT": 9464, "DEMO_PAUSE_SECONDS": 0}
    demo = start_demo(**settings)
    assert instance["demo_health_host"] in demo.log()
    demo.visitor().post("/shared/")
    yield
    demo.stop()


@pytest.mark.usefixtures("busy")
def test_each_query_gives_data(prometheus):
    queries = load().queries()
    assert len(queries) > 20
    for query in queries:
        eventually(lambda query=query: prometheus.query(query), f"nothing for {query}", 60)
