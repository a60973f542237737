"""A process that ends with its parent, so that nothing is left over whatever is killed."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent(parent: int, kill_signal: signal.Signals) -> None:
    """Ask the kernel for a signal when the parent process ends; only Linux can.

    Args:
        parent: Process id that the caller's parent has.
        kill_signal: What to send.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, kill_signal)
    if os.getppid() != parent:  # it was faster
        os.kill(os.getpid(), kill_signal)
