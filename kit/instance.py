"""One instance from creation to summary, whatever provides it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from kit import container, lab, nodes, providers, tls, verify
from kit.checkout import (
    CACHE_DIR,
    ENV_FILE,
    INSTANCE,
    INSTANCE_FILE,
    INSTANCES_DIR,
    INVENTORY_FILE,
    KIT_DIR,
    NAME,
    PROVISIONED_FILE,
    ROOT,
    SSH_CONFIG,
    host_name,
    node_name,
    read_instance,
    secret,
    write_private,
)
from kit.errors import KitError
from kit.local.provider import Local
from kit.run_logged import Phases, run_logged
from kit.ssh import login, ssh
from kit.system import wait_while

if TYPE_CHECKING:
    from pathlib import Path

    from kit.machine import Machine, MachineProvider

MESSAGE_SECONDS = 60.0
# Ansible makes a process for each task, and in each Python would look through all that the first
# one has in memory for cycles. Without that a run takes a sixth less time, and no more memory.
ANSIBLE_PLAYBOOK = [
    *(str(ROOT / ".venv/bin/python"), "-P", "-c"),
    "import gc; gc.disable(); from ansible.cli.playbook import main; main()",
]
ORIGINS = {
    "upstream": "built from the release archive",
    "debian-pool": "built from Debian's copy of the release",
    "package": "THE DISTRIBUTION'S PACKAGE, as no release archive was found",
}


@dataclass(frozen=True)
class Wanted:
    """What a person wants of the server.

    Args:
        sources: ``auto``, or ``upstream`` to refuse the package of Webdis.
        tls_settings: How browsers reach the edge; None for no edge and no TLS.
        routers: Of the lab; None for no lab.
        nodes: How many servers.
        metrics: What shows how they are: ``1``, ``full`` with Prometheus, ``0`` to take it away;
            None for nothing, so that nobody pays for it who has none.
    """

    sources: str
    tls_settings: tls.Settings | None
    routers: int | None
    nodes: int = 1
    metrics: str | None = None


def up(provider: MachineProvider | Local, wanted: Wanted) -> None:
    """Create, start and provision this checkout's instance, and print its summary.

    Args:
        provider: What makes the machine.
        wanted: What the person wants.

    Raises:
        KitError: A step failed; its log has been shown.
    """
    phases = Phases()
    if isinstance(provider, Local):
        _up_local(provider, wanted, phases)
        return
    provision(provider, _machines(provider, wanted.nodes, phases), wanted, phases)


def _up_local(provider: Local, wanted: Wanted, phases: Phases) -> None:
    watched = wanted.metrics not in (None, "0")
    for asked, setting, reason in (
        (wanted.routers, f"LAB={wanted.routers}", "which makes no network namespaces"),
        (wanted.nodes > 1, f"NODES={wanted.nodes}", "which has one Redis"),
        (watched, f"METRICS={wanted.metrics}", "which has no units (`make status` tells of it)"),
        (wanted.tls_settings, "TLS=1", "which has no edge"),
    ):
        if asked:
            raise KitError(
                f"{setting} is not for PROVIDER=local, {reason}: `make destroy`, then "
                f"`make up PROVIDER=container {setting}`, or another provider.",
                2,
            )
    changed = provider.up(wanted.sources, phases)
    if changed:
        with phases.phase("first message"):
            _wait_for_message(provider)
    finish()
    if changed:
        _say_seconds(phases)
    else:
        print("Nothing had to be changed.")


def _wait_for_message(provider: Local) -> None:
    instance = read_instance()

    def problem() -> str:
        try:
            verify.message_arrives(instance)
        except verify.FAILURES as error:
            return str(error) or type(error).__name__
        return ""

    wait_while(
        problem,
        MESSAGE_SECONDS,
        lambda found: (
            f"No message came through within {MESSAGE_SECONDS:.0f} s ({found}). "
            f"{provider.where_to_look()} See docs/troubleshooting.md#failed-checks."
        ),
    )


def _say_seconds(phases: Phases) -> None:
    print("Seconds:   " + ", ".join(f"{k} {v:.1f}" for k, v in phases.seconds.items()))


def create(provider: MachineProvider) -> None:
    """Create and start a machine, and write what Ansible reaches it by.

    Args:
        provider: What makes the machine.

    Raises:
        KitError: A step failed; its log has been shown.
    """
    machines = _machines(provider, nodes.wanted(), Phases())
    _connect(provider, machines, [{} for _ in machines])


def _machines(provider: MachineProvider, number: int, phases: Phases) -> list[Machine]:
    KIT_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Made by this user before root writes its part of the cache.
    (CACHE_DIR / "archives").mkdir(parents=True, exist_ok=True)
    with phases.phase(provider.name):
        return provider.up(number)


def _connect(
    provider: MachineProvider, machines: list[Machine], variables: list[dict[str, Any]]
) -> None:
    write_ssh_config(machines, KIT_DIR)
    _write_inventory(machines, variables)
    for node in range(1, len(machines) + 1):
        nodes.wait_for_ssh(provider, node)


def provision(
    provider: MachineProvider, machines: list[Machine], wanted: Wanted, phases: Phases
) -> None:
    """Provision running machines, and print the summary.

    Args:
        provider: What made the machines.
        machines: One for each node.
        wanted: What the person wants.
        phases: Takes the seconds of each step.

    Raises:
        KitError: A step failed; its log has been shown.
    """
    with phases.phase("SSH"):
        variables = told(wanted, machines)
        # Before the inventory, by which the number of routers is remembered.
        PROVISIONED_FILE.unlink(missing_ok=True)
        _connect(provider, machines, variables)
    with phases.phase("provisioning"):
        recap = run_logged(
            "Provisioning",
            [
                *ANSIBLE_PLAYBOOK,
                *("--inventory", str(INVENTORY_FILE)),
                *("--extra-vars", f"kit_sources={wanted.sources}"),
                "kit/ansible/server.yml",
            ],
            log="provision",
            environment={"ANSIBLE_CONFIG": str(ROOT / "kit/ansible/ansible.cfg")},
            on_failure=journal,
            hint="Run the same command again once the cause is removed: it goes on from there. "
            "docs/troubleshooting.md has the usual causes.",
        )
    finish()
    _say_seconds(phases)
    servers = [line for line in recap if "changed=" in line and line.startswith("server")]
    if servers and all("changed=0" in line for line in servers):
        print("Nothing had to be changed.")


def told(wanted: Wanted, machines: list[Machine]) -> list[dict[str, Any]]:
    """Return for each node what the playbook is told; make the keys and certificates for it."""
    variables = tls.prepare(wanted.tls_settings, [machine.address for machine in machines])
    variables[0] |= lab.variables(wanted.routers)
    if wanted.metrics is not None:
        for of_node in variables:
            of_node["kit_metrics"] = wanted.metrics
    return variables


def finish() -> None:
    """Note that the playbook has run to its end, and print the summary."""
    instance = read_instance()
    lab.finish(instance)
    _write_env(instance)
    PROVISIONED_FILE.touch(mode=0o600)
    summary()


def _write_env(instance: dict[str, Any]) -> None:
    """Write ``.kit/env``, by which a shell tells a program where the instance is."""
    redis = instance["redis"]
    scheme, query = ("rediss", f"?ssl_ca_certs={tls.CA_FILE}") if redis["tls"] else ("redis", "")
    lines = [f"export WEBDIS_URL='{instance['webdis']['url']}'\n"]
    for name, user in (("REDIS_URL", "publisher"), ("JOBS_URL", "jobs")):
        password = secret(f"redis_{user}")
        url = f"{scheme}://{user}:{password}@{redis['host']}:{redis['port']}{query}"
        lines.append(f"export {name}='{url}'\n")
    if instance["lab"]:
        lines.append(f"export LAB_SSH_CONFIG='{lab.LAB_DIR / 'ssh_config'}'\n")
    if instance["sentinels"]:
        password = secret("sentinel_client")
        for name, value in {
            "WEBDIS_URLS": " ".join(node["webdis"] for node in instance["nodes"]),
            "SENTINEL_HOSTS": " ".join(host for host, _ in instance["sentinels"]),
            "SENTINEL_PASSWORD": password,
        }.items():
            lines.append(f"export {name}='{value}'\n")
    write_private(ENV_FILE, "".join(lines))


def write_ssh_config(machines: list[Machine], kit_dir: Path) -> None:
    """Write ``.kit/ssh_config`` and the host keys to expect.

    Args:
        machines: One for each node.
        kit_dir: ``KIT_DIR`` as the machine knows it that ssh runs on.
    """
    known_hosts = "".join(
        f"{machine.address} {key}\n" for machine in machines for key in machine.host_keys
    )
    write_private(KIT_DIR / "ssh" / "known_hosts", known_hosts)
    write_private(
        SSH_CONFIG,
        "".join(
            login(
                f"{host_name(node)} {node_name(node)}",
                machine.address,
                "root",
                machine.private_key,
                kit_dir / "ssh" / "known_hosts",
            )
            for node, machine in enumerate(machines, 1)
        ),
    )


def _write_inventory(machines: list[Machine], more: list[dict[str, Any]]) -> None:
    connections = [
        {
            # The alias of ssh_config. Ansible names the connection that it shares after it: with
            # `server` that of one checkout would be taken for another's.
            "ansible_host": node_name(node),
            # Of ssh_config, too. Ansible has to know, or root becomes root by sudo in each task.
            "ansible_user": "root",
            "ansible_ssh_common_args": f"-F {shlex.quote(str(SSH_CONFIG))}",
            "kit_dir": str(KIT_DIR),
            "kit_cache_dir": str(CACHE_DIR),
            **variables,
        }
        for node, variables in enumerate(more, 1)
    ]
    write_private(INVENTORY_FILE, inventory(machines, connections))


def inventory(machines: list[Machine], variables: list[dict[str, Any]]) -> str:
    """Return the inventory of machines that are Redis and Webdis in one, as YAML.

    Args:
        machines: One for each node; the first starts as the primary.
        variables: For each, how Ansible reaches it, and what else the roles are told.
    """
    first, *others = (
        {
            **of_node,
            "ansible_python_interpreter": "/usr/bin/python3",
            "instance_provider": machine.provider,
            "instance_name": machine.name,
            "instance_address": machine.address,
            "instance_bridge": machine.bridge,
            "instance_subnet": machine.subnet,
            "instance_ssh_subnets": machine.ssh_subnets,
        }
        for machine, of_node in zip(machines, variables, strict=True)
    )
    replicas = {host_name(node): host for node, host in enumerate(others, 2)}
    groups = {
        "redis_primary": {"hosts": {"server": first}},
        "redis_replicas": {"hosts": replicas},
        "webdis": {"hosts": dict.fromkeys(["server", *replicas])},
    }
    return str(yaml.safe_dump({"all": {"children": groups}}, sort_keys=False))


def journal() -> str:
    """Return the end of the journal of the services that failed; if none did, of all.

    Empty where the instance cannot be asked.
    """
    script = (
        "all=; failed=;"
        "for unit in redis sentinel webdis nginx; do"
        '  systemctl cat $unit >/dev/null 2>&1 || continue; all="$all $unit";'
        '  systemctl is-active -q $unit || failed="$failed $unit";'
        "done;"
        "for unit in ${failed:-$all}; do journalctl -u $unit -n 20 --no-pager -o short-iso; done"
    )
    hosts = [host_name(node) for node in range(1, nodes.there_are() + 1)]
    return "".join(ssh(host, script).stdout for host in hosts)


def summary() -> None:
    """Print what there is, where it came from and what to type next."""
    instance = read_instance()
    print(f"\nInstance:  {instance['name']} ({instance['provider']}), {instance['address']}")
    for service, title in (("redis", "Redis: "), ("webdis", "Webdis:")):
        entry = instance[service]
        where = entry.get("url") or f"{entry['host']}:{entry['port']}"
        print(f"{title}    {entry['version']} at {where}, {ORIGINS[entry['origin']]}")
    if instance["sentinels"]:
        for node in instance["nodes"]:
            print(f"Node:      {node['name']} at {node['address']}, Webdis at {node['webdis']}")
        port = instance["sentinels"][0][1]
        print(f"Sentinel:  on each of them, port {port}, calls them {instance['master_name']}")
    if instance["webdis"]["origin"] == "package":
        print("           It ignores its own access rules on WebSockets: the Redis user `webdis`,")
        print("           who may SUBSCRIBE and nothing else, is the wall.")
    if instance["tls"]:
        ca = tls.CA_FILE.relative_to(ROOT)
        print(f"Trust:     {ca}, a CA that can vouch only for this instance.")
        print("           Chromium:  certutil -d sql:$HOME/.pki/nssdb -A -n webdis-kit -t C,, \\")
        print(f"                        -i {ca}    (package libnss3-tools)")
        print("           Firefox:   Settings, Certificates, View, Authorities, Import")
        print(f"           curl:      --cacert {ca}")
        print(f"Pages of:  {' '.join(instance['origins'])} may connect (ORIGINS=)")
    if instance.get("lab"):
        routers = instance["lab"]["routers"]
        ports = f"{routers[0]['port']} to {routers[-1]['port']}"
        print(f"Lab:       {len(routers)} routers, SSH on ports {ports}; `make lab` lists them")
    if instance["provider"] == "local":
        print("Without:   firewall, sandboxes, users of their own, TLS: it is for trying out, by")
        print("           this host's own browsers. `make doctor` says what a server needs.")
        print("Next:      make demo, make verify, make down, make destroy")
    else:
        print("Next:      make demo, make verify, make test, make ssh, make destroy")


def destroy() -> None:
    """Remove the instance and what belongs to it below ``.kit``; keep the cache and logs.

    The checkout's other instances, which tests have made, go with its own.
    """
    provider = providers.current()
    existed = provider is not None and provider.destroy()
    if INSTANCE:
        shutil.rmtree(KIT_DIR, ignore_errors=True)
    else:
        for instance_dir in INSTANCES_DIR.glob("*"):
            environment = {**os.environ, "KIT_INSTANCE": instance_dir.name}
            command = [sys.executable, "-m", "kit", "destroy"]
            if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
                raise KitError(
                    f"The instance {instance_dir.name} of this checkout is not removed, and so its "
                    f"own is not either: see above, then run `make destroy` again."
                )
        for name in container.of_this_checkout():  # whose folder is gone
            container.destroy(name)
            print(f"{name} is removed, another instance of this checkout.")
    for path in (INSTANCE_FILE, PROVISIONED_FILE, ENV_FILE, INVENTORY_FILE, SSH_CONFIG):
        path.unlink(missing_ok=True)
    for folder in ("ssh", "secrets", "tls", "lab"):
        shutil.rmtree(KIT_DIR / folder, ignore_errors=True)
    print(f"{NAME} is removed; the cache stays." if existed else "There was no instance.")
