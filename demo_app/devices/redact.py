"""Secrets of a configuration, taken out of whatever is shown, logged or kept."""

from __future__ import annotations

import re

REMOVED = "<removed>"
# After these words, whatever comes up to the end of the line: FRRouting, IOS and EOS write the
# secret last, and some write a word or a digit about its form before it.
_LAST_ON_THE_LINE = re.compile(
    r"^(?P<before>.*?(?:\b(?:"
    r"password|secret|passphrase|authentication-key|key-string|md5|pre-shared-key|shared-key"
    r"|snmp-server community|v3 (?:localized \S+ )?auth \S+"
    # Neither the name of a chain of keys nor the number of a key.
    r"|(?<!-)key(?!\s+(?:chain\b|\d+\s*$))"
    r")|^\s*community)\s+)(?P<secret>\S.*?)\s*$",
    re.IGNORECASE | re.MULTILINE,
)
# JunOS: `secret "$9$…"; ## SECRET-DATA`.
_QUOTED = re.compile(r"\"\$\d\$[^\"]*\"")


def redact(text: str) -> str:
    """Return ``text`` with every secret that a configuration holds replaced.

    Args:
        text: A configuration, a diff of two, or anything else that a device printed.
    """
    without = _LAST_ON_THE_LINE.sub(lambda found: found["before"] + REMOVED, text)
    return _QUOTED.sub(f'"{REMOVED}"', without)
