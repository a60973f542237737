"""The products stand alone: none imports the demo, the kit or another product."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys

import pytest

from kit.checkout import ROOT

# Each with what it may import of this repository: itself.
PRODUCTS = {"clients/python/src": {"webdis_progress"}, "ansible": set()}
# This one is the publisher's bridge to Ansible; its documentation says that it needs the package.
BRIDGE = ROOT / "ansible/plugins/callback/progress.py"
OURS = {"bench", "demo_app", "kit", "tests", "webdis_progress"}
FILES = [
    (path, product)
    for product in PRODUCTS
    for path in (ROOT / product).rglob("*.py")
    if "molecule" not in path.parts  # scenarios: they test a role with the kit
]


def imported(source):
    """Return the top-level modules that a source names, also those within functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_there_are_products():
    assert {product for _, product in FILES} == set(PRODUCTS)


@pytest.mark.parametrize(("path", "product"), FILES, ids=str)
def test_a_product_imports_nothing_else_of_ours(path, product):
    allowed = {"webdis_progress"} if path == BRIDGE else PRODUCTS[product]
    assert not (set(imported(path.read_text("utf-8"))) & OURS) - allowed


IMPORTED_BY_JAVASCRIPT = re.compile(r"\b(?:from|import)\s*\(?\s*[\"']([^\"']+)")


def test_subscriber_imports_nothing_from_outside_of_its_folder():
    files = (ROOT / "clients").rglob("*.js")
    sources = [file for file in files if not {"node_modules", "test"} & set(file.parts)]
    assert sources
    for file in sources:
        for name in IMPORTED_BY_JAVASCRIPT.findall(file.read_text("utf-8")):
            assert "../.." not in name, f"{file}: {name}"
            assert not name.startswith("/"), f"{file}: {name}"


def test_bridges_are_short():
    bridges = list((ROOT / "clients/python/src/webdis_progress/bridges").glob("*.py"))
    assert len(bridges) > 1
    assert [one for one in bridges if len(one.read_text("utf-8").splitlines()) > 100] == []


def test_licence_is_the_same_everywhere():
    own = (ROOT / "LICENSE").read_text("utf-8")
    copies = list((ROOT / "clients").glob("*/LICENSE"))
    assert copies
    assert all(copy.read_text("utf-8") == own for copy in copies)


@pytest.mark.parametrize("client", ["python", "javascript"])
def test_a_clients_reference_is_that_of_its_sources(client):
    made = f"import reference; print(reference.readme({client!r}), end='')"
    answer = subprocess.run(
        [sys.executable, "-c", made],
        cwd=ROOT / "clients",
        env={**os.environ, "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    written = (ROOT / "clients" / client / "README.md").read_text(encoding="utf-8")
    assert written == answer.stdout, "`make client-docs` writes it again"
