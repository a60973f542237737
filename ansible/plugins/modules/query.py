#!/usr/bin/python
"""What ansible-doc says of the action plugin of this name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: query
short_description: Ask the server a question by its shell
description:
  - Runs a command that only reads. It never reports a change, and it runs in check mode, too.
  - It starts no module of Python on the server. Each of those compiles a good part of Ansible
    again, which takes some six times as long as the question.
version_added: 0.1.0
author: The webdis-kit authors (@webdis-kit)
options:
  cmd:
    description: What C(/bin/sh) is to run. It has no standard input of its own.
    type: str
    required: true
seealso:
  - module: ansible.builtin.raw
  - module: ansible.builtin.shell
"""

EXAMPLES = r"""
- name: Query redis-server
  webdis_kit.server.query:
    cmd: dpkg-query --show --showformat='${Version}' redis-server
  register: package
  failed_when: package.rc > 1
"""

RETURN = r"""
stdout:
  description: What the command printed, without line ends at its end.
  type: str
  returned: always
  sample: '5:8.0.2-3'
stdout_lines:
  description: The same by lines.
  type: list
  elements: str
  returned: always
  sample: ['5:8.0.2-3']
stderr:
  description: What it said of errors. With SSH, that may hold a line of SSH itself.
  type: str
  returned: always
  sample: 'dpkg-query: no packages found matching redis-server'
rc:
  description: Its exit status. The task fails where that is not 0.
  type: int
  returned: always
  sample: 0
"""
