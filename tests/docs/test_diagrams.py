"""The pictures in the documents are those of the diagrams as they are now."""

from __future__ import annotations

import importlib.util

import pytest

from kit.checkout import ROOT

FOLDER = ROOT / "docs/diagrams"
SOURCES = sorted(FOLDER.glob("*.mmd"))


def load_renderer():
    spec = importlib.util.spec_from_file_location("render", FOLDER / "render.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_picture_is_current(source):
    renderer = load_renderer()
    for suffix in renderer.THEMES:
        picture = ROOT / f"docs/images/{source.stem}{suffix}.svg"
        assert picture.read_text("utf-8").endswith(renderer.digest(source)), "run `make diagrams`"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_document_shows_the_same_diagram(source):
    texts = [path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")]
    assert any(f"```mermaid\n{source.read_text('utf-8')}```" in text for text in texts)
