"""Run the server's playbook, or another, against the instance."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

from kit.checkout import INVENTORY_FILE, ROOT

if TYPE_CHECKING:
    from pathlib import Path

# Facts of the server, which no test changes: only the first run gathers them.
FACTS = tempfile.TemporaryDirectory(prefix="webdis-kit-facts-")
ENVIRONMENT = {
    **os.environ,
    "ANSIBLE_GATHERING": "smart",
    "ANSIBLE_CACHE_PLUGIN": "jsonfile",
    "ANSIBLE_CACHE_PLUGIN_CONNECTION": FACTS.name,
    "ANSIBLE_CONFIG": str(ROOT / "kit/ansible/ansible.cfg"),
    "NO_COLOR": "1",
}


def command(playbook: Path, *options: str, **variables: Any) -> list[str]:
    """Return the command line that runs ``playbook`` with these variables."""
    return [
        str(ROOT / ".venv/bin/ansible-playbook"),
        *("--inventory", str(INVENTORY_FILE)),
        *("--extra-vars", json.dumps(variables)),
        *options,
        str(playbook),
    ]


def provision(
    *options: str, playbook: Path = ROOT / "kit/ansible/server.yml", **variables: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``playbook`` to its end, whatever that is."""
    return subprocess.run(
        command(playbook, *options, **variables),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


def run_action(
    folder: Path, name: str, *options: str, before: tuple[str, ...] = (), **arguments: Any
) -> tuple[int, Any]:
    """Run an action plugin of the collection as Ansible does, for this host.

    Args:
        folder: An empty folder, which is the home folder, too.
        name: The plugin's, without its collection.
        options: Of ansible.
        before: The command line that runs it.
        arguments: The task's.

    Returns:
        Ansible's exit status and what it registers, or what it said where it registered nothing.
    """
    outcome = subprocess.run(
        [
            *(["sudo", "-n"] if os.geteuid() else []),  # only root may su without a password
            *(*before, "env", f"HOME={folder}"),
            *(str(ROOT / ".venv/bin/ansible"), "localhost", "--inventory=localhost,"),
            *("--connection=local", f"--module-name=webdis_kit.server.{name}"),
            *("--tree", str(folder), "--args", json.dumps(arguments), *options),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    file = folder / "localhost"
    return outcome.returncode, json.loads(file.read_text()) if file.exists() else outcome.stderr


def changed(run: subprocess.CompletedProcess[str]) -> int:
    """Return how many tasks of a successful run have changed something."""
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr
    # Ansible puts an error in place of a name that it cannot work out.
    assert not (errors := re.findall(r"^TASK \[.*<.*", run.stdout, re.MULTILINE)), errors
    recap = re.search(r"^server +: .*changed=(\d+)", run.stdout, re.MULTILINE)
    assert recap, run.stdout
    return int(recap[1])
