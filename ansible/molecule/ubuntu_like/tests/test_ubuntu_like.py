"""What Ubuntu has and Debian has not, and how the server got on with it.

tests/server runs on the same machine: that is most of the proof. Here stands what it cannot see.
"""

from __future__ import annotations

import pytest

NOT_RESTARTED = "/etc/needrestart/conf.d/build_host.conf"


def output(server, command):
    answer = server.run(command)
    assert answer.rc == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_it_is_what_the_scenario_says(server):
    assert server.system_info.distribution == "ubuntu"
    for unit in ("ssh.socket", "unattended-upgrades", "apt-daily.timer", "systemd-networkd"):
        assert server.service(unit).is_running, unit
    assert output(server, "umask").strip() == "0027"
    assert "noexec" in output(server, "findmnt --noheadings --output OPTIONS /var/tmp")
    assert "10-netplan-host0" in output(server, "networkctl status host0")
    assert "DataSourceNoCloud" in output(server, "cloud-init status --long")
    assert output(server, "command -v ls").strip() == "/usr/local/bin/ls"
    assert "GNU" not in output(server, "ls --version")
    # Not its status: the firewall's own tests have emptied all rules that are loaded.
    assert "ENABLED=yes" in output(server, "cat /etc/ufw/ufw.conf")


def test_redis_was_compiled_with_ubuntus_flags(server):
    symbols = output(server, "nm --dynamic /opt/redis/current/bin/redis-server")
    assert "__stack_chk_fail" in symbols
    assert "__vsnprintf_chk" in symbols  # _FORTIFY_SOURCE
    code = output(server, "objdump --disassemble=main /opt/redis/current/bin/redis-server")
    assert "endbr64" in code  # -fcf-protection
    linked = output(server, "objdump --private-headers /opt/redis/current/bin/redis-server")
    assert "FLAGS_1              0x0000000008000001" in linked  # -z now, and position-independent


def test_apt_was_busy_and_was_waited_for(server):
    line = output(server, "journalctl --output=short-unix --unit=apt-daily-like | grep Deactivated")
    released = float(line.split()[0])
    day, time, *_ = output(server, "grep ' install acl' /var/log/dpkg.log | tail -n 1").split()
    installed = int(output(server, f"/usr/bin/date --date='{day} {time}' +%s"))
    assert released <= installed + 1 < released + 300


@pytest.fixture
def old_library(server):
    """Put a copy of a library that both use in its place, as an upgrade does."""
    library = "/usr/lib/x86_64-linux-gnu/libc.so.6"
    copied = (
        f"/usr/bin/cp --preserve=all {library} {library}.new && /usr/bin/mv {library}.new {library}"
    )
    assert server.run(copied).rc == 0
    return library


@pytest.mark.usefixtures("old_library")
def test_needrestart_leaves_redis_and_webdis_alone(server):
    pids = "systemctl show --value -p MainPID redis webdis"
    before = output(server, pids)
    said = output(server, "needrestart -r l 2>&1")
    assert "redis.service" in said
    output(server, "needrestart -r a 2>&1")
    assert output(server, pids) == before


def test_ufw_lets_through_what_is_guarded(server, instance):
    rules = output(server, "ufw show added").splitlines()
    guarded = {
        f"ufw allow {entry['port']}/tcp comment 'webdis_kit'"
        for entry in instance["firewall"]["ports"]
        if entry["service"] != "ssh"
    }
    assert guarded
    assert guarded == {line for line in rules if "webdis_kit" in line}
