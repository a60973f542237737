"""Errors that are a person's to mend: each is one sentence, never a stack trace."""


class KitError(Exception):
    """Something that the person at the keyboard can do something about.

    Args:
        message: What happened, where, what is allowed, what to do.
        exit_code: 2 for bad input, 1 for everything else.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
