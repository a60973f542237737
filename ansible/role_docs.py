"""Write each role's README.md around what its argument specifications say.

The part between the two marks is written by hand and kept; the rest is made here.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent / "roles"
MADE = "<!-- Made by `make role-docs` from meta/argument_specs.yml -->"
BY_HAND = "<!-- By hand, from here to the next mark -->"


def markdown(text: str) -> str:
    """Turn Ansible's C(code) and O(option) into Markdown's code."""
    return re.sub(r"[CO]\(([^)]*)\)", r"`\1`", " ".join(text.split()))


def rows(options: dict[str, Any], prefix: str = "") -> list[str]:
    """Return a row of the table of variables for each option, and those inside it."""
    found = []
    for name, option in options.items():
        default = "required" if option.get("required") else ""
        if "default" in option:
            value = option["default"]
            default = f"`{value if isinstance(value, str) and value else json.dumps(value)}`"
        kind = option["type"]
        if "elements" in option:
            kind += f" of {option['elements']}"
        meaning = markdown(option["description"])
        if "choices" in option:
            meaning += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
        found.append(f"| `{prefix}{name}` | {kind} | {default} | {meaning} |")
        found += rows(option.get("options", {}), f"{prefix}{name}.")
    return found


def readme(role: Path, by_hand: str) -> str:
    """Return the whole README of a role.

    Args:
        role: Its folder.
        by_hand: The part between the marks.
    """
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    main = specs["argument_specs"]["main"]
    description = main["description"]
    paragraphs = [description] if isinstance(description, str) else description
    lines = [MADE, "", f"# {role.name}", "", f"{main['short_description']}.", ""]
    for paragraph in paragraphs:
        lines += [markdown(paragraph), ""]
    lines += [BY_HAND, "", by_hand.strip("\n"), "", MADE, "", "## Variables", ""]
    lines += ["| Variable | Type | Default | Meaning |", "|---|---|---|---|"]
    return "\n".join([*lines, *rows(main["options"])]) + "\n"


def by_hand(role: Path) -> str:
    """Return the part of a role's README that is written by hand; empty where there is none."""
    file = role / "README.md"
    if not file.exists():
        return ""
    return file.read_text(encoding="utf-8").partition(BY_HAND)[2].partition(MADE)[0]


def roles() -> list[Path]:
    """Return the folders of the roles that have argument specifications."""
    return sorted(file.parent.parent for file in ROLES.glob("*/meta/argument_specs.yml"))


def main() -> int:
    """Write every README."""
    for role in roles():
        (role / "README.md").write_text(readme(role, by_hand(role)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
