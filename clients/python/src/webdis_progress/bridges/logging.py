"""`ProgressHandler`: what is logged, as messages of a run or a task."""

from __future__ import annotations

import logging
import re

from webdis_progress._event import of_type
from webdis_progress._progress import Progress, Task

# Colours and other commands to a terminal; programs print them, and pages cannot show them.
ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class ProgressHandler(logging.Handler):
    """Publishes records as messages, with their level.

    Of an exception only the class is published: its text and its stack may hold secrets.

    Args:
        bar: A `Progress` or a `Task`.
        level: The least level that is published.
    """

    def __init__(self, bar: Progress | Task, level: int = logging.INFO) -> None:
        super().__init__(level)
        of_type("bar", bar, Progress, Task)
        self._bar = bar

    def emit(self, record: logging.LogRecord) -> None:
        """Publish a record; what this package or redis-py logs about it is left out."""
        if record.name.partition(".")[0] in {"webdis_progress", "redis"}:
            return
        try:
            text = ANSI.sub("", self._text(record))
            self._bar.message(text, level=_level(record.levelno))
        except Exception:  # noqa: BLE001  # of whatever kind: logging says so, and goes on
            self.handleError(record)

    def _text(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info and record.exc_info[0]:
            text += f" ({record.exc_info[0].__name__})"
        return text


def _level(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
