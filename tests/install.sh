#!/bin/sh
# Install what the tests need from the system: the distribution's Chromium and, where it has that
# by itself, Chromium's headless shell; certutil, which tells it to trust the instance's CA;
# libfaketime, which sets clocks; the font of the pictures, so that they are the same wherever
# they are made.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python - <<'PYTHON'
import platform
import sys

from kit.errors import KitError
from kit.system import ensure_packages

try:
    ensure_packages(["chromium", "fonts-inter", "libfaketime", "libnss3-tools"])
    if platform.freedesktop_os_release()["ID"] == "debian":
        ensure_packages(["chromium-headless-shell"])
except KitError as error:
    sys.exit(f"Error: {error}")
PYTHON
