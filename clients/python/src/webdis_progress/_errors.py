"""What the publisher raises; each message is one sentence for a person."""

from __future__ import annotations

from typing import Any


class ProgressError(Exception):
    """What this package raises about a run, apart from wrong arguments."""


class EndedError(ProgressError):
    """The stream, or the task, has had its end: nothing may follow."""


class NotSentError(ProgressError):
    """Redis did not take an event.

    Args:
        reason: Why, as a sentence.
        unsent: The event as it was to be sent, without its number.
    """

    def __init__(self, reason: str, unsent: dict[str, Any]) -> None:
        super().__init__(f"Not sent: {unsent.get('kind')} {unsent.get('text')!r}. {reason}")
        self.unsent = unsent


class CancelledError(ProgressError):
    """Somebody asked for the work to stop; leave the ``with`` block by it."""
