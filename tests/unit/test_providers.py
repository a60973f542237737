"""Which provider `make up` takes, and what it says about it."""

from __future__ import annotations

import pytest

from kit import providers
from kit.doctor import checks
from kit.doctor.checks import Check
from kit.errors import KitError

NOTHING_MISSING: list[Check] = []
VIRTUALBOX_MISSING = [
    Check("VirtualBox", ok=False, found="not found", command="get it", blocks="tool")
]
ROOT_MISSING = [Check("root", ok=False, found="no sudo", blocks="tool")]
MAKE_MISSING = [Check("make", ok=False, found="not found", blocks="tool")]
BRIDGE_MISSING = [Check("Linux bridge", ok=False, found="no bridge", blocks="hardware")]


@pytest.fixture
def host(monkeypatch):
    """Return a function that says what each provider lacks and what PROVIDER is."""

    def lacking(wanted="auto", existing=None, **obstacles):
        monkeypatch.setenv("PROVIDER", wanted)
        monkeypatch.setattr(providers, "current", lambda: providers.PROVIDERS.get(existing))
        monkeypatch.setattr(
            checks,
            "obstacles",
            lambda name, hardware: [
                check
                for check in obstacles.get(name, NOTHING_MISSING)
                if hardware or check.blocks == "tool"
            ],
        )

    return lacking


def test_auto_takes_the_first_that_can_run_and_says_why_not_the_others(host, capsys):
    host(virtualbox=VIRTUALBOX_MISSING, libvirt=BRIDGE_MISSING)
    assert providers.choose().name == "container"
    said = capsys.readouterr().out
    assert said == (
        "Provider: container (virtualbox: VirtualBox not found; libvirt: Linux bridge no bridge)\n"
    )


def test_auto_prefers_virtualbox_then_libvirt(host):
    host()
    assert providers.choose().name == "virtualbox"
    host(virtualbox=VIRTUALBOX_MISSING)
    assert providers.choose().name == "libvirt"


def test_auto_takes_this_host_itself_where_there_is_nothing_else(host):
    host(virtualbox=VIRTUALBOX_MISSING, libvirt=BRIDGE_MISSING, container=ROOT_MISSING)
    assert providers.choose().name == "local"


def test_auto_keeps_what_the_checkout_has(host, capsys):
    host(existing="container")
    assert providers.choose().name == "container"
    assert "which this checkout's machine is from" in capsys.readouterr().out


def test_a_named_one_says_what_it_lacks_and_how_to_get_it(host):
    host("virtualbox", virtualbox=VIRTUALBOX_MISSING)
    with pytest.raises(
        KitError, match=r"virtualbox cannot run here: VirtualBox: not found.*get it"
    ):
        providers.choose()


def test_a_named_one_is_taken_where_only_hardware_is_in_doubt(host):
    host("libvirt", libvirt=BRIDGE_MISSING)
    assert providers.choose().name == "libvirt"


def test_another_than_the_checkout_has_is_refused(host):
    host("libvirt", existing="container")
    with pytest.raises(KitError, match="`make destroy` it before `make up PROVIDER=libvirt`"):
        providers.choose()


def test_no_provider_at_all(host):
    host(
        virtualbox=VIRTUALBOX_MISSING,
        libvirt=BRIDGE_MISSING,
        container=ROOT_MISSING,
        local=MAKE_MISSING,
    )
    with pytest.raises(KitError, match="`make doctor`"):
        providers.choose()
