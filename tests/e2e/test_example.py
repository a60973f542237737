"""The example application runs, with the two modules copied beside it as a reader would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from kit.checkout import KIT_DIR, ROOT
from tests.demo_server import free_port


@pytest.fixture
def application(tmp_path, instance):
    """Start the example on a free port and return its address."""
    shutil.copytree(ROOT / "docs/examples", tmp_path, dirs_exist_ok=True)
    shutil.copy(ROOT / "demo_app/progress.py", tmp_path)
    shutil.copy(ROOT / "clients/javascript/src/progress.js", tmp_path / "static")
    port = free_port()
    entry = instance["redis"]
    password = quote((KIT_DIR / "secrets/redis_publisher").read_text().strip())
    scheme, options = "redis", ""
    if instance["tls"]:
        scheme, options = "rediss", f"?ssl_ca_certs={KIT_DIR / 'tls/ca.pem'}"
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "app", "run", "--port", str(port)],
        cwd=tmp_path,
        env={
            **os.environ,
            "REDIS_URL": f"{scheme}://{entry['username']}:{password}@{entry['host']}:{entry['port']}{options}",
            "WEBDIS_URL": instance["webdis"]["url"],
            "SECRET_KEY": "of this test",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout:
        if "Running on" in line:
            break
    assert process.poll() is None
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.communicate(timeout=30)


def test_example_shows_what_its_function_says(application, browser):
    page = browser.new_page()
    page.goto(application)
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#messages")).to_contain_text("Reading core-1", timeout=30_000)
    expect(page.locator("#messages li").last).to_have_text("Done", timeout=30_000)
    shown = page.locator("#messages li").all_inner_texts()
    assert [text for text in shown if text.startswith("Reading")] == [
        "Reading core-1",
        "Reading core-2",
        "Reading edge-1",
    ]
    page.close()
