#!/usr/bin/python
"""Tell which networks an interface of this system is in, and from where Ansible reaches it."""

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

import ipaddress
import json
import os

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"address": {"type": "str", "default": ""}}, supports_check_mode=True
    )
    address = module.params["address"]

    # Become may take it away.
    login = os.environ.get("SSH_CONNECTION", "").split() or ["", ""]
    client = {"client": login[0].partition("%")[0], "client_port": login[-1]}

    def ask(*arguments: str) -> list[dict]:
        return json.loads(module.run_command(["ip", "-j", *arguments], check_rc=True)[1] or "[]")

    if address:
        select = ["to", address]
    else:
        routes = ask("-4", "route", "show", "default") or ask("-6", "route", "show", "default")
        if not routes:
            module.fail_json(msg="There is no default route: set firewall_lan_address.", **client)
        select = ["dev", routes[0]["dev"]]
    links = [link for link in ask("address", "show", *select) if link.get("addr_info")]
    if not links:
        module.fail_json(
            msg=f"firewall_lan_address is {address}; allowed is an address of this server.",
            **client,
        )
    subnets = {
        ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}").network
        for link in ask("address", "show", "dev", links[0]["ifname"])
        for entry in link.get("addr_info", [])
        if "local" in entry
    }
    module.exit_json(
        changed=False,
        subnets=[str(net) for net in sorted(subnets, key=lambda n: (n.version, n))],
        **client,
    )


if __name__ == "__main__":
    main()
