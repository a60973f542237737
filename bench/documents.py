"""What runs write into documents that people write."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from kit.checkout import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def fill(document: Path, begin: str, end: str, text: str) -> None:
    """Put ``text`` in the place of what a document has between two lines of its own."""
    before, rest = document.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    document.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def commit() -> str:
    """Return what was measured: the checkout's commit; nothing where it has none."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
