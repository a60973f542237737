"""What tests that change the instance share: the playbook that `make up` runs."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from kit.checkout import CACHE_DIR, INVENTORY_FILE, KIT_DIR, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def provision(instance: dict[str, Any]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs site.yml with options of ansible-playbook and variables."""
    assert instance["address"]

    def run(*options: str, **variables: object) -> subprocess.CompletedProcess[str]:
        places = {"kit_dir": str(KIT_DIR), "kit_cache_dir": str(CACHE_DIR)}
        return subprocess.run(
            [
                ROOT / ".venv/bin/ansible-playbook",
                "--inventory",
                INVENTORY_FILE,
                "ansible/site.yml",
                "--extra-vars",
                json.dumps(places | variables),
                *options,
            ],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run
