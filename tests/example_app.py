"""An example of docs/examples/ as its reader runs it: copied, with the subscriber beside it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys

from bench.processes import free_port
from kit.checkout import ROOT

# A reader puts names of their own there; one of them is hostile.
DEVICES = ["core-1", "<img src=x onerror=alert(1)>", "edge-1"]


def copy_examples(folder):
    """Copy the examples into a folder, and the subscriber beside them."""
    shutil.copytree(
        ROOT / "docs/examples",
        folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("node_modules", "__pycache__"),
    )
    shutil.copytree(ROOT / "clients/javascript/src", folder / "static/webdis-progress")
    program = folder / "app.py"
    before, devices, after = re.split(
        r"^(    devices = .*)$", program.read_text(), flags=re.MULTILINE
    )
    assert "core-1" in devices
    program.write_text(f"{before}    devices = {DEVICES!r}{after}")


@contextlib.contextmanager
def running(folder, program, **environment):
    """Run a Flask program of that folder on a free port, and give its address."""
    port = free_port()
    command = ["flask", "--app", program, "run", "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "SECRET_KEY": "of this test", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said = []
        for line in process.stdout:
            said.append(line)
            if "Running on" in line:
                break
        try:
            assert process.poll() is None, "".join(said)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.communicate(timeout=30)
