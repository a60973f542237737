"""The roles' own variables and templates, so that this instance is set up as a server is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kit.checkout import CACHE_DIR, KIT_DIR, NAME, ROOT

if TYPE_CHECKING:
    from pathlib import Path

LOCAL_DIR = KIT_DIR / "local"

KIT_ANSIBLE_DIR = ROOT / "kit" / "ansible"
GROUP_VARS = KIT_ANSIBLE_DIR / "group_vars" / "all"
ROLES_DIR = ROOT / "ansible" / "roles"
SOURCE_ARCHIVE = ROOT / "ansible" / "plugins" / "modules" / "source_archive.py"
WEBDIS_CONFIG = ROLES_DIR / "webdis" / "files" / "webdis_config.py"
ROLES = ("source_build", "redis", "webdis")  # later ones may use what earlier ones define
# What an instance is made from: another state of these makes another instance.
INPUTS = (GROUP_VARS, SOURCE_ARCHIVE, *(ROLES_DIR / role for role in ROLES))

ADDRESS = "127.0.0.1"
HOST = "server"
# Of the open files that a process may have: for Redis itself, logs and the pool.
FILES_KEPT = 1024


def subscribers(open_files: int) -> int:
    """Return how many pages a limit of open files leaves room for; the roles' 8,000 at most.

    Args:
        open_files: The hard limit of this user's processes.
    """
    return max(1, min(8000, (open_files - FILES_KEPT) // 2))


class Variables:
    """What Ansible would know of this host, in its own order of precedence.

    Args:
        sources: ``auto``, or ``upstream`` to refuse the package of Webdis.
        open_files: The hard limit of open files of this user's processes.
    """

    def __init__(self, sources: str, open_files: int) -> None:
        # Ansible makes its folder on import, which otherwise were in the user's home.
        os.environ.update(
            ANSIBLE_HOME=str(LOCAL_DIR / "ansible"),
            ANSIBLE_CONFIG=str(KIT_ANSIBLE_DIR / "ansible.cfg"),
        )
        from ansible.parsing.dataloader import DataLoader  # noqa: PLC0415  # takes half a second
        from ansible.plugins.loader import init_plugin_loader  # noqa: PLC0415
        from ansible.utils.collection_loader import AnsibleCollectionConfig  # noqa: PLC0415

        if not AnsibleCollectionConfig.collection_finder:  # it warns where it is asked twice
            init_plugin_loader([])
        self._loader = DataLoader()
        self._loader.set_basedir(str(KIT_DIR))
        files = [
            *(ROLES_DIR / role / "defaults" / "main.yml" for role in ROLES),
            *sorted(GROUP_VARS.glob("*.yml")),
            *(ROLES_DIR / role / "vars" / "main.yml" for role in ROLES),
        ]
        self._variables: dict[str, Any] = {}
        for file in files:
            self._variables |= self._loader.load_from_file(str(file), trusted_as_template=True)
        self._variables |= _of_this_host(open_files) | {"kit_sources": sources}

    def set(self, **variables: object) -> None:
        """Set variables, as an extra variable of Ansible would."""
        self._variables |= variables

    def value(self, name: str) -> Any:  # noqa: ANN401  # whatever a variable can hold
        """Return a variable's value, its templates resolved."""
        return self._evaluate(f"{{{{ {name} }}}}")

    def render(self, template: Path) -> str:
        """Return what a role's task ``template`` would write."""
        self.set(kit_template=str(template))
        return str(self._evaluate("{{ lookup('ansible.builtin.template', kit_template) }}"))

    def _evaluate(self, expression: str) -> Any:  # noqa: ANN401
        from ansible.template import Templar, trust_as_template  # noqa: PLC0415

        return Templar(loader=self._loader, variables=self._variables).template(
            trust_as_template(expression)
        )


def _of_this_host(open_files: int) -> dict[str, object]:
    """Return the facts of this host and what differs from a server with systemd."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "inventory_hostname": HOST,
        "groups": {"redis_primary": [HOST], "redis_replicas": [], "webdis": [HOST]},
        "hostvars": {HOST: {"instance_address": ADDRESS}},
        "ansible_facts": {
            "processor_nproc": os.cpu_count() or 1,
            "memtotal_mb": memory // 1024**2,
        },
        # Relative to the loader's folder: a password's file may have no space in its path.
        "kit_dir": ".",
        "kit_cache_dir": str(CACHE_DIR),
        "instance_provider": "local",
        "instance_name": NAME,
        "instance_address": ADDRESS,
        "instance_bridge": None,
        "instance_subnet": "127.0.0.0/8",
        "firewall_rules": None,
        "redis_bind": ADDRESS,
        "webdis_listen_address": ADDRESS,
        "webdis_max_subscribers": subscribers(open_files),
        # By TCP: a home on NFS has no Unix sockets.
        "webdis_redis_host": ADDRESS,
        "_redis_socket": "",
        "_redis_supervised": "no",
        "_redis_config_dir": ".",
        "_redis_data_dir": ".",
        # No TLS, no systemd, and no symbols for a debugger.
        "_redis_make_features": "DEBUG=",
        # Who waits for it is one developer: 10 µs more a message, and a quarter less to build.
        "_redis_optimization": "-O1",
    }
