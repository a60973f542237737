"""Prometheus as it runs on the instance, which was made with ``METRICS=full``."""

from __future__ import annotations

import pytest

from tests.demo_server import eventually
from tests.metrics.prometheus import Prometheus


@pytest.fixture(scope="session")
def prometheus(instance):
    """Return the instance's Prometheus; nothing is wrong."""
    prometheus = Prometheus(instance["address"])
    eventually(lambda: len(prometheus.query("up == 1")) >= 2, "exporters do not answer")
    return prometheus
