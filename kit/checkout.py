"""Where this checkout keeps its things, and what its instance is called."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from kit.errors import KitError

ROOT = Path(__file__).resolve().parent.parent
# Empty for the checkout's own instance. One more instance beside it, for tests with TLS,
# a scenario of molecule or a document's reader, has a name; its folder, logs, machine,
# bridge and subnet are its own.
INSTANCE = os.environ.get("KIT_INSTANCE", "")
INSTANCE_NAMES = re.compile(r"[a-z0-9_-]*")
INSTANCES_DIR = ROOT / ".kit" / "instances"
KIT_DIR = INSTANCES_DIR / INSTANCE if INSTANCE else ROOT / ".kit"
LOG_DIR = ROOT / ".kit" / "logs" / INSTANCE
INSTANCE_FILE = KIT_DIR / "instance.json"
PROVISIONED_FILE = KIT_DIR / "provisioned"  # there unless the last run was cut off
ENV_FILE = KIT_DIR / "env"  # how a program reaches the instance, for `source`
INVENTORY_FILE = KIT_DIR / "inventory.yml"
SSH_CONFIG = KIT_DIR / "ssh_config"
SSH_KEY = KIT_DIR / "ssh" / "id_ed25519"
CACHE_DIR = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "webdis-kit"

# This checkout as the host knows it. Where Ansible runs in the virtual machine, ROOT is the
# folder that the host shares with it.
HOST_ROOT = Path(os.environ.get("KIT_HOST_ROOT") or ROOT)

# Two checkouts on one host must not collide, and one checkout must always find
# its own instance again: everything is named after the checkout's path.
CHECKOUT_ID = hashlib.sha256(f"{HOST_ROOT}#{INSTANCE}".rstrip("#").encode()).hexdigest()[:6]
NAME = f"kit-{CHECKOUT_ID}"
BRIDGE = f"wk-{CHECKOUT_ID}"  # Linux allows 15 characters


def node_name(node: int) -> str:
    """Return what a node's machine is called on this host; the first has the instance's name."""
    return NAME if node == 1 else f"{NAME}-{node}"


def host_name(node: int) -> str:
    """Return what a node is called in the inventory and in ``.kit/ssh_config``."""
    return "server" if node == 1 else f"server-{node}"


def check_name() -> None:
    """Check that ``KIT_INSTANCE`` can be part of a path and of a machine's name.

    Raises:
        KitError: It cannot; exit code 2.
    """
    if not INSTANCE_NAMES.fullmatch(INSTANCE):
        raise KitError(
            f"KIT_INSTANCE={INSTANCE} is not allowed; a name of a-z, 0-9, - and _ is, or none for "
            f"the checkout's own instance.",
            2,
        )


def read_instance() -> dict[str, Any]:
    """Return the content of ``.kit/instance.json``.

    Raises:
        KitError: There is no instance, or it was never provisioned to the end, or it is
            that of the folder that this one was copied or moved from.
    """
    try:
        instance: dict[str, Any] = json.loads(INSTANCE_FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        named = f" of the name {INSTANCE}" if INSTANCE else ""
        raise KitError(
            f"There is no instance{named} in this checkout; `make up` makes one."
        ) from None
    if instance["name"] != NAME:
        raise KitError(
            f"{INSTANCE_FILE} is of {instance['name']}, the instance of another folder, which "
            f"this checkout was copied or moved from; `make up` makes one for this folder."
        )
    return instance


def remembered(variable: str) -> Any:  # noqa: ANN401  # whatever a variable can hold
    """Return a variable that the last ``make up`` of this instance has left in the inventory.

    None where there is none, or where what it stands for has been taken away, which 0 does.
    """
    import yaml  # noqa: PLC0415  # `make doctor` runs before there is an environment

    try:
        inventory = yaml.safe_load(INVENTORY_FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    value = inventory["all"]["children"]["redis_primary"]["hosts"]["server"].get(variable)
    # What was being taken away when that run was cut off is taken away again.
    return None if value in (0, "0") and PROVISIONED_FILE.exists() else value


def secret(name: str) -> str:
    """Return a password that the playbook has made on first use."""
    return (KIT_DIR / "secrets" / name).read_text(encoding="utf-8").strip()


def write_private(path: Path, content: str) -> None:
    """Write ``content`` where only the owner can read it, in one step."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    partial.replace(path)
