"""A Flask demo that shows the progress of slow work while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask
from flask_bootstrap import Bootstrap5
from flask_wtf import CSRFProtect

from demo_app import config, views

if TYPE_CHECKING:
    from collections.abc import Mapping


def create_app(overrides: Mapping[str, object] | None = None) -> Flask:
    """Make the application.

    Args:
        overrides: Configuration that replaces what the instance and ``DEMO_*`` say.

    Raises:
        config.ConfigurationError: There is no instance to talk to.
    """
    app = Flask(__name__)
    app.config.from_mapping(config.defaults())
    app.config.from_prefixed_env("DEMO")
    app.config.update(overrides or {})
    config.load_instance(app.config)
    Bootstrap5(app)
    CSRFProtect(app)
    app.register_blueprint(views.blueprint)
    app.after_request(views.add_security_headers)
    return app
