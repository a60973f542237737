"""supervisord, which looks after its processes four times a second instead of once.

So what dies is back within a second, and what dies again and again does not use up a core.
"""

from __future__ import annotations

from supervisor import poller, supervisord

LOOK_SECONDS = 0.25


class Poller(poller.Poller):  # type: ignore[misc]  # it has no types
    """Waits for the processes' output, and not as long as supervisord asks."""

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        """Return the files that can be read and written."""
        ready: tuple[list[int], list[int]] = super().poll(min(timeout, LOOK_SECONDS))
        return ready


poller.Poller = Poller

if __name__ == "__main__":
    supervisord.main()
