"""How this host logs in to an instance: ssh_config, and commands on a node."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from kit.checkout import SSH_CONFIG
from kit.system import ask

if TYPE_CHECKING:
    from pathlib import Path

COMMAND_SECONDS = 60.0


def make_key(file: Path, comment: str) -> str:
    """Return a key's public part; make the key where it is missing."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)]
        subprocess.run(command, check=True)
    return file.with_suffix(".pub").read_text(encoding="utf-8").strip()


def login(hosts: str, address: str, user: str, key: Path, known_hosts: Path) -> str:
    """Return the entry of an ssh_config.

    Args:
        hosts: Names for it.
        address: Of the machine.
        user: Who logs in.
        key: File of the key that lets them in.
        known_hosts: File of the host keys to expect.
    """
    # In a value of ssh_config, `%` begins a token.
    key_file, known_hosts_file = (str(path).replace("%", "%%") for path in (key, known_hosts))
    return (
        f"Host {hosts}\n"
        f"  HostName {address}\n"
        f"  User {user}\n"
        f'  IdentityFile "{key_file}"\n'
        f"  IdentitiesOnly yes\n"
        f'  UserKnownHostsFile "{known_hosts_file}"\n'
        f"  StrictHostKeyChecking yes\n"
        f"  LogLevel ERROR\n"
    )


def ssh(
    host: str, *command: str, script: str | None = None, timeout_seconds: float = COMMAND_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run a command on a node.

    Args:
        host: As ``.kit/ssh_config`` calls it.
        command: Is put together to one line for its shell.
        script: For the command's standard input.
        timeout_seconds: For all of it; a node that hangs answers with exit code 255, as one
            that cannot be reached.
    """
    line = ["ssh", "-F", str(SSH_CONFIG), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", host]
    try:
        given = {} if script is None else {"input": script}
        return ask([*line, *command], timeout=timeout_seconds, **given)
    except subprocess.TimeoutExpired:
        problem = f"{host} has not answered within {timeout_seconds:.0f} s"
        return subprocess.CompletedProcess(line, 255, "", problem)
