"""The edge: what it lets through to Webdis, and what it does not."""

from __future__ import annotations

import contextlib
import http.client
import secrets
import socket
import ssl
import subprocess
import time

import pytest
import redis
import yaml
from websockets.exceptions import InvalidStatus

from kit.checkout import ROOT
from kit.tls import SERVER_KEY
from kit.verify import publisher, redis_as
from kit.websocket import Page, trust
from tests.provisioning import changed, provision

VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Origin": "http://127.0.0.1:5000",
}


def ask(instance, path, *, method="GET", body=None, headers=None):
    """Return the status that a raw request gets; the path is sent as it stands."""
    connection = http.client.HTTPSConnection(
        instance["address"], timeout=20, context=trust(instance)
    )
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=UPGRADE if headers is None else headers)
        return connection.getresponse().status


def status_of_websocket(instance, **options):
    with pytest.raises(InvalidStatus) as refused, Page(instance, **options):
        pass
    return refused.value.response.status_code


def delivers(instance, page, channel=None):
    """Publish and tell whether this very socket delivers it."""
    if channel is None:
        channel = f"progress:{secrets.token_hex(16)}"
        page.subscribe(channel)
    with publisher(instance) as connection:
        connection.publish(channel, "still here")
    return page.message(channel) == "still here"


@pytest.mark.parametrize("port", [443, 6379], ids=["edge", "redis"])
@pytest.mark.parametrize("version", VERSIONS)
def test_only_tls_1_2_and_newer(instance, version, port):
    context = trust(instance)
    context.set_ciphers("ALL:@SECLEVEL=0")  # or this side would not even offer the old ones
    with pytest.warns() if version < "1.2" else contextlib.nullcontext():
        context.minimum_version = context.maximum_version = VERSIONS[version]
    refused = pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL")
    with (
        socket.create_connection((instance["address"], port), timeout=20) as connection,
        refused if version < "1.2" else contextlib.nullcontext(),
        context.wrap_socket(connection, server_hostname=instance["address"]) as channel,
    ):
        assert channel.version() == f"TLSv{version}"


def test_nobody_trusts_it_without_the_instances_ca(instance):
    with pytest.raises(ssl.SSLCertVerificationError):
        Page(instance, ssl=ssl.create_default_context())


def test_http_leads_to_https(instance):
    connection = http.client.HTTPConnection(instance["address"], timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/some/path?a=b", headers={"Host": "elsewhere.invalid"})
        answer = connection.getresponse()
        assert answer.status == 301
        assert answer.headers["Location"] == f"https://{instance['address']}/some/path?a=b"


@pytest.mark.parametrize(
    "path",
    ["/", "/.raw", "/.json/", "/SUBSCRIBE/progress:x", "/SUBSCRIBE/a.json", "/GET/a", "/x.json"],
)
def test_there_is_one_path_alone(instance, path):
    assert ask(instance, path) == 404


@pytest.mark.parametrize("path", ["/.json", "/.json?a=b", "//.json", "/GET/../.json", "/%2Ejson"])
def test_other_spellings_of_that_path_are_that_path(instance, path):
    assert ask(instance, path) == 101


def test_that_path_takes_websockets_alone(instance):
    origin = {"Origin": UPGRADE["Origin"]}
    assert ask(instance, "/.json", headers=origin) == 426
    body = "SET/progress:wall/x"
    assert ask(instance, "/.json", method="POST", body=body, headers=origin) == 426


def test_a_large_body_is_refused(instance):
    assert ask(instance, "/.json", method="POST", body="x" * 1025) == 413


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://elsewhere.invalid",
        "http://127.0.0.1.elsewhere.invalid",
        "http://127.0.0.1:5000.elsewhere.invalid",
        "http://elsewhere.invalid/http://127.0.0.1:5000",
        "https://127.0.0.1:5000",
    ],
)
def test_pages_of_other_origins_are_refused(instance, origin):
    assert status_of_websocket(instance, origin=origin) == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:5000", "http://localhost:8080"])
def test_pages_of_listed_origins_may_connect(instance, origin):
    with Page(instance, origin=origin) as page:
        assert delivers(instance, page)


def test_a_reload_keeps_sockets(instance, server):
    with Page(instance) as page:
        channel = f"progress:{secrets.token_hex(16)}"
        page.subscribe(channel)
        assert server.run("systemctl reload nginx").rc == 0
        with Page(instance) as newer:
            assert delivers(instance, newer)
        assert delivers(instance, page, channel)


def test_a_broken_configuration_is_not_loaded(instance, server):
    file = "/etc/edge/nginx.conf"
    assert server.run(f"cp -p {file} {file}.kept && echo nonsense >> {file}").rc == 0
    try:
        assert server.run("systemctl reload nginx").rc != 0
        with Page(instance) as page:
            assert delivers(instance, page)
    finally:
        assert server.run(f"mv {file}.kept {file} && systemctl reload nginx").rc == 0


def test_webdis_is_behind_the_edge_alone(instance, server):
    with pytest.raises(OSError):  # noqa: PT011  # refused or dropped
        socket.create_connection((instance["address"], 7379), timeout=5).close()
    listeners = server.run("ss -Hltn sport = :7379").stdout.split()
    assert listeners[3] == "127.0.0.1:7379"


def test_redis_speaks_tls_alone(instance):
    with (
        redis.Redis(host=instance["address"], port=6379, socket_timeout=10) as plain,
        pytest.raises(redis.ConnectionError),
    ):
        plain.ping()
    with redis_as(instance) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_sandbox(server):
    answer = server.run("systemd-analyze security --no-pager nginx.service")
    exposure = float(answer.stdout.split("exposure level for")[1].split(":")[1].split()[0])
    assert exposure <= 2.0, answer.stdout
    users = server.run("ps -o user= -C nginx").stdout.split()
    assert set(users) == {"www-data"}


def test_keys_are_for_their_service_alone(server):
    for path, group in (("/etc/edge/key.pem", "www-data"), ("/etc/redis/key.pem", "redis")):
        file = server.file(path)
        assert (file.user, file.group, file.mode) == ("root", group, 0o640)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("tag", "variable", "file"),
    [
        ("redis_configure", "redis_tls_private_key", "/etc/redis/key.pem"),
        ("webdis_edge_configure", "webdis_edge_private_key", "/etc/edge/key.pem"),
    ],
)
def test_a_key_of_another_certificate_never_lies_on_the_server(
    server, tmp_path, tag, variable, file
):
    other = tmp_path / "other.key"
    key = ["openssl", "genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run([*key, "-out", other], check=True, capture_output=True)
    before = server.file(file).sha256sum
    answer = provision(f"--tags={tag}", **{variable: str(other)})
    assert answer.returncode
    said = " ".join(answer.stdout.split())
    assert "other.key cannot be used together" in said
    assert "key values mismatch" in said
    assert server.file(file).sha256sum == before


def test_a_key_that_is_encrypted_by_vault_is_tried_and_copied_as_the_key_that_it_is(tmp_path):
    password, key = tmp_path / "password", tmp_path / "encrypted.key"
    password.write_text("only for this test")
    vault = [ROOT / ".venv/bin/ansible-vault", "encrypt", "--vault-password-file", password]
    subprocess.run([*vault, "--output", key, SERVER_KEY], check=True, capture_output=True)
    assert "ANSIBLE_VAULT" in key.read_text()
    options = ("--tags=webdis_edge_configure", f"--vault-password-file={password}")
    assert not changed(provision(*options, webdis_edge_private_key=str(key)))


@pytest.mark.timeout(600)
def test_a_way_out_adds_a_location_and_is_tried_before_it_replaces_anything(instance, server):
    file = server.file("/etc/edge/nginx.conf")
    before = file.content_string
    answer = provision("--tags=webdis_edge_configure", webdis_edge_extra_config="nonsense;")
    assert answer.returncode != 0
    assert "unknown directive" in answer.stdout
    assert file.content_string == before
    tags = "--tags=webdis_edge_configure,webdis_edge_service"
    try:
        location = "location = /more { return 204; }"
        assert provision(tags, webdis_edge_extra_config=location).returncode == 0
        assert ask(instance, "/more") == 204
    finally:
        assert provision(tags).returncode == 0
    assert ask(instance, "/more") == 404


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ipv6", [True, False])
def test_nginx_starts_where_ipv6_is_off(tmp_path, ipv6):
    role = ROOT / "ansible/roles/webdis_edge"
    play = {
        "hosts": "redis_primary",
        "gather_facts": False,
        "vars_files": [str(role / f"{part}/main.yml") for part in ("defaults", "vars")],
        "tasks": [
            {
                "ansible.builtin.template": {
                    "src": str(role / "templates/nginx.conf.j2"),
                    "dest": "/run/webdis-kit-test-nginx.conf",
                    # The kernel's answer to a socket of IPv6 is the one of a system without.
                    "validate": "systemd-run --quiet --wait --pipe "
                    "--property='RestrictAddressFamilies=AF_INET AF_UNIX' nginx -t -q -c %s",
                },
                "vars": {"_webdis_edge_if_inet6": {"rc": int(not ipv6)}},
            },
            {
                "ansible.builtin.file": {
                    "path": "/run/webdis-kit-test-nginx.conf",
                    "state": "absent",
                }
            },
        ],
    }
    file = tmp_path / "playbook.yml"
    file.write_text(yaml.safe_dump([play]))
    answer = provision(playbook=file)
    if ipv6:
        assert "[::]:80 failed (97: Address family not supported by protocol)" in answer.stdout
    else:
        assert answer.returncode == 0, answer.stdout


# Last in this file: they use up what this address may ask for.


def upgrade(connection):
    """Ask for a WebSocket on a connection that stays open; return the status."""
    connection.request("GET", "/.json", headers=UPGRADE)
    return connection.getresponse().status


@pytest.fixture
def connections(instance):
    """Return a function that opens a TLS connection; all of them end with the test."""
    context = trust(instance)
    with contextlib.ExitStack() as closing:

        def connect():
            connection = http.client.HTTPSConnection(instance["address"], 443, context=context)
            connection.connect()
            return closing.enter_context(contextlib.closing(connection))

        yield connect


def test_each_address_has_so_many_sockets(server, connections):
    deadline = time.monotonic() + 120
    open_sockets = []
    while len(open_sockets) < 100:
        assert time.monotonic() < deadline
        connection = connections()
        if upgrade(connection) == 101:
            open_sockets.append(connection)
        else:
            time.sleep(0.1)  # refused for its rate, of which this gives one back
    marker = server.run("date +%s").stdout.strip()
    refusal = f"journalctl -u nginx --since @{marker} -o cat | grep 'limiting connections by zone'"
    while server.run(refusal).rc != 0:
        assert time.monotonic() < deadline
        assert upgrade(connections()) == 429
    open_sockets.pop().close()
    while upgrade(connections()) != 101:
        assert time.monotonic() < deadline


def test_each_address_connects_at_so_high_a_rate(connections):
    waiting = [connections() for _ in range(80)]
    assert {upgrade(connection) for connection in waiting} == {101, 429}
