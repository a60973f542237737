"""Who is told what becomes of messages, for metrics."""

from __future__ import annotations


class Observer:
    """Is told what becomes of the messages of all publishers of a process.

    A subclass overrides what it counts. Its methods are called on the thread that publishes, so
    they have to be quick and must not raise.
    """

    def published(self, messages: int, seconds: float) -> None:
        """Redis has taken messages.

        Args:
            messages: How many, in one call.
            seconds: From the call to its answer.
        """

    def retried(self, messages: int) -> None:
        """Redis was away, or could not write, and is tried again.

        Args:
            messages: How many were in the call.
        """

    def dropped(self, messages: int) -> None:
        """Messages are given up: Redis was away for too long, or refused them.

        Args:
            messages: How many.
        """


_observer = Observer()


def set_observer(observer: Observer) -> None:
    """Have an observer told of all messages of this process from now on, in place of the last one.

    Args:
        observer: What counts.

    Raises:
        TypeError: It is no `Observer`.
    """
    if not isinstance(observer, Observer):
        raise TypeError(f"observer is {observer!r}; an Observer is needed")
    global _observer  # noqa: PLW0603  # one a process, as what shows its numbers is
    _observer = observer


def observer() -> Observer:
    """Return who is told; one that does nothing until `set_observer`."""
    return _observer
