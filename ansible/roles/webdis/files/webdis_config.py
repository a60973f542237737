#!/usr/bin/python3
"""Check a configuration of Webdis, which itself ignores one that it cannot read.

webdis-config FILE: check it.
webdis-config FILE PASSWORD_FILE TARGET: check it, then write it with the password for Redis.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

NEEDED = {
    "redis_host": str,
    "redis_port": int,
    "redis_auth": list,
    "http_host": str,
    "http_port": int,
    "websockets": bool,
    "acl": list,
}


def problem(configuration: Any) -> str:  # noqa: ANN401  # whatever JSON can hold
    """Say what keeps it from denying all that it does not allow by name; empty is nothing."""
    if not isinstance(configuration, dict):
        return "is not a JSON object"
    for key, kind in NEEDED.items():
        value = configuration.get(key)
        # For Python, true is an int, too.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            return f"has no {key} of type {kind.__name__}"
    if configuration["acl"][:1] != [{"disabled": ["*"]}]:
        return 'has an acl that does not start with {"disabled": ["*"]}'
    for entry in configuration["acl"][1:]:
        enabled = entry.get("enabled") if isinstance(entry, dict) else None
        if not isinstance(enabled, list) or "*" in enabled:
            return f"has the acl entry {json.dumps(entry)}, which enables no commands by name"
    return ""


def main() -> int:
    """Run the command; return the exit code."""
    file, *rest = map(Path, sys.argv[1:])
    try:
        configuration = json.loads(file.read_text(encoding="utf-8"))
        found = problem(configuration)
    except (OSError, ValueError) as error:
        found = f"cannot be read ({error})"
    if found:
        print(f"{file} {found}: Webdis could allow everything.", file=sys.stderr)
        return 1
    if rest:
        password_file, target = rest
        configuration["redis_auth"][1:] = [password_file.read_text(encoding="utf-8")]
        target.write_text(json.dumps(configuration), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
