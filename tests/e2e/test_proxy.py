"""The demo behind a real nginx and a real Caddy, under a prefix, as docs/demo.md sets them up."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import ssl
import subprocess
import urllib.request

import pytest
from playwright.sync_api import expect

from bench.processes import free_port
from kit.checkout import CACHE_DIR, ROOT
from kit.system import as_root
from tests.demo_server import Visitor, eventually

PREFIX = "/demo"
PACKAGES = {"nginx": ["nginx"], "caddy": ["caddy"]}


def program(name):
    """Return a proxy's program, from its Debian package, which is unpacked and not installed.

    An installed one would begin to serve port 80 of this host.
    """
    if found := shutil.which(name, path="/usr/sbin:/usr/bin"):
        return found
    folder = CACHE_DIR / "proxies" / name
    if not list(folder.glob("usr/*bin/*")):
        folder.mkdir(parents=True, exist_ok=True)
        download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", *PACKAGES[name]]
        if subprocess.run(download, cwd=folder, capture_output=True, check=False).returncode:
            subprocess.run(as_root(["apt-get", "update"]), capture_output=True, check=True)
            subprocess.run(download, cwd=folder, capture_output=True, check=True)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return str(next(folder.glob(f"usr/*bin/{name}")))


@pytest.fixture(scope="module")
def demo(start_demo):
    """Start a demo that believes its proxy."""
    demo = start_demo(DEMO_BEHIND_PROXY=1, DEMO_JOB_STEPS=1000, DEMO_JOB_STEP_SECONDS=0.1)
    yield demo
    demo.stop()


def certificate(folder):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(command, capture_output=True, check=True)
    return folder / "cert.pem", folder / "key.pem"


def nginx(folder, ports, snippet):
    cert, key = certificate(folder)
    (folder / "demo.conf").write_text(snippet)
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"""
        daemon off; master_process off; pid {folder}/pid; error_log stderr;
        events {{}}
        http {{
            access_log off; {temporary}
            ssl_certificate {cert}; ssl_certificate_key {key};
            server {{ listen 127.0.0.1:{ports["http"]}; include {folder}/demo.conf; }}
            server {{ listen 127.0.0.1:{ports["https"]} ssl; include {folder}/demo.conf; }}
        }}
        """
    )
    return [program("nginx"), "-p", folder, "-c", folder / "nginx.conf"], cert


def caddy(folder, ports, snippet):
    cert, key = certificate(folder)
    http, https = (f"{scheme}://127.0.0.1:{ports[scheme]}" for scheme in ("http", "https"))
    options = f"admin off\nauto_https off\nskip_install_trust\nstorage file_system {folder}"
    first_line = "demo.example.org {"
    assert first_line in snippet
    (folder / "Caddyfile").write_text(
        f"{{\n{options}\n}}\n"
        + snippet.replace(first_line, f"{http} {{")
        + snippet.replace(first_line, f"{https} {{\ntls {cert} {key}")
    )
    return [program("caddy"), "run", "--config", folder / "Caddyfile"], cert


@pytest.fixture(scope="module", params=[(nginx, "nginx.conf"), (caddy, "Caddyfile")])
def proxy(request, demo, tmp_path_factory):
    """Return the demo's addresses behind a proxy by their scheme, and the proxy's certificate."""
    make, document = request.param
    folder = tmp_path_factory.mktemp("proxy")
    ports = {"http": free_port(), "https": free_port()}
    snippet = (ROOT / "docs/proxy" / document).read_text()
    assert "127.0.0.1:5000" in snippet
    command, cert = make(folder, ports, snippet.replace("127.0.0.1:5000", f"127.0.0.1:{demo.port}"))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={"HOME": str(folder)})

    def answers():
        assert process.poll() is None, (folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", ports["https"])) == 0

    eventually(answers, "the proxy does not listen")
    yield {scheme: f"{scheme}://127.0.0.1:{port}{PREFIX}" for scheme, port in ports.items()}, cert
    process.terminate()
    process.wait(timeout=30)


def addresses(page):
    return set(re.findall(r'(?:href|src|action|replay|data-replay)="(/[^"]*)"', page))


def test_forms_redirects_and_links_know_prefix_and_scheme(proxy):
    urls, cert = proxy
    trusting = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=cert))
    visitor = Visitor(urls["https"], trusting)
    pages = [visitor.get("/"), visitor.get("/own/")]
    path = visitor.post("/job/")
    assert re.fullmatch("/job/[0-9a-f]{32}", path)
    pages.append(visitor.get(path))
    for page in pages:
        assert f"{PREFIX}/" in addresses(page)
        assert {address for address in addresses(page) if not address.startswith(PREFIX)} == set()
    visitor.wait_for(path, "running")
    assert visitor.post(path, action=f"{path}/cancel") == path
    visitor.wait_for(path, "cancelled")
    # By a redirect with scheme and host.
    assert visitor.get("/job").count("A job in the background")


def test_the_page_of_a_job_is_live_under_the_prefix(proxy, launch):
    urls, _ = proxy
    failures = []
    browser = launch()
    page = browser.new_page()
    page.on("response", lambda answer: answer.status >= 400 and failures.append(answer.url))
    page.goto(f"{urls['http']}/job/")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#state")).to_have_text("connected")
    expect(page.locator("#percent")).to_have_text(re.compile("[1-9]"))
    page.reload()
    expect(page.locator("#state")).to_have_text("connected")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("cancelled", timeout=60_000)
    browser.close()
    assert failures == []


def test_without_a_proxy_nobody_is_believed(start_demo):
    demo = start_demo()
    connection = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=30)
    lies = {"X-Forwarded-Prefix": "/lie", "X-Forwarded-Host": "lie", "X-Forwarded-Proto": "https"}
    connection.request("GET", "/job", headers=lies)
    answer = connection.getresponse()
    assert answer.headers["Location"] == f"http://127.0.0.1:{demo.port}/job/"
    answer.read()
    connection.request("GET", "/", headers=lies)
    assert "/lie" not in connection.getresponse().read().decode()
    connection.close()
    demo.stop()
