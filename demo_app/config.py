"""Configuration: the instance's description and secrets, then ``DEMO_*`` variables."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping


class ConfigurationError(Exception):
    """The demo cannot start; the message says what is missing and what to do."""


def defaults() -> dict[str, object]:
    """Return the configuration that needs no instance."""
    return {
        "BOOTSTRAP_SERVE_LOCAL": True,
        "KIT_DIR": os.environ.get("KIT_DIR") or str(Path(__file__).parent.parent / ".kit"),
        "PAUSE_SECONDS": 2.0,
        "SECRET_KEY": secrets.token_hex(32),
        "SESSION_COOKIE_SAMESITE": "Lax",
    }


def load_instance(config: MutableMapping[str, object]) -> None:
    """Add where Redis and Webdis are to ``config``.

    Args:
        config: Holds ``KIT_DIR``; receives ``REDIS`` (keyword arguments of
            ``redis.Redis``) and ``WEBDIS_URL``.

    Raises:
        ConfigurationError: The instance is not there.
    """
    kit_dir = Path(str(config["KIT_DIR"]))
    try:
        instance = json.loads((kit_dir / "instance.json").read_text(encoding="utf-8"))
        username = instance["redis"]["username"]
        password = (kit_dir / "secrets" / f"redis_{username}").read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{error.filename} is not there: run `make up` first, or set KIT_DIR to the "
            f".kit folder of a checkout that has an instance."
        ) from None
    arguments = {
        "host": instance["redis"]["host"],
        "port": instance["redis"]["port"],
        "username": username,
        "password": password,
    }
    if instance["redis"]["tls"]:
        arguments |= {"ssl": True, "ssl_ca_certs": str(kit_dir / "tls" / "ca.pem")}
    config["REDIS"] = arguments
    config["WEBDIS_URL"] = instance["webdis"]["url"]
