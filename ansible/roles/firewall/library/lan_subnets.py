#!/usr/bin/python3
"""Tell which networks an interface of this system is in."""

from __future__ import annotations

import ipaddress
import json

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: lan_subnets
short_description: The IPv4 and IPv6 networks of one interface
description: Changes nothing.
options:
  address:
    description: An address of the interface. Empty is the interface of the default route.
    type: str
    default: ""
"""

RETURN = r"""
subnets: {description: The networks, link-local ones too, type: list, returned: always}
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"address": {"type": "str", "default": ""}}, supports_check_mode=True
    )
    address = module.params["address"]

    def ask(*arguments: str) -> list[dict]:
        return json.loads(module.run_command(["ip", "-j", *arguments], check_rc=True)[1] or "[]")

    if address:
        select = ["to", address]
    else:
        routes = ask("-4", "route", "show", "default") or ask("-6", "route", "show", "default")
        if not routes:
            module.fail_json(msg="There is no default route: set firewall_lan_address.")
        select = ["dev", routes[0]["dev"]]
    links = [link for link in ask("address", "show", *select) if link.get("addr_info")]
    if not links:
        module.fail_json(
            msg=f"firewall_lan_address is {address}; allowed is an address of this server."
        )
    subnets = {
        ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}").network
        for link in ask("address", "show", "dev", links[0]["ifname"])
        for entry in link.get("addr_info", [])
        if "local" in entry
    }
    module.exit_json(
        changed=False, subnets=[str(net) for net in sorted(subnets, key=lambda n: (n.version, n))]
    )


if __name__ == "__main__":
    main()
