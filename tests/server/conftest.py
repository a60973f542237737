"""What tests that change the instance share: the playbook that `make up` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import provisioning

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


@pytest.fixture(scope="session")
def provision(instance: dict[str, Any]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs `make up`'s playbook with options and variables."""
    assert instance["address"]
    return provisioning.provision
