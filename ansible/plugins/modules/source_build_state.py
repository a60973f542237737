#!/usr/bin/python
"""Tell which builds of a program are installed, and what an interrupted run left behind."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_build_state
short_description: Which builds are below a folder
description:
  - Reads what the role M(webdis_kit.server.source_build) has installed. Changes nothing.
  - Half a build is never among the RV(builds).
version_added: 0.1.0
author: The webdis-kit authors (@webdis-kit)
options:
  root:
    description: Folder of the builds.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Read the installed builds
  webdis_kit.server.source_build_state:
    root: /opt/redis
  register: state
"""

RETURN = r"""
libc:
  description: C library of this system.
  type: str
  returned: always
  sample: glibc 2.41
current:
  description: Folder that the link C(current) names; empty where there is none.
  type: str
  returned: always
  sample: 8.0.6
choice:
  description: What was asked for last.
  type: dict
  returned: always
folders:
  description: Names of all folders, of whole builds or not.
  type: list
  elements: str
  returned: always
builds:
  description: Records of the whole builds.
  type: list
  elements: dict
  returned: always
leftovers:
  description: What an interrupted run left.
  type: list
  elements: str
  returned: always
"""

import json
import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

RECORD = {"version", "url", "sha256", "origin", "make", "install", "libc"}


def read(path: Path) -> dict[str, object]:
    """Return a JSON object from a file, or an empty one where there is none that is whole."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["root"])
    entries = sorted(root.iterdir()) if root.is_dir() else []
    leftovers = [entry for entry in entries if entry.suffix in (".partial", ".new")]
    folders = [
        entry
        for entry in entries
        if entry.is_dir() and not entry.is_symlink() and entry not in leftovers
    ]
    builds = [read(entry / ".source_build.json") | {"folder": entry.name} for entry in folders]
    link = root / "current"
    module.exit_json(
        libc=os.confstr("CS_GNU_LIBC_VERSION"),
        current=str(link.readlink()) if link.is_symlink() else "",
        choice=read(root / ".choice.json"),
        folders=[entry.name for entry in folders],
        builds=[build for build in builds if build.keys() >= RECORD],
        leftovers=[str(entry) for entry in leftovers],
    )


if __name__ == "__main__":
    main()
