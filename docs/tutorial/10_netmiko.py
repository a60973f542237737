"""Read the configuration of each router, one after the other; say nothing until all is read."""

import os
from pathlib import Path

from netmiko import ConnectHandler

SSH_CONFIG = Path(os.environ["LAB_SSH_CONFIG"])
LOGIN = {
    "device_type": "cisco_ios",  # FRRouting's command line is like it
    "ssh_config_file": SSH_CONFIG,  # address, port and user of each name
    "use_keys": True,
    "key_file": SSH_CONFIG.with_name("id_ed25519"),
    "ssh_strict": True,  # talk to the routers that came with the instance, to no other
    "alt_host_keys": True,
    "alt_key_file": SSH_CONFIG.with_name("known_hosts"),
}

for name in ("r1", "r2", "r3", "r4", "r5", "r6"):
    with ConnectHandler(host=name, **LOGIN) as connection:
        print(name, len(connection.send_command("show running-config").splitlines()), "lines")
