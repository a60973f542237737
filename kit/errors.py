"""Errors that are a person's to mend: each is one sentence, never a stack trace."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class KitError(Exception):
    """Something that the person at the keyboard can do something about.

    Whatever a command calls may raise it, and `kit.__main__` prints it.

    Args:
        message: What happened, where, what is allowed, what to do.
        exit_code: 2 for bad input, 1 for everything else.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def choice(variable: str, valid: Iterable[str], default: str | None = "") -> str:
    """Return the value of an environment variable, which is to be one of ``valid``.

    Args:
        variable: Its name.
        valid: What a person may say.
        default: For when it says nothing; None where it has to say something.

    Raises:
        KitError: It says something else; exit code 2.
    """
    value = os.environ.get(variable) or ""
    if not value and default is not None:
        return default
    if value not in valid:
        raise KitError(f"{variable}={value} is not known; valid are: {', '.join(valid)}.", 2)
    return value


def drop_output() -> None:
    """Send what is still printed nowhere: who read it has ended, as in `make lab | head`.

    Python would otherwise write what is left when it ends, and complain.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
