"""``python -m demo_app``: see `server.supervisor`."""

from __future__ import annotations

import sys

from demo_app.server.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
