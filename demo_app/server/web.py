"""``python -m demo_app.server.web FD[,FD] PARENT``: the web server, on its parent's sockets.

They stay when this process is replaced: requests wait meanwhile, none is refused. The second is
for ``health``, which has threads of its own: it answers also while all others are busy.
"""

from __future__ import annotations

import functools
import signal
import socket
import sys
import threading

import waitress

from demo_app import health
from demo_app.lessons.function import MOST_AT_ONCE
from demo_app.server.children import begin

# Those of slow functions are busy for as long as these take; the others answer meanwhile.
THREADS = 2 * MOST_AT_ONCE
HEALTH_THREADS = 2


def main() -> int:
    """Serve until SIGTERM; return the exit code."""
    listener, *of_health = (int(descriptor) for descriptor in sys.argv[1].split(","))
    parent = int(sys.argv[2])
    # waitress ends well by it, and so does what comes before: it may be told while it begins.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app = begin(parent)
    for descriptor in of_health:
        serve = functools.partial(
            waitress.serve,
            health.create_app(app),
            sockets=[socket.socket(fileno=descriptor)],
            threads=HEALTH_THREADS,
        )
        threading.Thread(target=serve, daemon=True).start()
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
