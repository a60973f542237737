"""Configuration: the instance's description and secrets, then ``DEMO_*`` variables."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping

ENVIRONMENTS = ("development", "production")
LOGS = ("text", "json")
SECRET_KEY_LENGTH = 32
TOKEN_LENGTH = 20
MAKE_ONE = "; make one: python3 -c 'import secrets; print(secrets.token_hex(32))'"
LOOPBACK = ("127.0.0.1", "::1")

# What DEMO_NAME may be: the default, then the least and the greatest value.
NUMBERS: dict[str, tuple[float, float, float]] = {
    "PORT": (5000, 1, 65535),
    "HEALTH_PORT": (9464, 0, 65535),
    "WORKERS": (1, 1, 16),
    "BEHIND_PROXY": (0, 0, 1),
    "PAUSE_SECONDS": (2.0, 0.0, 60.0),
    "JOB_STEPS": (40, 1, 100_000),
    "JOB_STEP_SECONDS": (0.25, 0.0, 60.0),
    "JOB_TIMEOUT_SECONDS": (120, 1, 3600),
    "DEVICES_WORKERS": (8, 1, 64),
    "DEVICES_LOGINS_PER_SECOND": (20.0, 0.1, 1000.0),
    "DEVICES_CONNECT_SECONDS": (8.0, 1.0, 120.0),
    "DEVICES_TIMEOUT_SECONDS": (600, 1, 86_400),
    "AUDIT_PORT_SECONDS": (2.0, 0.1, 30.0),
}


class ConfigurationError(Exception):
    """The demo cannot start; the message says what is missing and what to do."""


def defaults() -> dict[str, object]:
    """Return the configuration that needs no instance."""
    return {
        **{name: default for name, (default, _, _) in NUMBERS.items()},
        "ENV": "development",
        "HOST": "127.0.0.1",
        "HEALTH_HOST": "127.0.0.1",
        "HEALTH_TOKEN": None,
        "LOG": "text",
        "QUEUE": "demo",
        "KIT_DIR": str(Path(__file__).parent.parent / ".kit"),
        "MAX_CONTENT_LENGTH": 64 * 1024,  # its forms are small
        "SESSION_COOKIE_NAME": None,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": None,
        # A page may stay open for longer than the hour that is the default.
        "WTF_CSRF_TIME_LIMIT": None,
    }


def check(config: MutableMapping[str, Any]) -> None:
    """Check what ``DEMO_*`` variables have set; an empty one counts as not set.

    Raises:
        ConfigurationError: A value is not one of those that are allowed.
    """
    for name, default in defaults().items():
        if config[name] == "":
            config[name] = default
    for name, choices in (("ENV", ENVIRONMENTS), ("LOG", LOGS)):
        if config[name] not in choices:
            valid = ", ".join(choices)
            raise ConfigurationError(
                f"DEMO_{name}={config[name]} is not known; valid are: {valid}."
            )
    for name, (default, least, greatest) in NUMBERS.items():
        value = config[name]
        whole = isinstance(default, int)
        known = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not (known and least <= value <= greatest):
            kind = "a whole number" if whole else "a number"
            raise ConfigurationError(
                f"DEMO_{name}={value} is not allowed; {kind} from {least} to {greatest} is."
            )
    _check_health(config)
    if config["SESSION_COOKIE_SECURE"] is None:
        # Production has HTTPS in front; over plain HTTP there would be no session.
        config["SESSION_COOKIE_SECURE"] = config["ENV"] == "production"


def _check_health(config: MutableMapping[str, Any]) -> None:
    token = config["HEALTH_TOKEN"]
    if token is not None:
        # One of only digits would have been read as a number.
        config["HEALTH_TOKEN"] = token = os.environ.get("DEMO_HEALTH_TOKEN", str(token))
        _check_length("HEALTH_TOKEN", token, TOKEN_LENGTH)
    if token is None and config["HEALTH_HOST"] not in LOOPBACK:
        raise ConfigurationError(
            f"DEMO_HEALTH_HOST={config['HEALTH_HOST']} is not allowed without a DEMO_HEALTH_TOKEN: "
            f"others could read it. Allowed are {' and '.join(LOOPBACK)}; or{MAKE_ONE.lstrip(';')}."
        )


def _check_length(name: str, value: str, least: int) -> None:
    if len(value) < least:
        raise ConfigurationError(
            f"DEMO_{name} has {len(value)} characters; {least} are needed{MAKE_ONE}."
        )


def load_instance(config: MutableMapping[str, Any]) -> None:
    """Add what the instance has to ``config``.

    Args:
        config: Holds ``KIT_DIR``; receives ``INSTANCE`` (the content of instance.json),
            ``REDIS_PUBLISHER`` and ``REDIS_JOBS`` (keyword arguments of ``redis.Redis``),
            ``SENTINEL`` (how to find the primary; empty where there is one server), ``WEBDIS_URL``,
            ``WEBDIS_URLS`` (of all nodes, with spaces between) and, if they are not set,
            ``SESSION_COOKIE_NAME`` and, where the instance has a Prometheus, ``HEALTH_HOST``
            and ``HEALTH_TOKEN``.

    Raises:
        ConfigurationError: The instance is not there.
    """
    kit_dir = Path(str(config["KIT_DIR"]))
    try:
        instance = json.loads((kit_dir / "instance.json").read_text(encoding="utf-8"))
        for user in ("publisher", "jobs"):
            password = (kit_dir / "secrets" / f"redis_{user}").read_text(encoding="utf-8").strip()
            arguments = {
                "host": instance["redis"]["host"],
                "port": instance["redis"]["port"],
                "username": user,
                "password": password,
            }
            config[f"REDIS_{user.upper()}"] = arguments | _tls(instance, kit_dir)
        config["SENTINEL"] = _sentinel(instance, kit_dir) if instance.get("sentinels") else {}
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{error.filename} is not there: run `make up` first, or set DEMO_KIT_DIR to the "
            f".kit folder of a checkout that has an instance."
        ) from None
    if config["SESSION_COOKIE_NAME"] is None:
        # Browsers send a host's cookies to each of its ports: each checkout has its own.
        checkout = hashlib.sha256(str(kit_dir.resolve()).encode()).hexdigest()[:8]
        config["SESSION_COOKIE_NAME"] = f"webdis_kit_{checkout}"
    if (host := instance.get("demo_health_host")) and config["HEALTH_TOKEN"] is None:
        # The instance has a Prometheus, which asks from there, with a token.
        token = (kit_dir / "secrets" / "demo_health").read_text(encoding="utf-8").strip()
        config.update(HEALTH_HOST=host, HEALTH_TOKEN=token)
    config["INSTANCE"] = instance
    config["WEBDIS_URL"] = instance["webdis"]["url"]
    config["WEBDIS_URLS"] = " ".join(
        node["webdis"] for node in instance.get("nodes") or [{"webdis": config["WEBDIS_URL"]}]
    )


def _tls(instance: dict[str, Any], kit_dir: Path) -> dict[str, Any]:
    if not instance["redis"]["tls"]:
        return {}
    return {"ssl": True, "ssl_ca_certs": str(kit_dir / "tls" / "ca.pem")}


def _sentinel(instance: dict[str, Any], kit_dir: Path) -> dict[str, Any]:
    password = (kit_dir / "secrets" / "sentinel_client").read_text(encoding="utf-8").strip()
    return {
        "addresses": [tuple(address) for address in instance["sentinels"]],
        "arguments": {"username": "client", "password": password, **_tls(instance, kit_dir)},
        "master_name": instance["master_name"],
    }


def load_secret_key(config: MutableMapping[str, Any]) -> None:
    """Add the key that signs sessions, which has to outlive a restart.

    Args:
        config: Holds ``KIT_DIR``, ``ENV`` and perhaps ``SECRET_KEY``, which comes from
            ``DEMO_SECRET_KEY``. Outside of production one is made on first use and kept.

    Raises:
        ConfigurationError: In production there is none, or it is too short.
    """
    given = config["SECRET_KEY"]
    if given is not None:
        # A key of only digits would have been read as a number.
        config["SECRET_KEY"] = given = os.environ.get("DEMO_SECRET_KEY", str(given))
        _check_length("SECRET_KEY", given, SECRET_KEY_LENGTH)
    if given is None and config["ENV"] == "production":
        raise ConfigurationError(f"DEMO_ENV=production needs DEMO_SECRET_KEY{MAKE_ONE}.")
    if given is None:
        config["SECRET_KEY"] = _kept_secret(Path(str(config["KIT_DIR"])) / "secrets" / "flask")


def _kept_secret(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if len(kept := path.read_text(encoding="ascii")) >= SECRET_KEY_LENGTH:
            return kept
        path.unlink()  # whoever made it was interrupted
        return _kept_secret(path)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret := secrets.token_hex(SECRET_KEY_LENGTH))
    return secret
