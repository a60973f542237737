"""Tell which builds are below a folder; the module of this name documents it."""

from __future__ import annotations

import json
import shlex
from typing import Any, ClassVar

from ansible_collections.webdis_kit.server.plugins.action import query

RECORD = {"version", "url", "sha256", "origin", "make", "install", "libc"}
# A line each: what it is, its name, and what is in it. No JSON needs its line ends.
LIST = """getconf GNU_LIBC_VERSION
cd {root} 2>/dev/null || exit 0
for name in * .choice.json; do
    file=$name
    if [ -L "$name" ]; then printf 'link/%s/%s\\n' "$name" "$(readlink "$name")" && continue
    elif [ -d "$name" ]; then what=folder file=$name/.source_build.json
    elif [ -e "$name" ]; then what=file
    else continue; fi
    printf '%s/%s/%s\\n' $what "$name" "$(cat "$file" 2>/dev/null | tr -d '\\n')"
done"""


def _read(content: str) -> dict[str, Any]:
    """Return a JSON object, or an empty one where it is not whole."""
    try:
        record = json.loads(content)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


class ActionModule(query.ActionModule):
    """Reads what the role source_build has installed."""

    ARGUMENTS: ClassVar = {"root": {"type": "path", "required": True}}

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return what the task registers."""
        answer = self.ask(LIST.format(root=shlex.quote(options["root"])))
        if answer["rc"]:
            return answer
        libc, *lines = answer["stdout_lines"]
        entries = {
            name: (what, content) for what, name, content in (line.split("/", 2) for line in lines)
        }
        leftovers = [name for name in entries if name.endswith((".partial", ".new"))]
        folders = {
            name: _read(content) | {"folder": name}
            for name, (what, content) in entries.items()
            if what == "folder" and name not in leftovers
        }
        what, current = entries.get("current", ("", ""))
        return {
            "changed": False,
            "libc": libc,
            "current": current if what == "link" else "",
            "choice": _read(entries.get(".choice.json", ("", ""))[1]),
            "folders": list(folders),
            "builds": [build for build in folders.values() if build.keys() >= RECORD],
            "leftovers": [f"{options['root']}/{name}" for name in leftovers],
        }
