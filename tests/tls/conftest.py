"""An instance as `make up TLS=1` leaves it; `make test-tls` makes one and runs these tests."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _with_tls(instance: dict[str, Any]) -> None:
    """Fail, and never skip, on an instance without the edge."""
    assert instance["tls"], "this instance has no TLS: `make test-tls` makes one that has"
