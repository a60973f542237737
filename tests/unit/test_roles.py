"""What the roles say about themselves: specifications, defaults, README, and refusals."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess

import pytest
import yaml

from kit.checkout import ROOT
from kit.instance import ANSIBLE_PLAYBOOK

ANSIBLE = ROOT / "ansible"


def load_role_docs():
    spec = importlib.util.spec_from_file_location("role_docs", ANSIBLE / "role_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


role_docs = load_role_docs()
ROLES = role_docs.roles()


def read(file):
    return yaml.safe_load(file.read_text()) if file.exists() else {}


def playbook(*arguments, cwd=ANSIBLE, inventory="localhost,"):
    return subprocess.run(
        [*ANSIBLE_PLAYBOOK, "--inventory", inventory, *arguments],
        cwd=cwd,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "kit/ansible/ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_roles_are_found():
    names = {role.name for role in ROLES}
    assert names >= {"build_host", "source_build", "redis", "webdis", "firewall", "systemd_service"}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_specifications_agree(role):
    options = read(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = read(role / "defaults/main.yml")
    described = {name: option["default"] for name, option in options.items() if "default" in option}
    assert defaults == described
    for name, option in options.items():
        assert name.startswith(f"{role.name}_")
        assert ("default" in option) != option.get("required", False)
        assert option["type"]
        assert option["description"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_other_variables_are_private(role):
    for name in read(role / "vars/main.yml"):
        assert name.startswith("_")
    for file in role.glob("tasks/*.yml"):
        for name in re.findall(r"register: (\S+)", file.read_text()):
            assert name.startswith("_"), file


def test_apt_is_waited_for_and_given_up_in_minutes():
    texts = [file.read_text() for role in ROLES for file in role.glob("tasks/*.yml")]
    asking = [text for text in texts if "update_cache: true" in text]
    assert asking
    for text in asking:
        for setting in ("lock_timeout: 300 ", "update_cache_retries: 1 "):
            assert text.count(setting) == text.count("update_cache: true"), text


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_readme_is_current(role):
    written = (role / "README.md").read_text()
    made = role_docs.readme(role, role_docs.by_hand(role))
    assert written == made, "`make role-docs` writes it again"
    for heading in ("## Playbook", "## Tags", "## What it does not do", "## Variables"):
        assert heading in written


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Return what one run of Ansible says of the playbooks in the README files.

    To start it takes longer than all of them. The first that does not parse ends it.
    """
    files = []
    for role in ROLES:
        example = re.search(r"```yaml\n(.*?)```", (role / "README.md").read_text(), re.DOTALL)
        files.append(tmp_path_factory.mktemp(role.name) / f"{role.name}.yml")
        files[-1].write_text(example[1])
    return playbook("--syntax-check", *map(str, files))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_readme_has_a_playbook_that_parses(role, examples):
    assert examples.returncode == 0, examples.stdout + examples.stderr
    assert f"/{role.name}.yml\n" in examples.stdout


WEBDIS = {"webdis_redis_password": "x" * 43}
EDGE = {
    "webdis_edge_server_name": "push.example.org",
    "webdis_edge_certificate": "/certificate.pem",
    "webdis_edge_private_key": "/key.pem",
}
USER = {"name": "app", "password": "x" * 20, "rules": "+ping"}
FACTS = {"memtotal_mb": 1024, "distribution": "Debian", "distribution_major_version": "13"}
FEDORA = FACTS | {"distribution": "Fedora", "distribution_major_version": "41"}
SENTINEL = {
    "sentinel_master_name": "app",
    "sentinel_primary": {"host": "198.18.0.2", "port": 6379},
    "sentinel_quorum": 2,
    "sentinel_redis_username": "sentinel",
    "sentinel_redis_password": "x" * 20,
    "sentinel_peer_password": "x" * 20,
}
# Role, variables, and what the one sentence says: the variable, its value, what is allowed.
MISTAKES = {
    "build_host_system": (
        "build_host",
        {"facts": FEDORA},
        "build_host_system runs Fedora 41, which is not supported; supported are",
    ),
    "redis_port": ("redis", {"redis_port": 70000}, "redis_port is 70000; allowed are 1 to 65535"),
    "redis_maxmemory": (
        "redis",
        {"redis_maxmemory": "much"},
        "redis_maxmemory is 'much'; allowed is a number with one of the units",
    ),
    "redis_maxmemory_size": (
        "redis",
        {"redis_maxmemory": "4096gb"},
        "redis_maxmemory is 4096gb; allowed are",
    ),
    "redis_maxclients": ("redis", {"redis_maxclients": 0}, "redis_maxclients is 0; allowed are 1"),
    "redis_users_name": (
        "redis",
        {"redis_users": [USER | {"name": "admin"}]},
        "redis_users has the names admin; allowed are letters",
    ),
    "redis_users_password": (
        "redis",
        {"redis_users": [USER | {"password": "short"}]},
        "redis_users has a password of less than 20 characters for app; allowed are 20",
    ),
    "redis_replicaof": (
        "redis",
        {"redis_replicaof": {"host": "h"}},
        "redis_replicaof has host; allowed are none at all or both of host and port",
    ),
    "redis_replication": (
        "redis",
        {"redis_replicaof": {"host": "198.18.0.2", "port": 6379}},
        "redis_replication has nothing; allowed are both of username and password",
    ),
    "redis_min_replicas": (
        "redis",
        {"redis_min_replicas": 1},
        "redis_min_replicas is 1; allowed are 0 and more, and 0 only without redis_replication",
    ),
    "sentinel_master_name": (
        "sentinel",
        {**SENTINEL, "sentinel_master_name": "my servers"},
        "sentinel_master_name is 'my servers'; allowed are letters, digits",
    ),
    "sentinel_primary": (
        "sentinel",
        {**SENTINEL, "sentinel_primary": {"host": "redis.example.org", "port": 6379}},
        "sentinel_primary.host is redis.example.org; allowed is an IP address, and no name",
    ),
    "sentinel_quorum": (
        "sentinel",
        {**SENTINEL, "sentinel_quorum": 0},
        "sentinel_quorum is 0; allowed are 1 and more",
    ),
    "sentinel_down_after_milliseconds": (
        "sentinel",
        {**SENTINEL, "sentinel_down_after_milliseconds": 500},
        "sentinel_down_after_milliseconds is 500; allowed are 1000 and more",
    ),
    "sentinel_peer_password": (
        "sentinel",
        {**SENTINEL, "sentinel_peer_password": "short"},
        "The password of peer has less than 20 characters; allowed are 20 and more",
    ),
    "sentinel_users": (
        "sentinel",
        {**SENTINEL, "sentinel_users": [USER | {"name": "peer"}]},
        "sentinel_users has the names peer; allowed are",
    ),
    "sentinel_tls": (
        "sentinel",
        {**SENTINEL, "sentinel_tls": True},
        "sentinel_tls is true, and sentinel_tls_ca, sentinel_tls_certificate",
    ),
    "redis_tls": (
        "redis",
        {"redis_tls": True},
        "redis_tls is true, and redis_tls_ca, redis_tls_certificate or redis_tls_private_key is",
    ),
    "webdis_port": ("webdis", WEBDIS | {"webdis_port": 0}, "webdis_port is 0; allowed are 1 to"),
    "webdis_installed": (
        "webdis",
        WEBDIS | {"webdis_installed": {"port": 7379}, "webdis_port": 7380},
        "allowed is one Webdis on a server",
    ),
    "webdis_listen_address": (
        "webdis",
        WEBDIS | {"webdis_listen_address": "lan"},
        "webdis_listen_address is 'lan'; allowed is an IPv4 address",
    ),
    "metrics_listen_address": (
        "metrics",
        {"metrics_listen_address": "everywhere"},
        "metrics_listen_address is 'everywhere'; allowed is an IPv4 address",
    ),
    "metrics_prometheus_size": (
        "metrics",
        {"metrics_prometheus_size": "1 GiB"},
        "metrics_prometheus_size is '1 GiB'; allowed is a number with MB, GB or TB",
    ),
    "webdis_threads": (
        "webdis",
        WEBDIS | {"webdis_threads": -1},
        "webdis_threads is -1; allowed are 1 and more, or 0",
    ),
    "webdis_max_subscribers": (
        "webdis",
        WEBDIS | {"webdis_max_subscribers": 0},
        "webdis_max_subscribers is 0; allowed are 1",
    ),
    "webdis_memory_limit": (
        "webdis",
        WEBDIS | {"webdis_memory_limit": "much"},
        "webdis_memory_limit is 'much'; allowed is a number with one of the units K, M, G, T",
    ),
    "webdis_candidates": (
        "webdis",
        WEBDIS
        | {"webdis_candidates": [{"version": "0.1.22", "url": "", "filename": "", "sha256": ""}]},
        "webdis_candidates has the versions 0.1.22; allowed are 0.1.23 and newer",
    ),
    "firewall_subnets": (
        "firewall",
        {"firewall_subnets": ["lan"]},
        "firewall_subnets has lan and firewall_ssh_subnets has ; allowed are IPv4 and IPv6",
    ),
    "firewall_new_connections_per_second": (
        "firewall",
        {"firewall_new_connections_per_second": 0},
        "firewall_new_connections_per_second is 0; allowed are 1 and more",
    ),
    "firewall_ports": (
        "firewall",
        {"firewall_ports": [{"port": 0, "service": "x"}]},
        "firewall_ports has 0; allowed are 1 to 65535",
    ),
    "webdis_edge_certificate": (
        "webdis_edge",
        {"webdis_edge_private_key": "/key.pem"},
        "webdis_edge_certificate is '' and webdis_edge_private_key '/key.pem'; allowed are paths",
    ),
    "webdis_edge_server_name": (
        "webdis_edge",
        EDGE | {"webdis_edge_server_name": "a;b"},
        "webdis_edge_server_name is 'a;b'; allowed is a host name or an IPv4 address",
    ),
    "webdis_edge_origins": (
        "webdis_edge",
        EDGE | {"webdis_edge_origins": ["https://app.example.org/", "http://127.0.0.1:*"]},
        "webdis_edge_origins has https://app.example.org/; allowed are origins such as",
    ),
    "webdis_edge_max_sockets_per_address": (
        "webdis_edge",
        EDGE | {"webdis_edge_max_sockets_per_address": 0},
        "webdis_edge_max_sockets_per_address is 0; allowed are 1 and more",
    ),
    "lab_routers": (
        "lab",
        {"lab_routers": 21},
        "lab_routers is 21; allowed are 2 to 20, or 0 for no lab",
    ),
    "lab_first_port": (
        "lab",
        {"lab_first_port": 80},
        "lab_first_port is 80; allowed are 1024 to 65516",
    ),
    "lab_user": ("lab", {"lab_user": "root"}, "lab_user is 'root'; allowed are lower-case letters"),
    "lab_authorized_keys": (
        "lab",
        {"lab_routers": 2},
        "lab_authorized_keys is empty; allowed are public SSH keys",
    ),
    "source_build_version": (
        "source_build",
        {
            "source_build_name": "redis",
            "source_build_version": "1.0",
            "source_build_candidates": [
                {"version": "2.0", "url": "https://h/a", "filename": "a", "sha256": "0" * 64}
            ],
        },
        "source_build_version of redis is '1.0'; allowed are 2.0",
    ),
    "source_build_name": (
        "source_build",
        {"source_build_name": "..", "source_build_candidates": []},
        "source_build_name is '..'; allowed are lower-case letters",
    ),
    "source_build_candidates": (
        "source_build",
        {
            "source_build_name": "redis",
            "source_build_candidates": [
                {"version": "2.0", "url": "https://h/a", "filename": "a", "sha256": "abc"}
            ],
        },
        'source_build_candidates of redis has [{"filename": "a", "sha256": "abc"',
    ),
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """Return what each mistake's own host of one run said, by the mistake's name."""
    folder = tmp_path_factory.mktemp("mistakes")
    hosts = {
        name: {"ansible_connection": "local", "mistaken_role": role, "facts": FACTS, **variables}
        for name, (role, variables, _) in MISTAKES.items()
    }
    (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    (folder / "playbook.yml").write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "all",
                    "gather_facts": False,
                    "vars": {"ansible_facts": "{{ facts }}"},
                    "tasks": [
                        {
                            "ansible.builtin.include_role": {
                                "name": "webdis_kit.server.{{ mistaken_role }}",
                                "tasks_from": "preflight",
                            }
                        }
                    ],
                }
            ]
        )
    )
    answer = playbook(
        "--check",
        # Others depend on build_host: this is about no host.
        "--skip-tags=build_host_install,build_host_upgrade,build_host_services",
        str(folder / "playbook.yml"),
        inventory=str(folder / "inventory.yml"),
    )
    failure = r"^(?:fatal|failed): \[(\w+)\].*? => (\{.*?^\}|\{.*?\}$)"
    said = {}
    for name, result in re.findall(failure, answer.stdout, re.MULTILINE | re.DOTALL):
        said.setdefault(name, json.loads(result)["msg"])  # of a loop, the item's own comes first
    return said


def test_a_role_that_is_internal_refuses_to_be_run_alone(tmp_path):
    variables = ("certificate", "private_key", "folder", "group")
    play = {
        "hosts": "all",
        "gather_facts": False,
        "connection": "local",
        "roles": ["webdis_kit.server.tls_pair"],
        "vars": {f"tls_pair_{name}": "/nowhere" for name in variables},
    }
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump([play]))
    answer = playbook(str(tmp_path / "playbook.yml"))
    assert "The role tls_pair is internal; call redis, sentinel or webdis_edge." in answer.stdout


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_refused_by_name_value_and_what_is_allowed(refusals, name):
    assert MISTAKES[name][2] in refusals.get(name, "nothing was refused")


# Role, private variable, cores and MiB of memory, and what follows.
MACHINES = [
    ("source_build", "_source_build_jobs", (8, 1024), 2),
    ("source_build", "_source_build_jobs", (2, 16384), 2),
    ("source_build", "_source_build_jobs", (4, 400), 1),
    ("webdis", "_webdis_threads", (1, 1024), 1),
    ("webdis", "_webdis_threads", (3, 1024), 2),
    ("webdis", "_webdis_threads", (16, 1024), 4),
]


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Return what one run of Ansible says of all these machines, a play for each."""
    plays = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars_files": [
                str(ROOT / f"ansible/roles/{role}/{part}/main.yml") for part in ("defaults", "vars")
            ],
            "vars": {"ansible_facts": {"processor_nproc": cores, "memtotal_mb": memory_mib}},
            "tasks": [
                {"ansible.builtin.debug": {"msg": f"{name} {cores} {memory_mib} {{{{ {name} }}}}"}}
            ],
        }
        for role, name, (cores, memory_mib), _ in MACHINES
    ]
    file = tmp_path_factory.mktemp("machines") / "playbook.yml"
    file.write_text(yaml.safe_dump(plays))
    return playbook(str(file)).stdout


@pytest.mark.parametrize(("role", "name", "machine", "value"), MACHINES)
def test_what_follows_from_cores_and_memory(followed, role, name, machine, value):
    cores, memory_mib = machine
    assert f'"{name} {cores} {memory_mib} {value}"' in followed, role


# Groups and variables of a host, and what the playbook "site" has run there, by the role "metrics".
NODE, REDIS, NGINX = (f"prometheus-{name}-exporter" for name in ("node", "redis", "nginx"))
EDGE_STATUS = {"webdis_edge_status_port": 8090}
WANTED = {
    "whole": (["redis_primary", "webdis"], EDGE_STATUS, [NODE, REDIS, NGINX, "webdis-metrics"]),
    "edge_without_status": (["redis_primary", "webdis"], {}, [NODE, REDIS, "webdis-metrics"]),
    "no_edge": (
        ["redis_primary", "webdis"],
        {"webdis_edge_state": "absent", **EDGE_STATUS},
        [NODE, REDIS, "webdis-metrics"],
    ),
    "redis_only": (["redis_replicas"], EDGE_STATUS, [NODE, REDIS]),
    "webdis_only": (["webdis"], EDGE_STATUS, [NODE, NGINX, "webdis-metrics"]),
}


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """Return what each of these hosts gets."""
    folder = tmp_path_factory.mktemp("site")
    _, site = yaml.safe_load((ANSIBLE / "playbooks/site.yml").read_text())
    (metrics,) = (entry for entry in site["roles"] if entry["role"].endswith(".metrics"))
    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars": {"metrics_redis_password": "x", **metrics["vars"]},
        # For their defaults: by the tags, none of their tasks runs.
        "roles": [f"webdis_kit.server.{name}" for name in ("webdis", "webdis_edge", "metrics")],
        "post_tasks": [{"ansible.builtin.debug": {"var": "_metrics_wanted"}, "tags": "say"}],
    }
    (folder / "playbook.yml").write_text(yaml.safe_dump([play]))
    names = {"redis_primary", "redis_replicas", "webdis", "metrics"}
    groups = {name: {"hosts": {}} for name in names}
    for host, (its_groups, variables, _) in WANTED.items():
        for group in [*its_groups, "metrics"]:
            groups[group]["hosts"][host] = {"ansible_connection": "local", **variables}
    (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    answer = playbook(
        "--tags=say",
        "--skip-tags=always",
        str(folder / "playbook.yml"),
        inventory=str(folder / "inventory.yml"),
    )
    said = re.findall(r"^ok: \[(\w+)\] => (\{.*?^\})", answer.stdout, re.MULTILINE | re.DOTALL)
    return {host: json.loads(text)["_metrics_wanted"] for host, text in said}


@pytest.mark.parametrize("host", WANTED)
def test_site_runs_an_exporter_of_what_is_on_the_server_and_of_nothing_else(wanted, host):
    assert wanted.get(host) == WANTED[host][2]
