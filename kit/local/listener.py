"""What supervisord tells of its events: Webdis goes with its Redis, and all goes with the checkout.

Run by supervisord, in its folder. See http://supervisord.org/events.html.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

from supervisor.childutils import eventdata, listener

CONFIG = Path("supervisord.conf").absolute()
WEBDIS_PID = Path("webdis.pid")


def end_webdis() -> None:
    """End Webdis, which is started again at once.

    A subscription does not survive its Redis: without this, pages would see silence
    instead of a close.
    """
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(WEBDIS_PID.read_text(encoding="ascii")), signal.SIGKILL)


def main() -> None:
    """Answer events until supervisord ends."""
    while True:
        headers, payload = listener.wait(sys.stdin, sys.stdout)
        if headers["eventname"].startswith("TICK"):
            if not CONFIG.exists():  # the checkout was deleted
                os.kill(os.getppid(), signal.SIGTERM)
        elif eventdata(payload + "\n")[0]["processname"] == "redis":
            end_webdis()
        listener.ok(sys.stdout)


if __name__ == "__main__":
    main()
