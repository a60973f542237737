"""``make test-roles``: the molecule scenarios, each in containers of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile

from kit.checkout import ROOT
from kit.container import chosen_suite
from kit.errors import KitError, choice
from kit.run_logged import run_logged

MOLECULE_DIR = ROOT / "ansible" / "molecule"


def names() -> list[str]:
    """Return the scenarios; ``default`` first, because others reuse what it has built."""
    found = [file.parent.name for file in MOLECULE_DIR.glob("*/molecule.yml")]
    return sorted(found, key=lambda name: (name != "default", name))


def run() -> None:
    """Run the scenarios, or the one in ``SCENARIO``, on the suite in ``SUITE``.

    Raises:
        KitError: One failed; its log and the journal of its services have been shown.
    """
    suite = chosen_suite()
    wanted = choice("SCENARIO", names())
    for name in [wanted] if wanted else names():
        with tempfile.TemporaryDirectory() as state:
            _run_one(name, suite, state)


def _run_one(name: str, suite: str, state: str) -> None:
    environment = {
        "SUITE": suite,
        "KIT_INSTANCE": f"{name}-{suite}",
        "MOLECULE_GLOB": "ansible/molecule/*/molecule.yml",
        "MOLECULE_EPHEMERAL_DIRECTORY": state,
        "MOLECULE_COMMAND_BORDERS": "false",
        "NO_COLOR": "1",
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
    }

    if suite == "forky":  # its systemd knows only cgroups v2, whatever this host has
        environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"

    def run(*command: str) -> str:
        # A process of its own: its KIT_INSTANCE is the scenario's.
        answer = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            print(f"{answer.stdout}{answer.stderr}")
        return answer.stdout

    try:
        lines = run_logged(
            f"Scenario {name} ({suite})",
            ["molecule", "test", "--scenario-name", name, "--destroy", "never"],
            log=f"molecule-{name}",
            environment=environment,
            # Molecule itself would have removed the instance by now.
            on_failure=lambda: run(sys.executable, "-m", "kit", "journal"),
            hint=f"SCENARIO={name} runs it alone.",
        )
    finally:
        run("molecule", "destroy", "--scenario-name", name)
    last = changes_of_last_dry_run(lines)
    if last:
        raise KitError(
            f"Scenario {name} ({suite}): a dry run of what is done already would change "
            f"{last} things; they are the lines `changed:` at the end of its log."
        )


def changes_of_last_dry_run(lines: list[str]) -> int:
    """Return how many tasks the last of several dry runs would have changed.

    Molecule itself asks only that it succeeds. The first one, on a machine with
    nothing, changes things by its nature.

    Args:
        lines: What molecule printed.
    """
    starts = [number for number, line in enumerate(lines) if "> check] Executing" in line]
    if len(starts) < 2:  # that is the first one alone
        return 0
    recap = next(line for line in lines[starts[-1] :] if re.match(r"server +: ok=", line))
    return int(recap.split("changed=")[1].split()[0])


if __name__ == "__main__":
    try:
        run()
    except KitError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
