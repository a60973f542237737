"""The lab of routers that an instance may have: ``make up LAB=6``, ``make lab``."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import Any

from kit.checkout import (
    HOST_ROOT,
    KIT_DIR,
    ROOT,
    read_instance,
    remembered,
    write_private,
)
from kit.errors import KitError, choice
from kit.ssh import login, make_key, ssh

FEWEST_ROUTERS, MOST_ROUTERS = 2, 20
FAULTS = ("hang", "refuse", "truncate", "slow", "link-down", "none")
LAB_DIR = KIT_DIR / "lab"
KEY = LAB_DIR / "id_ed25519"


def routers_wanted() -> int | None:
    """Return how many routers there are to be: as ``LAB`` says, else as many as there are.

    Returns:
        The number; 0 takes them away; None where there are none and none are asked for, so
        that nobody pays for a lab who has none.

    Raises:
        KitError: ``LAB`` is not a number that is allowed; exit code 2.
    """
    given = os.environ.get("LAB") or ""
    if not given:
        remembered_number: int | None = remembered("lab_routers")
        return remembered_number
    number = int(given) if re.fullmatch(r"[0-9]{1,4}", given) else -1
    if number != 0 and not FEWEST_ROUTERS <= number <= MOST_ROUTERS:
        raise KitError(
            f"LAB={given} is not allowed; a number of routers from {FEWEST_ROUTERS} to "
            f"{MOST_ROUTERS} is, or 0 to take the lab away.",
            2,
        )
    return number


def variables(routers: int | None) -> dict[str, Any]:
    """Return what the role ``lab`` is told; on first use, make the key that logs in.

    Args:
        routers: As `routers_wanted` returns it.
    """
    if routers is None:
        return {}
    if routers == 0:
        return {"lab_routers": 0}
    return {"lab_routers": routers, "lab_authorized_keys": [make_key(KEY, "lab")]}


def finish(instance: dict[str, Any]) -> None:
    """Write what one logs in to the routers with; where there are none, remove it.

    Args:
        instance: The content of ``.kit/instance.json``.
    """
    lab = instance.get("lab")
    if not lab:
        shutil.rmtree(LAB_DIR, ignore_errors=True)
        return
    address = instance["address"]
    host_keys = [
        line.split(maxsplit=1)[1]
        for line in (KIT_DIR / "ssh" / "known_hosts").read_text(encoding="utf-8").splitlines()
    ]
    known = [f"[{address}]:{r['port']} {key}\n" for r in lab["routers"] for key in host_keys]
    write_private(LAB_DIR / "known_hosts", "".join(known))
    folder = HOST_ROOT / LAB_DIR.relative_to(ROOT)
    hosts = "".join(f"Host {r['name']}\n  Port {r['port']}\n" for r in lab["routers"])
    write_private(
        LAB_DIR / "ssh_config",
        hosts + login("*", address, lab["user"], folder / KEY.name, folder / "known_hosts"),
    )


def _lab(instance: dict[str, Any]) -> dict[str, Any]:
    lab: dict[str, Any] | None = instance.get("lab")
    if not lab:
        raise KitError("This instance has no lab of routers; `make up LAB=6` adds one.")
    return lab


def _on_the_server(*command: str) -> str:
    """Run the lab's own program on the server; return what it printed."""
    answer = ssh("server", "router-lab", *command)
    if answer.returncode:
        raise KitError(
            f"The lab did not do it: {answer.stderr.strip() or 'no answer'}. "
            f"`make up` brings the lab back."
        )
    return answer.stdout


def show() -> None:
    """Print the routers, how they are linked, which are broken, and how to log in."""
    instance = read_instance()
    lab = _lab(instance)
    faults = json.loads(_on_the_server("faults"))
    print(f"{'Router':8}{'SSH port':10}{'AS':8}{'Loopback':16}{'Announces':18}{'Links to':14}Fault")
    for router in lab["routers"]:
        links = " ".join(interface["neighbor"] for interface in router["interfaces"])
        print(
            f"{router['name']:8}{router['port']:<10}{router['as']:<8}{router['loopback']:16}"
            f"{router['prefix']:18}{links:14}{faults.get(router['name'], 'none')}"
        )
    config = (LAB_DIR / "ssh_config").relative_to(ROOT)
    print(f"Log in:  ssh -F {config} {lab['routers'][0]['name']}")
    print(
        f"         address {instance['address']}, user {lab['user']}, key {KEY.relative_to(ROOT)}"
    )
    print(f"Break:   make lab-fault ROUTER=r1 KIND={'|'.join(FAULTS)}")


def fault() -> None:
    """Break one thing of the router that ``ROUTER`` names, as ``KIND`` says, or mend it."""
    names = [router["name"] for router in _lab(read_instance())["routers"]]
    router, kind = choice("ROUTER", names, None), choice("KIND", FAULTS, None)
    _on_the_server("fault", router, kind)
    print(f"{router} is well again." if kind == "none" else f"{router} has the fault {kind}.")
