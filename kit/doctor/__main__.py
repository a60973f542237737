"""``make doctor``: print what was found, for people or for programs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from kit.doctor import __doc__ as purpose
from kit.doctor.checks import CHECKS, Check, host
from kit.errors import drop_output

COLUMNS = (8, 16)


def _line(check: Check) -> str:
    state = "ok" if check.ok else "MISSING" if check.blocks else "note"
    lines = [f"  {state:<{COLUMNS[0]}}{check.name:<{COLUMNS[1]}}{check.found}"]
    if check.command and not check.ok:
        lines.append(f"{'':<{2 + sum(COLUMNS)}}-> {check.command}")
    return "\n".join(lines)


def main() -> int:
    """Print what was found; return 0 if at least one provider can run here, else 1."""
    parser = argparse.ArgumentParser(prog="kit.doctor", description=purpose)
    parser.add_argument("--json", action="store_true", help="for programs")
    as_json = parser.parse_args().json or bool(os.environ.get("JSON"))
    common = host()
    checks = {name: check() for name, check in CHECKS.items()}
    python_ok = all(check.ok for check in common if check.blocks)
    runs = {
        name: python_ok and all(check.ok or not check.blocks for check in found)
        for name, found in checks.items()
    }
    choice = next((name for name in CHECKS if runs[name]), None)
    if as_json:
        providers = {
            name: {"runs": runs[name], "checks": [asdict(check) for check in checks[name]]}
            for name in CHECKS
        }
        print(
            json.dumps(
                {
                    "choice": choice,
                    "host": [asdict(check) for check in common],
                    "providers": providers,
                },
                indent=2,
            )
        )
        return 0 if choice else 1
    print("This host")
    for check in common:
        print(_line(check))
    for name in CHECKS:
        print(f"{name}: {'can run here' if runs[name] else 'cannot run here'}")
        for check in checks[name]:
            print(_line(check))
    print(
        f"`make up` takes: {choice}"
        if choice
        else "No provider can run here: get what is MISSING for one of them."
    )
    return 0 if choice else 1


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
        code = 0
    sys.exit(code)
