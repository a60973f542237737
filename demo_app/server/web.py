"""``python -m demo_app.server.web FD PARENT``: the web server, on its parent's socket.

The socket stays when this process is replaced: requests wait meanwhile, none is refused.
"""

from __future__ import annotations

import signal
import socket
import sys

import waitress

from demo_app import create_app
from demo_app.lessons.shared import MOST_AT_ONCE
from demo_app.server.parents import end_with_parent

# Those of slow functions are busy for as long as these take; the others answer meanwhile.
THREADS = 2 * MOST_AT_ONCE


def main() -> int:
    """Serve until SIGTERM; return the exit code."""
    listener, parent = (int(argument) for argument in sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_with_parent(parent, signal.SIGTERM)
    app = create_app()
    waitress.serve(
        app,
        sockets=[socket.socket(fileno=listener)],
        threads=THREADS,
        # Without a proxy these are whatever the client says.
        clear_untrusted_proxy_headers=not app.config["BEHIND_PROXY"],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
