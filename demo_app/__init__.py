"""A Flask demo that shows the progress of slow work while it runs.

`create_app` makes the web application. `python -m demo_app` runs it together with the
worker that does the jobs (`server/`, `jobs/`). `lessons/` has the pages, one lesson a file, and
`templates/` a folder for each lesson.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flask import Blueprint, Flask
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from demo_app import config, connections, errors, lessons, metrics, replay, security
from demo_app.lessons import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping

# The files of the npm package webdis-progress; pages import them as they are.
SUBSCRIBER_DIR = Path(__file__).parent.parent / "clients" / "javascript" / "src"


def create_app(overrides: Mapping[str, object] | None = None) -> Flask:
    """Make the application.

    Args:
        overrides: Configuration that replaces what the instance and ``DEMO_*`` say.

    Raises:
        config.ConfigurationError: There is no instance to talk to, or a value is wrong.
    """
    app = Flask(__name__)
    app.config.from_mapping(config.defaults())
    app.config.from_prefixed_env("DEMO")
    app.config.update(overrides or {})
    config.check(app.config)
    config.load_instance(app.config)
    config.load_secret_key(app.config)
    if app.config["BEHIND_PROXY"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_prefix=1)  # type: ignore[method-assign]  # as Flask documents
    metrics.init_app(app)
    CSRFProtect(app)
    connections.init_app(app)
    security.init_app(app)
    errors.init_app(app)
    app.context_processor(catalogue.context)
    for blueprint in (*lessons.BLUEPRINTS, replay.blueprint):
        app.register_blueprint(blueprint)
    app.register_blueprint(
        Blueprint(
            "webdis_progress",
            __name__,
            static_folder=SUBSCRIBER_DIR,
            static_url_path="/static/webdis-progress",
        )
    )
    return app
