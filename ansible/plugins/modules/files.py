#!/usr/bin/python
"""What ansible-doc says of the action plugin of this name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Write the folders and files of a service
description:
  - Asks for all of them at once and writes those that are otherwise, by the server's shell.
    With a module of Python for each, a service of eight files takes as many seconds.
  - They are written in their order, folders first. Each file is written beside its place, checked,
    and then moved there. The first that is refused ends it.
  - Supports check mode and diffs.
version_added: 0.1.0
author: The webdis-kit authors (@webdis-kit)
options:
  folders:
    description: Folders. Those above them are made, too, with mode C(0755).
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Its path.
        type: path
        required: true
      owner:
        description: The user whose it is.
        type: str
        default: root
      group:
        description: The group whose it is.
        type: str
        default: root
      mode:
        description: Its permissions, in octal digits.
        type: str
        default: "0755"
  files:
    description: Files.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Its path. A link there is replaced, and not what it points to.
        type: path
        required: true
      owner:
        description: The user whose it is.
        type: str
        default: root
      group:
        description: The group whose it is.
        type: str
        default: root
      mode:
        description: Its permissions, in octal digits.
        type: str
        default: "0644"
      content:
        description: What is in it. This or O(files[].template) is required.
        type: str
      template:
        description: A template that makes what is in it, as for M(ansible.builtin.template).
        type: str
      validate:
        description: A command of C(/bin/sh) that fails where the file, C(%s) in it, is not valid.
        type: str
        default: ""
      secret:
        description: Whether nothing of it may be shown, in a diff or of what the check says.
        type: bool
        default: false
  absent:
    description: Files to remove, as patterns of C(/bin/sh).
    type: list
    elements: str
    default: []
seealso:
  - module: ansible.builtin.copy
  - module: ansible.builtin.template
"""

EXAMPLES = r"""
- name: Write nginx.conf
  webdis_kit.server.files:
    folders:
      - dest: /etc/edge
        group: www-data
        mode: "0750"
    files:
      - dest: /etc/edge/nginx.conf
        template: nginx.conf.j2
        group: www-data
        mode: "0640"
        validate: nginx -t -q -c %s
    absent: [/etc/edge/*.pem]
"""

RETURN = r"""
written:
  description: The paths of those that were otherwise and were written.
  type: list
  elements: str
  returned: always
  sample: [/etc/edge/nginx.conf]
removed:
  description: The paths of those that were there and were removed.
  type: list
  elements: str
  returned: always
  sample: [/etc/edge/key.pem]
"""
