"""``python -m kit COMMAND``: what the Makefile's targets call."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from kit import container, instance, lab, nodes, providers, status, tls, verify
from kit.checkout import (
    HOST_ROOT,
    KIT_DIR,
    NAME,
    PROVISIONED_FILE,
    SSH_CONFIG,
    check_name,
    host_name,
    read_instance,
    remembered,
)
from kit.errors import KitError, choice, drop_output
from kit.run_logged import Phases
from kit.vagrant import DATA_DIR, LAN_FILE, Vagrant, machine_on_the_lan

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = ("auto", "upstream")
METRICS = ("0", "1", "full")


def _wanted() -> instance.Wanted:
    """Return what the environment asks for."""
    return instance.Wanted(
        sources=choice("SOURCES", SOURCES, "auto"),
        tls_settings=tls.settings_from_environment(),
        routers=lab.routers_wanted(),
        nodes=nodes.wanted(),
        metrics=choice("METRICS", METRICS) or remembered("kit_metrics"),
    )


def up() -> None:
    """Create what is missing, start it, provision it."""
    wanted = _wanted()
    container.chosen_suite()
    instance.up(providers.choose(), wanted)


def create() -> None:
    """Create and start a container, and leave it empty: for molecule."""
    container.chosen_suite()
    instance.create(container.Container())


def ensure() -> None:
    """Bring the instance up unless it runs and has been provisioned."""
    if not providers.running() or not PROVISIONED_FILE.exists():
        up()


def provision() -> None:
    """Provision the virtual machines that ``vagrant up`` has just started."""
    wanted = _wanted()
    provider = providers.current()
    if not isinstance(provider, Vagrant):
        raise KitError("There is no virtual machine in this checkout; `vagrant up` makes one.")
    instance.provision(provider, provider.machines(), wanted, Phases())


def guest_inventory() -> None:
    """Print the inventory of the virtual machine that this runs in, and its Ansible.

    Writes what its host reaches it by, too, as ``up`` and ``provision`` do on the host.
    """
    wanted = _wanted()
    PROVISIONED_FILE.unlink(missing_ok=True)
    provider = os.environ["PROVIDER"]
    key = HOST_ROOT / DATA_DIR / provider / "private_key"  # where insert_key puts it
    machine = machine_on_the_lan(provider, Path(LAN_FILE).read_text(encoding="utf-8"), key)
    instance.write_ssh_config([machine], HOST_ROOT / ".kit")
    connection = {
        "ansible_connection": "local",
        "kit_dir": str(KIT_DIR),
        "kit_cache_dir": str(KIT_DIR / "cache"),
    }
    (variables,) = instance.told(wanted, [machine])
    print(instance.inventory([machine], [connection | variables]), end="")


def down() -> None:
    """Stop the instance and keep it."""
    provider = providers.current()
    stopped = provider is not None and provider.down()
    print(
        f"{NAME} is stopped; `make up` brings it back." if stopped else f"{NAME} was not running."
    )


def destroy() -> None:
    """Remove the instance, or those whose checkout is gone."""
    if os.environ.get("ORPHANS"):
        names = container.orphans()
        for name in names:
            container.destroy(name)
        print(f"Removed {len(names)} orphaned instance(s). {' '.join(names)}")
        return
    instance.destroy()


def ip() -> None:
    """Print the address of the node that ``NODE`` names, and nothing else."""
    print(read_instance()["nodes"][nodes.chosen() - 1]["address"])


def ssh() -> None:
    """Become an ssh client of the node that ``NODE`` names."""
    if read_instance()["provider"] == "local":
        raise KitError(
            "There is nothing to log in to: with PROVIDER=local, Redis and Webdis run on this host."
        )
    os.execvp("ssh", ["ssh", "-F", str(SSH_CONFIG), host_name(nodes.chosen())])  # noqa: S606  # no shell is wanted


COMMANDS = {
    "up": up,
    "create": create,
    "ensure": ensure,
    "provision": provision,
    "guest-inventory": guest_inventory,
    "guest-finish": instance.finish,
    "down": down,
    "destroy": destroy,
    "status": status.status,
    "journal": lambda: print(instance.journal()),
    "ip": ip,
    "ssh": ssh,
    "node-stop": nodes.stop,
    "node-start": nodes.start,
    "verify": verify.verify,
    "lab": lab.show,
    "lab-fault": lab.fault,
}


# What must not meet itself or another of them in one instance.
CHANGING = ("up", "create", "ensure", "provision", "down", "destroy", "node-stop", "node-start")


@contextlib.contextmanager
def _alone(command: str) -> Iterator[None]:
    """Keep others out of the instance; the commands that this one starts are let in.

    Raises:
        KitError: Another one is at work.
    """
    if command not in CHANGING or os.environ.get("KIT_LOCKED") == str(KIT_DIR):
        yield
        return
    KIT_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(KIT_DIR / "lock", os.O_CREAT | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KitError(
                f"Another command is changing {NAME}: wait until it has ended, then run "
                f"`make {command}` again. "
                f"See docs/troubleshooting.md#another-command-is-changing-it."
            ) from None
        os.environ["KIT_LOCKED"] = str(KIT_DIR)
        yield


def main() -> int:
    """Run one command; return the exit code."""
    parser = argparse.ArgumentParser(prog="kit", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args().command
    try:
        check_name()
        with _alone(command):
            COMMANDS[command]()
        sys.stdout.flush()
    except KitError as error:
        text = textwrap.fill(f"Error: {error}", 100, break_long_words=False, break_on_hyphens=False)
        print(text, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"\nInterrupted; `make {command}` goes on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        drop_output()
        if command in CHANGING:
            print(
                f"Interrupted, as nobody reads the output; `make {command}` goes on from here.",
                file=sys.stderr,
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
