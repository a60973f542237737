"""What shows how the instance is: ``make up METRICS=1``, or ``full`` with Prometheus and alerts."""

from __future__ import annotations

import os
from typing import Any

from kit.checkout import PROVISIONED_FILE, of_server
from kit.errors import KitError

VALID = ("0", "1", "full")


def wanted() -> str | None:
    """Return what there is to be: as ``METRICS`` says, else what there was.

    Returns:
        One of `VALID`; None where there is none and none is asked for, so that nobody pays
        for it who has none.

    Raises:
        KitError: ``METRICS`` is not one of `VALID`; exit code 2.
    """
    given = os.environ.get("METRICS") or ""
    if given and given not in VALID:
        raise KitError(f"METRICS={given} is not known; valid are: {', '.join(VALID)}.", 2)
    if given:
        return given
    before: str | None = of_server("kit_metrics")
    # What was being taken away when that run was cut off is taken away again.
    return None if before == "0" and PROVISIONED_FILE.exists() else before


def variables(chosen: str | None) -> dict[str, Any]:
    """Return what the playbook is told.

    Args:
        chosen: As `wanted` returns it.
    """
    return {} if chosen is None else {"kit_metrics": chosen}
