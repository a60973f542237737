"""The npm package as others get it: its tarball, in an empty project outside of the checkout."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from playwright.sync_api import expect

from kit.checkout import ROOT

TOOLS = ROOT / "node_modules/.bin"
MAIN = """
import { follow, type Options, type ProgressEvent, type Run } from "webdis-progress";
import { defineRunProgress, RunProgress } from "webdis-progress/element";

defineRunProgress();
const element = document.querySelector("run-progress");
if (element instanceof RunProgress) {
  const name = (attribute: string): string => element.getAttribute(attribute) ?? "";
  const texts: string[] = [];
  const options: Options = {
    url: name("url"),
    channel: name("channel"),
    replay: name("replay"),
    onEvent: (event: ProgressEvent) => texts.push(event.text),
  };
  const run: Run = follow({ ...options, after: 0 });
  Object.assign(globalThis, { run, texts });
}
"""
MISTAKE = """
import { subscribe } from "webdis-progress";
subscribe({ url: 1, channel: "c", replay: "r" });
"""
STRICT = [
    "--noEmit", "--strict", "--noUncheckedIndexedAccess", "--target", "es2022",
    "--module", "nodenext", "--lib", "es2023,dom,dom.iterable",
]  # fmt: skip


def run(*command, cwd):
    environment = {**os.environ, "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def succeed(*command, cwd):
    code, output = run(*command, cwd=cwd)
    assert code == 0, output
    return output


@pytest.fixture(scope="module")
def tarball():
    succeed("make", "--no-print-directory", "dist-javascript", cwd=ROOT)
    version = json.loads((ROOT / "clients/javascript/package.json").read_text())["version"]
    return ROOT / f"dist/webdis-progress-{version}.tgz"


@pytest.fixture(scope="module")
def project(tarball, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    succeed("npm", "install", "--offline", "--no-audit", "--no-fund", str(tarball), cwd=folder)
    return folder


@pytest.mark.appearance
def test_the_tarball_is_well_made(tarball):
    succeed(TOOLS / "publint", "run", "--strict", str(tarball), cwd=ROOT)
    succeed(TOOLS / "attw", str(tarball), "--profile", "esm-only", cwd=ROOT)


@pytest.mark.appearance
def test_it_has_what_it_needs_and_no_more(project):
    package = project / "node_modules/webdis-progress"
    assert {path.name for path in package.iterdir()} == {
        "LICENSE", "PROTOCOL.md", "README.md", "package.json", "src", "types",
    }  # fmt: skip
    for name, folder in (("LICENSE", ROOT), ("PROTOCOL.md", ROOT / "clients")):
        assert (package / name).read_text() == (folder / name).read_text()


@pytest.mark.appearance
def test_a_strict_typescript_file_compiles_and_a_wrong_one_does_not(project):
    (project / "main.ts").write_text(MAIN)
    succeed(TOOLS / "tsc", *STRICT, "main.ts", cwd=project)
    (project / "mistake.ts").write_text(MISTAKE)
    code, output = run(TOOLS / "tsc", *STRICT, "mistake.ts", cwd=project)
    assert code != 0
    assert "Type 'number' is not assignable to type 'string | string[]'" in output


def test_a_bundle_of_it_works_in_a_browser(project, page, demo):
    (project / "main.ts").write_text(MAIN)
    succeed(
        TOOLS / "esbuild", "main.ts", "--bundle", "--format=esm", "--outfile=bundle.js", cwd=project
    )  # fmt: skip
    bundle = (project / "bundle.js").read_text()
    page.route(
        "**/static/run_page.js",
        lambda route: route.fulfill(body=bundle, content_type="text/javascript"),
    )
    page.goto(f"{demo.url}/job/")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#percent")).not_to_be_empty()
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_function("() => globalThis.run?.ended", timeout=30_000)
    assert page.evaluate("[run.state, texts[0]]") == ["cancelled", "Started"]
    # The element shows it with the next picture.
    expect(page.locator("#text")).to_have_text(page.evaluate("texts.at(-1)"))
