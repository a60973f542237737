"""Renders every ``*.mmd`` beside this file into ``docs/images/``, light and dark.

Run through ``make diagrams``, after changing a diagram. Each picture carries the
digest of what it was drawn from; a test compares it.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).resolve().parent
IMAGES = FOLDER.parent / "images"
THEMES = {"": "neutral", "-dark": "dark"}


def digest(source: Path) -> str:
    """Return the comment that a picture of ``source`` ends with."""
    return f"<!-- {source.name} sha256:{hashlib.sha256(source.read_bytes()).hexdigest()} -->\n"


def main() -> int:
    """Draw all diagrams; return the exit code."""
    program = shutil.which("chromium")
    if not program:
        print("chromium is missing; tests/install.sh installs it.", file=sys.stderr)
        return 1
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(path=FOLDER / "node_modules/mermaid/dist/mermaid.min.js")
        for source in sorted(FOLDER.glob("*.mmd")):
            for suffix, theme in THEMES.items():
                svg = page.evaluate(
                    """async ([name, text, theme]) => {
                         mermaid.initialize({theme, deterministicIds: true});
                         return (await mermaid.render(name, text)).svg;
                       }""",
                    [source.stem, source.read_text("utf-8"), theme],
                )
                target = IMAGES / f"{source.stem}{suffix}.svg"
                target.write_text(f"{svg}\n{digest(source)}", "utf-8")
                print(f"{target.relative_to(FOLDER.parent.parent)}")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
