"""What the web server and the workers begin with."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from demo_app import create_app, logs
from demo_app.config import ConfigurationError
from demo_app.server.parents import end_with_parent

if TYPE_CHECKING:
    from flask import Flask


def begin(parent: int) -> Flask:
    """Return the application for a process that ends with its parent.

    Args:
        parent: Process id that the caller's parent has.

    Raises:
        SystemExit: There is no instance any more; the exit code is ``os.EX_CONFIG``.
    """
    end_with_parent(parent, signal.SIGTERM)
    try:
        app = create_app()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        sys.exit(os.EX_CONFIG)
    logs.configure(app.config["LOG"])
    return app
