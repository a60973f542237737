"""Run the server's playbook, or another, against the instance."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

from kit.checkout import INVENTORY_FILE, ROOT
from kit.instance import ANSIBLE_PLAYBOOK

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
        *ANSIBLE_PLAYBOOK,
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


def run_action(folder: Path, name: str, *options: str, **arguments: Any) -> tuple[int, Any]:
    """Run an action plugin of the collection as Ansible does, for this host.

    Args:
        folder: An empty folder, which is the home folder, too.
        name: The plugin's, without its collection.
        options: Of ansible.
        arguments: The task's.

    Returns:
        Ansible's exit status and what it registers, or what it said where it registered nothing.
    """
    outcome = subprocess.run(
        [
            *(["sudo", "-n"] if os.geteuid() else []),  # only root may su without a password
            *("env", f"HOME={folder}"),
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


def act(
    name: str,
    *,
    before: tuple[str, ...] = (),
    check_mode: bool = False,
    diff: bool = False,
    variables: dict[str, Any] | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """Run an action plugin of the collection for this host, as root, in this process.

    It takes a hundredth of what ``run_action`` does, which starts Ansible.

    Args:
        name: The plugin's, without its collection.
        before: The command line that runs its commands.
        check_mode: Whether it is a dry run.
        diff: Whether it tells what changes.
        variables: Those of the task.
        arguments: The task's.

    Returns:
        What the task registers.
    """
    from ansible.errors import AnsibleError  # noqa: PLC0415  # most tests do without
    from ansible.parsing.dataloader import DataLoader  # noqa: PLC0415
    from ansible.playbook.play_context import PlayContext  # noqa: PLC0415
    from ansible.playbook.task import Task  # noqa: PLC0415
    from ansible.template import Templar  # noqa: PLC0415
    from ansible.utils.collection_loader import AnsibleCollectionConfig  # noqa: PLC0415

    from ansible.plugins import loader as plugins  # noqa: PLC0415

    if not AnsibleCollectionConfig.collection_finder:
        plugins.init_plugin_loader()
    loader, context = DataLoader(), PlayContext()
    words = {f"webdis_kit.server.{name}": arguments, "check_mode": check_mode, "diff": diff}
    connection = plugins.connection_loader.get("ansible.builtin.local", context)
    connection.set_options(var_options={})
    as_root = ["sudo", "-n"] if os.geteuid() else []
    execute = connection.exec_command
    connection.exec_command = lambda command, *rest, **more: execute(
        shlex.join([*as_root, *before, "sh", "-c", command]), *rest, **more
    )
    action = plugins.action_loader.get(
        f"webdis_kit.server.{name}",
        task=Task.load(words, loader=loader),
        connection=connection,
        play_context=context,
        loader=loader,
        templar=Templar(loader, variables=variables),
        shared_loader_obj=plugins,
    )
    try:
        answer: dict[str, Any] = action.run(task_vars={})
    except AnsibleError as error:
        return {"failed": True, "msg": str(error)}
    return answer


def changed(run: subprocess.CompletedProcess[str]) -> int:
    """Return how many tasks of a successful run have changed something."""
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr
    # Ansible puts an error in place of a name that it cannot work out.
    assert not (errors := re.findall(r"^TASK \[.*<.*", run.stdout, re.MULTILINE)), errors
    recap = re.search(r"^server +: .*changed=(\d+)", run.stdout, re.MULTILINE)
    assert recap, run.stdout
    return int(recap[1])
