"""Which provider this checkout has its machine from, or would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.checkout import INSTANCE
from kit.container import Container
from kit.doctor import checks
from kit.errors import KitError, choice
from kit.local.provider import Local
from kit.vagrant import Vagrant

if TYPE_CHECKING:
    from kit.machine import MachineProvider

# In the order in which `auto` tries them.
PROVIDERS: dict[str, MachineProvider | Local] = {
    "virtualbox": Vagrant("virtualbox"),
    "libvirt": Vagrant("libvirt"),
    "container": Container(),
    "local": Local(),
}


def current() -> MachineProvider | Local | None:
    """Return the provider that this checkout has a machine from, if any."""
    return next((provider for provider in _usable().values() if provider.exists()), None)


def _usable() -> dict[str, MachineProvider | Local]:
    """Return the providers for this instance: a checkout has one virtual machine."""
    several = ("container", "local")
    return {name: one for name, one in PROVIDERS.items() if name in several or not INSTANCE}


def running() -> bool:
    """Tell whether this checkout's machine runs."""
    provider = current()
    return provider is not None and provider.running()


def choose() -> MachineProvider | Local:
    """Return the provider for ``make up``, as ``PROVIDER`` says, and print why.

    Raises:
        KitError: The name is not known, this host lacks what it takes, or the checkout
            has a machine of another provider.
    """
    usable = _usable()
    wanted = choice("PROVIDER", ("auto", *usable), "auto")
    existing = current()
    if existing:
        if wanted not in ("auto", existing.name):
            raise KitError(
                f"This checkout has a machine from {existing.name}; `make destroy` it before "
                f"`make up PROVIDER={wanted}`.",
                2,
            )
        print(f"Provider: {existing.name}, which this checkout's machine is from")
        return existing
    if wanted != "auto":
        if obstacles := checks.obstacles(wanted, hardware=False):
            raise KitError(
                f"{wanted} cannot run here: {' '.join(map(str, obstacles))} "
                f"See docs/troubleshooting.md#no-provider-can-run."
            )
        return usable[wanted]
    passed_over: list[str] = []
    for name, provider in usable.items():
        obstacles = checks.obstacles(name, hardware=True)
        if not obstacles:
            why = f" ({'; '.join(passed_over)})" if passed_over else ""
            print(f"Provider: {name}{why}")
            return provider
        passed_over.append(f"{name}: {obstacles[0].name} {obstacles[0].found}")
    raise KitError(
        "No provider can run here; `make doctor` says what is missing and how to get it. "
        "See docs/troubleshooting.md#no-provider-can-run."
    )
