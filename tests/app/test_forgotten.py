"""A publisher that is forgotten before its run has an end leaves no connection behind."""

from __future__ import annotations

import gc
import os
import secrets
from pathlib import Path

from webdis_progress import Progress


def sockets():
    """Return how many sockets this process has open."""
    links = Path("/proc/self/fd").iterdir()
    return sum(os.path.realpath(link).partition(":")[0].endswith("socket") for link in links)


def test_a_forgotten_publisher_closes_its_connection(publisher_redis):
    gc.collect()
    before = sockets()
    progress = Progress(publisher_redis, f"progress:{secrets.token_hex(16)}")
    progress.message("and then nobody cared")
    assert sockets() == before + 1
    del progress
    gc.collect()
    assert sockets() == before
