"""What the exporters show, who may ask them, and how they are shut in."""

from __future__ import annotations

import re
import time
import urllib.request

import pytest

from kit.websocket import Page
from tests.demo_server import eventually
from tests.lan_host import assert_only_neighbours_reach
from tests.provisioning import changed, provision
from tests.server.test_status import kit_status

PORTS = {"prometheus-node-exporter": 9100, "prometheus-redis-exporter": 9121}
# As of all services here.
MOST_EXPOSED = 2.0


@pytest.fixture
def units(instance):
    edge = {"prometheus-nginx-exporter": 9113} if instance["tls"] else {}
    return [*PORTS, *edge, "webdis-metrics", "prometheus"]


def numbers(instance, port):
    url = f"http://{instance['address']}:{port}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def number(instance, name, port=9100):
    found = re.search(rf"^{re.escape(name)} (\S+)$", numbers(instance, port), re.MULTILINE)
    return float(found[1]) if found else None


def test_each_runs_shut_in(server, units):
    for unit in units:
        assert server.service(unit).is_running, unit
        assert server.service(unit).is_enabled, unit
        said = server.check_output(f"systemd-analyze security --no-pager {unit}")
        exposure = float(re.search(r"exposure level for \S+: ([0-9.]+)", said)[1])
        assert exposure <= MOST_EXPOSED, (unit, exposure)
        assert server.check_output(f"systemctl show -P User {unit}") not in ("", "root"), unit


def test_what_a_hand_has_changed_is_put_back_and_all_go_on(server, units):
    drop_ins = [f"/etc/systemd/system/{unit}.service.d/webdis-metrics.conf" for unit in PORTS]
    for drop_in in drop_ins:
        server.check_output(f"echo '# by hand' >>{drop_in}")
    assert changed(provision("--tags=metrics")) > 0
    assert "by hand" not in server.check_output(f"cat {' '.join(drop_ins)}")
    assert changed(provision("--tags=metrics")) == 0
    for unit in units:
        assert server.service(unit).is_running, unit


def test_what_is_not_wanted_goes_and_what_is_anothers_stays(server):
    own, anothers = (
        f"/etc/systemd/system/prometheus.service.d/{name}.conf"
        for name in ("webdis-metrics", "own")
    )
    server.check_output(f"echo '[Unit]' >{anothers}")
    try:
        assert changed(provision("--tags=metrics", metrics_prometheus=False)) > 0
        assert not server.file(own).exists
        assert server.file(anothers).exists
        assert not server.service("prometheus").is_running
        # It runs as another has set it up: that is no business of the role's.
        server.check_output("systemctl daemon-reload && systemctl start prometheus")
        assert changed(provision("--tags=metrics", metrics_prometheus=False)) == 0
        assert server.service("prometheus").is_running
    finally:
        server.check_output(f"rm {anothers} && systemctl stop prometheus")
        assert changed(provision("--tags=metrics")) > 0
    assert server.service("prometheus").is_running


def test_webdis_is_measured(instance):
    with Page(instance) as page:
        page.subscribe("progress:metrics")
        name = 'webdis_sockets{state="established"}'
        eventually(lambda: number(instance, name) >= 1, "no socket")
    for name in ("resident_memory_bytes", "data_memory_bytes", "open_fds"):
        assert number(instance, f"webdis_{name}") > 0, name
    assert number(instance, "webdis_max_fds") == 2 * instance["webdis"]["max_subscribers"] + 128
    assert number(instance, "webdis_max_subscribers") == instance["webdis"]["max_subscribers"]
    assert number(instance, "webdis_data_memory_max_bytes") == 256 << 20


def test_units_are_measured_and_a_restart_is_counted(server, instance):
    name = 'node_systemd_service_restart_total{name="webdis.service"}'
    before = number(instance, name)
    server.check_output("systemctl kill --signal=KILL --kill-who=main webdis")
    eventually(lambda: number(instance, name) == before + 1, "not counted")
    assert (
        number(
            instance, 'node_systemd_unit_state{name="redis.service",state="active",type="notify"}'
        )
        == 1
    )


def test_redis_is_measured_by_who_may_do_nothing_else(server, instance):
    assert number(instance, "redis_up", 9121) == 1
    assert number(instance, "redis_memory_max_bytes", 9121) == 256 << 20
    assert number(instance, "redis_aof_last_write_status", 9121) == 1
    may = [
        name
        for name in ("info", "ping", "get", "config", "client", "subscribe", "publish", "slowlog")
        if server.run(f"redis-admin ACL DRYRUN metrics {name} x y").stdout.strip() == "OK"
    ]
    assert may in (["info", "ping"], ["info"])


def test_a_password_is_sent_to_no_other_redis(server, instance):
    """Somebody has the exporter look at a Redis of theirs: it logs in to its own only."""
    listen = (
        "import socket; s = socket.create_server(('127.0.0.1', 16379)); s.settimeout(20); "
        "c, _ = s.accept(); c.settimeout(3); print(c.recv(4096))"
    )
    server.check_output(f'systemd-run --unit=stranger python3 -c "{listen}"')
    eventually(lambda: server.socket("tcp://127.0.0.1:16379").is_listening, "no listener")
    url = f"http://{instance['address']}:9121/scrape?target=redis://127.0.0.1:16379"
    urllib.request.urlopen(url, timeout=30).close()
    seen = eventually(
        lambda: server.run('journalctl -u stranger -o cat --no-pager | grep "^b\'"').stdout,
        "nothing came",
    )
    password = server.check_output("cat /etc/webdis-metrics/redis_passwords.json").split('"')[3]
    assert password not in seen


def test_the_edge_and_its_certificate_are_measured(instance):
    if not instance["tls"]:
        assert number(instance, "edge_certificate_not_after_seconds") is None
        return
    assert number(instance, "nginx_up", 9113) == 1
    left = number(instance, "edge_certificate_not_after_seconds") - time.time()
    assert 14 < left / 86_400 < 400


def test_one_that_dies_takes_nothing_with_it(server, units):
    before = server.check_output("systemctl show -P MainPID redis webdis")
    for unit in units:
        server.check_output(f"systemctl kill --signal=KILL --kill-who=main {unit}")
    for unit in units:
        eventually(lambda unit=unit: server.service(unit).is_running, f"{unit} does not come back")
    assert server.check_output("systemctl show -P MainPID redis webdis") == before


def test_one_that_is_stopped_is_wrong(server):
    server.check_output("systemctl stop webdis-metrics")
    try:
        answer = kit_status()
    finally:
        server.check_output("systemctl start webdis-metrics")
    assert answer.returncode == 1
    assert "webdis-metrics does not run on server" in " ".join(answer.stderr.split())


def test_their_ports_are_closed_to_all_but_the_listed_subnets(server, instance):
    ports = [9090, *PORTS.values(), *([9113] if instance["tls"] else [])]
    for port in ports:  # they have been killed before
        command = f"ss -Hltn 'sport = :{port}'"
        eventually(lambda command=command: server.check_output(command), f"nobody on {port}")
    assert_only_neighbours_reach(instance, server, ports)


def test_all_exporters_together_take_little_memory(server, units):
    """Their pages, those of their programs' files included; what others use, too, in part (PSS)."""
    exporters = [unit for unit in units if unit != "prometheus"]
    pids = server.check_output(f"systemctl show -P MainPID {' '.join(exporters)}").split()
    files = " ".join(f"/proc/{pid}/smaps_rollup" for pid in pids)
    found = re.findall(r"^Pss:\s+(\d+) kB", server.check_output(f"cat {files}"), re.MULTILINE)
    assert len(found) == len(exporters)
    assert sum(map(int, found)) / 1024 <= 60, dict(zip(exporters, found, strict=True))
