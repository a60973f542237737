"""``make test-cures``: what others do to a host, and what docs/troubleshooting.md says of it.

Each program is the real one, on a container that stands in for the host. What the kit does there
fails, until what the document says has been typed.
"""

from __future__ import annotations

import json
import re
import shlex
import socket

import pytest

from kit.checkout import ROOT
from tests.surroundings.desktop import on_host

INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends"
# By what the document calls them: the package, and how it is switched on.
PROGRAMS = {
    # It drops what is forwarded where it is the one that has switched forwarding on.
    "Docker": ("docker.io", "sysctl -qw net.ipv4.ip_forward=0; systemctl restart docker"),
    "ufw": ("ufw", "ufw allow 22/tcp; ufw --force enable"),
    "firewalld": ("firewalld", "systemctl restart firewalld"),
}
CONNECT = "python3 -c 'import socket; socket.create_connection((\"{}\", {}), 5)'"
UPDATE = "sudo kit/kit/apt_get.sh -o APT::Update::Error-Mode=any -o Acquire::Retries=0 update"
PROXY = "http://127.0.0.1:8888"
# As where only the proxy is let out.
ONLY_PROXY = """nft -f - <<NFT
table inet only_proxy {
    chain output {
        type filter hook output priority 0;
        oifname host0 tcp dport { 80, 443 } meta skuid != tinyproxy reject
    }
}
NFT"""


def section(heading: str) -> str:
    """Return what the document says below a heading."""
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def succeeds(command: str) -> bool:
    """Tell whether a command succeeds, as a person with sudo says it."""
    return on_host(f"if {command} >/dev/null 2>&1; then echo yes; fi", "person") == "yes\n"


def cures(program: str) -> list[str]:
    """Return the commands that the document has for a firewall."""
    text = section("No network in the container")
    entry = re.search(rf"^- {program}: (.*?)(?=\n- |\n\n)", text, re.MULTILINE | re.DOTALL)
    assert entry
    return re.findall(r"`(sudo [^`]+)`", entry[1])


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_cure_lets_the_container_out(program):
    package, on = PROGRAMS[program]
    on_host(f"set -e; {INSTALL} {package}; {on}")
    print(on_host(f"dpkg-query --show {package}"))
    on_host("cd kit && python3 -m kit create", "person")
    (gateway,) = (route["gateway"] for route in json.loads(on_host("ip -j route show default")))
    (bridge,) = (
        link["ifname"]
        for link in json.loads(on_host("ip -j link show type bridge"))
        if link["ifname"].startswith("wk-")
    )
    with socket.create_server((gateway, 0)) as outside:
        connect = CONNECT.format(gateway, outside.getsockname()[1])
        reach = f"ssh -F kit/.kit/ssh_config server {shlex.quote(connect)}"
        on_host(connect)
        assert not succeeds(reach), f"{program} is not in the way"
        for cure in cures(program):
            on_host(cure.replace("BRIDGE", bridge), "person")
        assert succeeds(reach)


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("host")
def test_apt_goes_by_the_proxy():
    on_host(f"set -e; {INSTALL} tinyproxy\n{ONLY_PROXY}")
    ours = f"http_proxy={PROXY} https_proxy={PROXY}"
    assert not succeeds(f"{ours} {UPDATE}"), "sudo passes it on by itself"
    sudo, apt = re.findall(r"```text\n(.*?)```", section("Corporate proxy"), re.DOTALL)
    for file, line, update in (
        ("/etc/sudoers.d/proxy", sudo, f"{ours} {UPDATE}"),
        ("/etc/apt/apt.conf.d/proxy", apt.replace("http://proxy.example.org:3128", PROXY), UPDATE),
    ):
        on_host(f"echo {shlex.quote(line)} >{file}")
        assert succeeds(update)
        on_host(f"rm {file}")
        assert not succeeds(update)
