"""Errors that are a person's to mend: each is one sentence, never a stack trace."""

import os
import sys


class KitError(Exception):
    """Something that the person at the keyboard can do something about.

    Args:
        message: What happened, where, what is allowed, what to do.
        exit_code: 2 for bad input, 1 for everything else.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def drop_output() -> None:
    """Send what is still printed nowhere: who read it has ended, as in `make lab | head`.

    Python would otherwise write what is left when it ends, and complain.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
