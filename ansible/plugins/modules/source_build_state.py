#!/usr/bin/python
"""What ansible-doc says of the action plugin of this name, which does the work."""

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
