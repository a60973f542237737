"""Each example runs as its first lines say, with the real libraries, and its page in Chromium.

The instance is one of PROVIDER=local: of that Redis, the tests have the administrator's password.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
import redis
from playwright.sync_api import expect

from kit.checkout import KIT_DIR, ROOT
from tests.demo_server import eventually
from tests.example_app import DEVICES, copy_examples, running

FRONTENDS = ROOT / "docs/examples/frontends"
CHECKED = 20


@pytest.fixture(scope="module")
def servers(instance):
    """Return the addresses of Redis, as a user who may do all that queues want, and of Webdis."""
    entry = instance["redis"]
    password = (KIT_DIR / "local/admin_password").read_text().strip()
    user, users_password = f"examples-{secrets.token_hex(4)}", secrets.token_hex(16)
    with redis.Redis(entry["host"], entry["port"], username="admin", password=password) as admin:
        rules = ["on", f">{users_password}", "~*", "&*", "+@all", "-@admin", "+info"]
        admin.execute_command("ACL", "SETUSER", user, *rules)
        yield {
            "REDIS_URL": f"redis://{user}:{users_password}@{entry['host']}:{entry['port']}",
            "WEBDIS_URL": instance["webdis"]["url"],
        }
        admin.acl_deluser(user)


@pytest.fixture(scope="module", autouse=True)
def _built():
    """Build the pages' scripts as docs/examples/README.md says."""
    for words in (["ci"], ["run", "build"]):
        subprocess.run(["npm", *words], cwd=FRONTENDS, env=with_node(), check=True)


@pytest.fixture(scope="module")
def folder(_built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    copy_examples(folder)
    return folder


def with_node():
    return {**os.environ, "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"}


@pytest.fixture
def run_example(browser, folder, servers):
    """Return a function that runs a program and gives a page of it, on which Run was pressed."""
    with contextlib.ExitStack() as stack:

        def run(program):
            url = stack.enter_context(running(folder, program, **servers))
            context = stack.enter_context(browser.new_context(base_url=url))
            page = context.new_page()
            complaints = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            stack.callback(lambda: expect_none(complaints))
            page.goto("/")
            page.get_by_role("button", name="Run").click()
            return page

        yield run


def expect_none(complaints):
    assert complaints == []


@pytest.fixture
def worker(folder, servers, tmp_path):
    """Return a function that starts a worker and waits until it says that it is ready."""
    with contextlib.ExitStack() as stack:

        def start(*command, ready):
            log = tmp_path / "worker.log"
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", *command],
                    cwd=folder,
                    env={**os.environ, **servers, "SECRET_KEY": "of this test"},
                    stdout=stack.enter_context(log.open("w")),
                    stderr=subprocess.STDOUT,
                )
            )
            stack.callback(process.wait, timeout=60)
            stack.callback(process.terminate)

            def said():
                assert process.poll() is None, log.read_text()
                return ready in log.read_text()

            eventually(said, f"the worker does not say {ready!r}", 60)

        yield start


def expect_end(page, state, text):
    expect(page.locator("#status")).to_have_text(state, timeout=30_000)
    expect(page.locator("#text")).to_have_text(text)


def test_threads(run_example):
    page = run_example("with_threads")
    expect_end(page, "done", "19 as they should be, 1 not")
    tasks = page.get_by_role("list", name="Tasks").get_by_role("listitem")
    expect(tasks).to_have_count(CHECKED)
    expect(tasks.first).to_contain_text("edge-7")
    expect(tasks.first).to_contain_text("ValueError")


def test_nornir(run_example):
    page = run_example("with_nornir")
    expect_end(page, "done", "1 of 4 failed")
    expect(page.locator(".counts")).to_have_text("1 failed, 3 done")


def test_rq(run_example, worker, servers):
    options = ["--url", servers["REDIS_URL"], "--worker-class"]
    worker(
        *("rq.cli", "worker", *options, "webdis_progress.bridges.rq.ProgressWorker"),
        ready="Listening on",
    )
    page = run_example("with_rq")
    expect_end(page, "done", "Done")
    expect(page.locator("#percent")).to_have_text("100 %")


def test_celery(run_example, worker):
    options = ["--concurrency=1", "--loglevel=info"]
    worker("celery", "--app", "with_celery.celery", "worker", *options, ready=" ready.")
    page = run_example("with_celery")
    expect_end(page, "done", "Done")
    expect(page.locator("#percent")).to_have_text("100 %")


def test_htmx_has_more_than_one_run_on_a_page(run_example):
    page = run_example("with_htmx")
    page.get_by_role("button", name="Run").click()
    result = page.get_by_text("3 devices were read.")
    expect(result).to_have_count(2, timeout=30_000)
    expect(page.locator("#messages img")).to_have_count(0)
    assert urlsplit(page.url).path == "/"


@pytest.mark.parametrize("script", ["react", "vue", "typescript"])
def test_a_page_of_ones_own(run_example, script):
    page = run_example(f"app:create_app(script='built/{script}.js')")
    run = page.locator("#run")
    expect(run.get_by_role("status")).to_have_text("connected")
    expect(run.get_by_role("progressbar")).to_have_attribute("value", "100", timeout=30_000)
    expect(run).to_contain_text("done: Done")
    lines = ["Started", *(f"Reading {device}" for device in DEVICES), "Done"]
    expect(run.get_by_role("listitem")).to_have_text(lines)
    expect(run.get_by_role("status")).to_have_text("finished")
    expect(run.locator("img")).to_have_count(0)
    page.reload()
    expect(run.get_by_role("listitem")).to_have_text(lines)


def test_typescript_is_strict():
    subprocess.run(
        ["make", "--no-print-directory", "dist-javascript"], cwd=ROOT, env=with_node(), check=True
    )
    subprocess.run(["npm", "run", "check"], cwd=FRONTENDS, env=with_node(), check=True)
