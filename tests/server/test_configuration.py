"""Changes of configuration: what is put back, what is refused, and what restarts for it."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets

import pytest

from kit.websocket import Page
from tests.services import AGAIN, restart

ADMIN = "redis-admin"
REDIS = "--tags=redis_configure,redis_service"
BOTH = f"{REDIS},webdis_install,webdis_configure,webdis_service"


def done(answer, what):
    """Return how many times a service was restarted or reloaded in a run of Ansible."""
    task = rf"^TASK \[webdis_kit\.server\.systemd_service : {what}\] \*+\nchanged"
    return len(re.findall(task, answer.stdout, re.MULTILINE))


@contextlib.contextmanager
def slow_next_start_of_webdis(server):
    """Webdis's next start takes 10 s more; later ones do not."""
    drop_in = "/run/systemd/system/webdis.service.d/slow.conf"
    start = "ExecStartPost=+/bin/sh -c '! rm /run/slow-start 2>/dev/null || exec sleep 10'"
    server.run(f"mkdir -p $(dirname {drop_in}) && touch /run/slow-start")
    server.check_output(
        f"printf '[Service]\n%s\n' \"{start}\" >{drop_in} && systemctl daemon-reload"
    )
    try:
        yield
    finally:
        server.run(f"rm -rf $(dirname {drop_in}) /run/slow-start; systemctl daemon-reload")


def pids(server):
    return server.run("systemctl show -P MainPID redis webdis").stdout.split()


@pytest.mark.timeout(900)
def test_hand_edits_are_put_back_once_and_shown(server, provision):
    assert server.run("sed -i 's/^maxmemory .*/maxmemory 1mb/' /etc/redis/redis.conf").rc == 0
    assert server.run("sed -i 's/SUBSCRIBE/GET/' /etc/webdis/webdis.json").rc == 0
    assert server.run("usermod --shell /bin/sh webdis").rc == 0
    restart(server, "redis", "webdis")
    before = pids(server)
    # Webdis goes and comes with Redis: it is starting when its own file is written.
    with slow_next_start_of_webdis(server):
        first = provision("--diff", BOTH)
    assert first.returncode == 0, first.stdout[-3000:]
    for line in ("-maxmemory 1mb", "+maxmemory 256mb", '"GET"', '"SUBSCRIBE"'):
        assert line in first.stdout
    assert done(first, "Restart redis") == done(first, "Restart webdis") == 1
    assert not set(before) & set(pids(server))
    assert "GET" not in server.file("/run/webdis/webdis.json").content_string
    assert server.user("webdis").shell == "/usr/sbin/nologin"
    # What counts is what files hold, not when they were written.
    assert server.run("touch /etc/redis/redis.conf /etc/webdis/webdis.json").rc == 0
    again = provision(BOTH)
    assert "changed=0" in again.stdout, again.stdout[-3000:]


@pytest.mark.timeout(600)
def test_changed_users_are_loaded_and_nobody_is_cut(server, instance, provision, publisher_redis):
    channel = f"progress:{secrets.token_hex(16)}"
    stray = "user stray on nopass ~* &* +@all"
    assert server.run(f"echo '{stray}' >>/etc/redis/users.acl && {ADMIN} ACL LOAD").rc == 0
    before = pids(server)
    with Page(instance) as page:
        page.subscribe(channel)
        answer = provision("--diff", REDIS)
        assert answer.returncode == 0, answer.stdout[-3000:]
        assert f"-{stray}" in answer.stdout
        assert done(answer, "Reload redis") == 1
        assert done(answer, "Restart redis") == 0
        publisher_redis.publish(channel, "still there")
        assert page.message(channel) == "still there"
    assert pids(server) == before
    assert "stray" not in server.run(f"{ADMIN} ACL USERS").stdout


@pytest.mark.timeout(600)
def test_users_that_redis_refuses_do_not_replace_others(server, provision):
    before = pids(server), server.file("/etc/redis/users.acl").content_string
    user = {"name": "odd", "password": "x" * 20, "rules": "+nonsense"}
    answer = provision(REDIS, redis_users=[user])
    assert answer.returncode != 0
    assert "Redis does not start on users" in answer.stdout
    assert "nonsense" in answer.stdout
    assert (pids(server), server.file("/etc/redis/users.acl").content_string) == before


@pytest.mark.timeout(600)
def test_a_password_that_is_added_leaves_the_other_one_alone(server, provision):
    """As where one server becomes three."""
    configure = "--tags=redis_configure"
    password = server.file("/etc/redis/admin_password").content_string
    try:
        answer = provision(configure, redis_live_units=["webdis.service"])
        users = server.file("/etc/redis/users.acl").content_string
        live = server.file("/etc/redis/live_password").content_string
    finally:
        assert server.run("rm -f /etc/redis/live_password /usr/local/sbin/redis-live").rc == 0
        assert provision(configure).returncode == 0
    assert answer.returncode == 0, answer.stdout[-3000:]
    for user, secret in (("admin", password), ("live", live)):
        assert f"user {user} on #{hashlib.sha256(secret.encode()).hexdigest()} " in users


@pytest.mark.parametrize("line", ["maxmemory plenty", "nonsense yes", "port 99999"])
def test_configuration_that_redis_refuses(server, line):
    copy = f"cat /etc/redis/redis.conf >/tmp/candidate && echo '{line}' >>/tmp/candidate"
    answer = server.run(f"{copy}; redis-check config /tmp/candidate")
    assert answer.rc == 1
    assert line.split()[0] in answer.stderr
    assert server.run("redis-check config /etc/redis/redis.conf").rc == 0


def test_webdis_does_not_start_on_a_broken_file(server):
    keep = "cp -p /etc/webdis/webdis.json /root/webdis.json"
    listening = "ss -Hltn sport = :7379 | grep -q ."
    assert server.run(f"{keep} && echo '{{' >/etc/webdis/webdis.json").rc == 0
    try:
        assert server.run("systemctl restart webdis").rc != 0
        assert server.run(listening).rc != 0
        assert "cannot be read" in server.run("journalctl -u webdis -n 20 --no-pager").stdout
    finally:
        assert server.run("mv /root/webdis.json /etc/webdis/webdis.json").rc == 0
        restart(server, "webdis")
    assert server.run(f"timeout 20 sh -c 'until {listening}; do sleep 0.1; done'").rc == 0


def test_a_restart_is_tried_again_for_what_systemd_says_when_it_cannot_spawn(server):
    for option, spawned in (
        ("--property=EnvironmentFile=/nonexistent true", False),
        ("--service-type=notify false", True),
    ):
        run = f"systemd-run --unit=test-spawn {option}; systemctl reset-failed test-spawn"
        said = server.run(run).stderr
        assert (AGAIN not in said) == spawned, said


@pytest.mark.timeout(600)
def test_number_of_subscribers_sizes_both_and_has_an_end(server, provision):
    pid = pids(server)[1]
    limit = server.run(f"grep 'Max open files' /proc/{pid}/limits").stdout.split()[3]
    clients = server.run(f"{ADMIN} CONFIG GET maxclients").stdout.split()[1]
    assert int(clients) > 8000
    assert int(limit) > 2 * 8000
    # A virtual machine's systemd gives a service up to 2^30 files.
    answer = provision("--tags=webdis", webdis_max_subscribers=1_000_000_000)
    assert answer.returncode != 0
    said = " ".join(answer.stdout.split())
    assert "webdis_max_subscribers is 1000000000; that takes 2000000128 open files, and" in said


def test_units_are_sound(server):
    answer = server.run("systemd-analyze verify redis.service webdis.service")
    assert (answer.rc, answer.stdout, answer.stderr) == (0, "", "")


def test_huge_pages_are_off_for_redis(server):
    pid = pids(server)[0]
    assert server.run(f"{ADMIN} CONFIG GET disable-thp").stdout.split() == ["disable-thp", "yes"]
    always = "[always]" in server.file("/sys/kernel/mm/transparent_hugepage/enabled").content_string
    if always:  # otherwise Redis has nothing to switch off
        assert "THP_enabled:\t0" in server.file(f"/proc/{pid}/status").content_string


REFUSED = {
    "redis": ({"redis_extra_config": "nonsense yes"}, "/etc/redis/redis.conf", "nonsense"),
    "webdis": (
        {"webdis_extra_config": {"acl": []}},
        "/etc/webdis/webdis.json",
        "has an acl that does not start with",
    ),
    "unit": (
        {"webdis_unit_overrides": "[Service]\nCPUQuota=lots"},
        "/etc/systemd/system/webdis.service",
        "systemd finds fault with webdis.service:",
    ),
    "firewall": ({"firewall_extra_rules": "nonsense"}, "/etc/webdis-kit-firewall.nft", "nonsense"),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("role", REFUSED)
def test_a_way_out_is_tried_before_it_replaces_anything(server, provision, role):
    variables, file, said = REFUSED[role]
    before = server.file(file).content_string
    tags = "webdis_service" if role == "unit" else f"{role}_configure"
    answer = provision(f"--tags={tags}", **variables)
    assert answer.returncode != 0
    assert said in answer.stdout
    assert server.file(file).content_string == before


@pytest.mark.timeout(600)
def test_a_way_out_sets_what_no_variable_names(server, provision):
    samples = f"{ADMIN} CONFIG GET maxmemory-samples"
    try:
        assert provision(REDIS, redis_extra_config="maxmemory-samples 7").returncode == 0
        assert server.run(samples).stdout.split()[1] == "7"
    finally:
        assert provision(REDIS).returncode == 0
    assert server.run(samples).stdout.split()[1] == "5"


@pytest.mark.timeout(600)
def test_drop_ins_with_a_fault_are_refused_and_webdis_goes_on(server, provision):
    folder = "/etc/systemd/system/webdis.service.d"
    before = pids(server)
    write = f"mkdir {folder} && cd {folder}"
    for name, line in {"one": "Restart=sometimes", "two": "ExecStart=/nowhere"}.items():
        write += f" && printf '[Service]\\n{line}\\n' >{name}.conf"
    assert server.run(write).rc == 0
    try:
        answer = provision("--tags=webdis_service")
    finally:
        assert server.run(f"rm -r {folder} && systemctl daemon-reload").rc == 0
    assert answer.returncode != 0
    said = " ".join(answer.stdout.split())
    assert "systemd finds fault with webdis.service: " in said
    assert "sometimes" in said  # each of them
    assert "more than one ExecStart=" in said
    assert "webdis goes on as it is" in said
    assert pids(server) == before
