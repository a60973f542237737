"""``python -m demo_app``: the demo on a production WSGI server, until Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys

import waitress

from demo_app import create_app
from demo_app.config import ConfigurationError

THREADS = 16  # a request of the first lesson holds one for as long as its work takes


def _owner(port: str) -> str:
    """Return who listens on ``port``, in words, as far as ``ss`` may tell."""
    if not shutil.which("ss"):
        return ""
    command = ["ss", "-Hltnp", f"sport = :{port}"]
    listeners = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r'users:\(\("([^"]+)",pid=(\d+)', listeners)
    return f" by {found[1]} (process {found[2]})" if found else ""


def main() -> int:
    """Serve on ``HOST`` and ``PORT``; return the exit code."""
    host, port = os.environ.get("HOST") or "127.0.0.1", os.environ.get("PORT") or "5000"
    if not (port.isdecimal() and 0 < int(port) < 65536):  # noqa: PLR2004  # the range of ports
        print(f"PORT={port} is not a port; a number from 1 to 65535 is.", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server = waitress.create_server(create_app(), host=host, port=int(port), threads=THREADS)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"{host}:{port} cannot be used: {error.strerror}{_owner(port)}. "
            f"Choose another with HOST= or PORT=.",
            file=sys.stderr,
        )
        return 1
    print(f"Demo on http://{host}:{port}/test_msg, stop with Ctrl-C", flush=True)
    server.run()  # returns on KeyboardInterrupt
    print("Stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
