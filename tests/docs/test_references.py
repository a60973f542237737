"""What the documents name must exist: files, anchors, make targets, variables, settings."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from bench import report
from demo_app.lessons.catalogue import LESSONS
from kit.checkout import ROOT

TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.splitlines()
DOCUMENTS = [name for name in TRACKED if name.endswith(".md")]
FOLDERS = {str(folder) for name in TRACKED for folder in Path(name).parents}
# Made by the kit while it runs; what is below them is not in the repository.
MADE = (".kit", ".venv", "~/", "/", "vagrant/settings.local.yml")


@cache
def tokens(name: str):
    parsed = MarkdownIt("commonmark").enable("table").parse((ROOT / name).read_text("utf-8"))
    return [child for token in parsed for child in (token, *(token.children or []))]


@cache
def headings(name: str) -> set[str]:
    parsed = tokens(name)
    return {parsed[at + 1].content for at, one in enumerate(parsed) if one.type == "heading_open"}


@cache
def anchors(name: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings(name)}


def links(name: str) -> list[str]:
    return [
        str(token.attrs.get("href") or token.attrs.get("src"))
        for token in tokens(name)
        if token.type in {"link_open", "image"}
    ] + [
        link
        for token in tokens(name)
        if token.type in {"html_block", "html_inline"}
        for link in re.findall(r'\b(?:src|srcset)="([^"]*)"', token.content)
    ]


def code(name: str) -> list[str]:
    """Return what a document sets as code within its text."""
    return [token.content for token in tokens(name) if token.type == "code_inline"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    for link in links(name):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (Path(name).parent / file) if file else Path(name)
        resolved = str((ROOT / target).resolve().relative_to(ROOT))
        assert resolved in TRACKED or resolved in FOLDERS, f"{name}: {link}"
        if anchor:
            assert anchor in anchors(resolved), f"{name}: {link}"


# Where a package's files are shown, and which links work there: PyPI and npm show the README alone.
PACKAGES = {"clients/python": "README.md", "clients/javascript": "README.md", "ansible": ""}


@pytest.mark.parametrize(("folder", "shown"), PACKAGES.items())
def test_a_packages_documents_link_to_nothing_outside_of_it(folder, shown):
    documents = [name for name in DOCUMENTS if name.startswith(f"{folder}/{shown}")]
    assert documents
    for name in documents:
        for link in links(name):
            file = link.partition("#")[0]
            if not file or re.match(r"https?://", link):
                continue
            assert not shown, f"{name}: {link}"
            target = (ROOT / name).parent / file
            assert target.resolve().is_relative_to(ROOT / folder), f"{name}: {link}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_that_are_named_exist(name):
    for text in code(name):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", text) or text.startswith(MADE):
            continue
        if text.split("/")[0] not in FOLDERS or "NAME" in text:
            continue  # not a path of this repository, or one for the reader to fill in
        places = (text.rstrip("/"), str(Path(name).parent / text.rstrip("/")))
        assert any(place in TRACKED or place in FOLDERS for place in places), f"{name}: {text}"


MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))


def typed(name: str) -> list[str]:
    """Return what a document has its readers type: code within its text, and lines of blocks."""
    fences = [token.content for token in tokens(name) if token.type == "fence"]
    return [*code(name), *(line.removeprefix("$ ") for one in fences for line in one.splitlines())]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_exist(name):
    for text in typed(name):
        if match := re.match(r"make ([a-z][a-z-]*)", text):
            assert match[1] in TARGETS, f"{name}: {text}"


def test_variables_reach_their_targets_from_the_environment_too():
    named = {
        variable
        for document in DOCUMENTS
        for text in typed(document)
        if text.startswith("make ")
        for variable in re.findall(r"\b([A-Z_]+)=", text)
    }
    assert named
    heard = subprocess.run(
        ["make", "--no-print-directory", "--eval", "environment: ; @env", "environment"],
        cwd=ROOT,
        env={**dict.fromkeys(named, "probe"), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    deaf = named - set(re.findall(r"^(\w+)=probe$", heard, re.MULTILINE))
    assert {name for name in deaf if f"$({name})" not in MAKEFILE} == set()


GROUPS = {"redis_primary", "redis_replicas"}  # of the inventory
TAGS = set(
    re.findall(
        r"[a-z_]+",
        " ".join(
            line
            for file in (ROOT / "ansible").glob("roles/*/tasks/main.yml")
            for line in file.read_text("utf-8").splitlines()
            if line.startswith("  tags:")
        ),
    )
)
ROLES = sorted(path.name for path in (ROOT / "ansible/roles").iterdir() if path.is_dir())


@cache
def role_variables() -> set[str]:
    found: set[str] = set()
    for file in (ROOT / "ansible").glob("roles/*/defaults/main.yml"):
        found |= set(yaml.safe_load(file.read_text("utf-8")) or {})
    for file in (ROOT / "ansible").glob("roles/*/meta/argument_specs.yml"):
        found |= set(yaml.safe_load(file.read_text("utf-8"))["argument_specs"]["main"]["options"])
    return found


# The roles' own README files also name what the roles set; they are generated.
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if "/roles/" not in name])
def test_role_variables_exist(name):
    for text in code(name):
        if re.fullmatch(rf"({'|'.join(ROLES)})_[a-z_]+", text) and not text.endswith("_"):
            assert text in {*ROLES, *TAGS, *GROUPS, *role_variables()}, f"{name}: {text}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_settings_of_the_vm_exist(name):
    settings = yaml.safe_load((ROOT / "vagrant/settings.yml").read_text("utf-8"))
    for text in code(name):
        if match := re.fullmatch(r"([a-z_]+):", text):
            assert match[1] in settings, f"{name}: {text}"


def test_messages_lead_to_an_entry_that_exists():
    led_to = {
        anchor
        for name in TRACKED
        if name.endswith((".py", ".rb", ".sh", ".yml"))
        for anchor in re.findall(
            r"docs/troubleshooting\.md#([\w-]+)", (ROOT / name).read_text("utf-8")
        )
    }
    assert {"the-bridge-question", "no-dhcp", "root-and-sudo"} <= led_to
    assert led_to <= anchors("docs/troubleshooting.md")


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_a_lesson_has_one_name_on_its_page_and_in_the_tutorial(lesson):
    assert lesson.title in headings("docs/tutorial.md") | headings("docs/devices.md")
    assert {f"lesson-{lesson.name}-{scheme}.png" for scheme in ("light", "dark")} <= {
        Path(link).name for link in links("docs/tutorial.md") + links("docs/devices.md")
    }


def test_the_benchmarks_page_is_what_its_results_make():
    """A sentence that is mended there and not in its template goes with the next run."""
    assert report.document(report.results()) == report.DOCUMENT.read_text(encoding="utf-8")
