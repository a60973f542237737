"""What the demo's processes log: for people, or a line of JSON for each entry (``DEMO_LOG=json``).

A channel's name and a run's address are keys: whoever has one may listen. Where a message holds
one, the log has the run's id in its place, which is its job's, too.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

from pythonjsonlogger.json import JsonFormatter
from rq import get_current_job

from demo_app.ownership import digest

# As `ownership` makes tokens; before one stands what makes it a key.
_KEY = re.compile(r"(?P<before>progress:|/)(?P<token>[0-9a-f]{32})(?![0-9a-f])")


_FIELDS = {"time", "level", "logger", "process", "message", "exc_info", "stack_info"}


def configure(form: str) -> None:
    """Have everything that this process logs written to its standard output.

    Args:
        form: ``text`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Json() if form == "json" else _Text("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def without_keys(text: str) -> str:
    """Return a text with the run's id wherever it had a key."""
    return _KEY.sub(lambda key: key["before"] + digest(key["token"]), text)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_keys(super().format(record))


class _Json(JsonFormatter):
    def __init__(self) -> None:
        fields = ["levelname", "name", "process", "message"]
        names = {"levelname": "level", "name": "logger"}
        super().__init__(fields, rename_fields=names, timestamp="time")

    def format(self, record: logging.LogRecord) -> str:
        return without_keys(super().format(record))

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Say which run an entry is of, where that is known, and keep nothing that is not known."""
        # RQ adds to some of its entries the job, and what it is called with: its token.
        run = log_data.get("job_id")
        if job := get_current_job():
            run = job.id
        elif key := _KEY.search(str(log_data["message"])):
            run = digest(key["token"])
        known = {name: value for name, value in log_data.items() if name in _FIELDS}
        return known | ({"run": run} if run else {})
