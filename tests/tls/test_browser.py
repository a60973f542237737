"""Chromium and the instance's CA."""

from __future__ import annotations

import os
import shutil

import pytest
from playwright.sync_api import Error, sync_playwright


def visit(address, home):
    """Open the edge in a Chromium with this home folder; return the status."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox"],
            env={**os.environ, "HOME": str(home)},
        )
        answer = browser.new_page().goto(f"https://{address}/")
        browser.close()
    return answer.status


def test_a_browser_that_trusts_the_ca_gets_through(instance, browser_home):
    assert visit(instance["address"], browser_home) == 404


def test_a_browser_that_does_not_refuses(instance, tmp_path):
    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        visit(instance["address"], tmp_path)
