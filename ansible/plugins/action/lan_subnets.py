"""Tell which networks an interface is in; the module of this name documents it."""

from __future__ import annotations

import ipaddress
import json
import shlex
from typing import Any, ClassVar

from ansible_collections.webdis_kit.server.plugins.action import query

# A line each. Become may take away the first.
LIST = """echo "$SSH_CONNECTION"
echo "$(ip -j -4 route show default)"
echo "$(ip -j -6 route show default)"
echo "$(ip -j address show to {address} 2>/dev/null)"
ip -j address show"""


class ActionModule(query.ActionModule):
    """Asks `ip` for the networks of one interface."""

    ARGUMENTS: ClassVar = {"address": {"type": "str", "default": ""}}

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return what the task registers."""
        address = options["address"]
        answer = self.ask(LIST.format(address=shlex.quote(address)))
        login, *tables = answer["stdout_lines"] or [""]
        words = login.split() or [""]
        client = {"client": words[0].partition("%")[0], "client_port": words[-1]}
        if answer["rc"]:
            return answer | client
        routes4, routes6, has_address, links = (json.loads(table or "[]") for table in tables)
        devices = [route["dev"] for route in routes4 or routes6]
        if address:
            devices = [link["ifname"] for link in has_address if link.get("addr_info")]
        subnets = {
            ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}").network
            for link in links
            if link.get("ifname") in devices[:1]
            for entry in link.get("addr_info", [])
            if "local" in entry
        }
        if not subnets:
            msg = "There is no default route: set firewall_lan_address."
            if address:
                msg = f"firewall_lan_address is {address}; allowed is an address of this server."
            return client | {"failed": True, "msg": msg}
        ordered = sorted(subnets, key=lambda network: (network.version, network))
        return client | {"changed": False, "subnets": [str(network) for network in ordered]}
