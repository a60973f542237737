#!/usr/bin/python
"""What ansible-doc says of the action plugin of this name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lan_subnets
short_description: The IPv4 and IPv6 networks of one interface
description:
  - Asks C(ip) which networks one interface of the server is in. Changes nothing, needs no rights.
version_added: 0.1.0
author: The webdis-kit authors (@webdis-kit)
options:
  address:
    description: An address of the interface. Empty is the interface of the default route.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Read the LAN's networks
  webdis_kit.server.lan_subnets:
    address: 192.168.1.20
  register: lan
"""

RETURN = r"""
subnets:
  description: The networks, link-local ones too; IPv4 first.
  type: list
  elements: str
  returned: always
  sample: [192.168.1.0/24, "fe80::/64"]
client:
  description: Address from which Ansible is logged in by SSH, or empty. Without a zone.
  type: str
  returned: always, also where it fails
  sample: 192.168.1.10
client_port:
  description: TCP port of the server that it came to, or empty.
  type: str
  returned: always, also where it fails
  sample: "22"
"""
