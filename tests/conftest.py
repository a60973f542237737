"""What every layer of tests shares: the running instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kit.checkout import KIT_DIR, SSH_CONFIG, read_instance
from kit.errors import KitError
from kit.verify import publisher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis
    from testinfra.host import Host


@pytest.fixture(scope="session")
def instance() -> dict[str, Any]:
    """Return the instance; without one, tests fail and never skip."""
    try:
        return read_instance()
    except KitError as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def server(instance: dict[str, Any]) -> Host:
    """Return the instance as a testinfra host."""
    import testinfra  # noqa: PLC0415  # unit tests run without it

    assert instance["address"]
    return testinfra.get_host("ssh://server", ssh_config=str(SSH_CONFIG))


@pytest.fixture
def publisher_redis(instance: dict[str, Any]) -> Iterator[redis.Redis]:
    """Return a connection as the publisher."""
    connection = publisher(instance)
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def secrets_dir() -> Path:
    """Return the folder of passwords."""
    return KIT_DIR / "secrets"
