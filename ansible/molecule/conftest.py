"""The scenarios' tests use the fixtures of all other tests, with the scenario's instance."""

from __future__ import annotations

from tests.conftest import instance, publisher_redis, secrets_dir, server

__all__ = ["instance", "publisher_redis", "secrets_dir", "server"]
