"""``python -m kit COMMAND``: what the Makefile's targets call."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap

from kit import container, instance, tls, verify
from kit.checkout import INSTANCE_FILE, NAME, SSH_CONFIG, read_instance
from kit.errors import KitError

PROVIDERS = ("auto", "container")
SOURCES = ("auto", "upstream")


def _choice(variable: str, default: str, valid: tuple[str, ...]) -> str:
    """Return an environment variable's value if it is one of ``valid``."""
    value = os.environ.get(variable) or default
    if value not in valid:
        raise KitError(f"{variable}={value} is not known; valid are: {', '.join(valid)}.", 2)
    return value


def up() -> None:
    """Create what is missing, start it, provision it."""
    provider = _choice("PROVIDER", "auto", PROVIDERS)
    sources = _choice("SOURCES", "auto", SOURCES)
    suite = os.environ.get("SUITE") or "trixie"
    container.check_suite(suite)
    if provider == "auto":
        print("Provider: container (the one provider that this version has)")
    instance.up(suite, sources, tls.settings_from_environment())


def ensure() -> None:
    """Bring the instance up unless it runs and has been provisioned."""
    if container.pid() is None or not INSTANCE_FILE.exists():
        up()


def down() -> None:
    """Stop the instance and keep it."""
    stopped = container.down()
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
    """Print the address alone."""
    print(read_instance()["address"])


def ssh() -> None:
    """Become an ssh client of the instance."""
    read_instance()
    os.execvp("ssh", ["ssh", "-F", str(SSH_CONFIG), "server"])  # noqa: S606  # no shell is wanted


COMMANDS = {
    "up": up,
    "ensure": ensure,
    "down": down,
    "destroy": destroy,
    "status": instance.status,
    "summary": instance.summary,
    "ip": ip,
    "ssh": ssh,
    "verify": verify.verify,
}


def main() -> int:
    """Run one command; return the exit code."""
    parser = argparse.ArgumentParser(prog="kit", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args().command
    try:
        COMMANDS[command]()
    except KitError as error:
        print(textwrap.fill(f"Error: {error}", 100, break_long_words=False), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"\nInterrupted; `make {command}` goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
