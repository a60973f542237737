"""Write the folders and files of a service; the module of this name documents it."""

from __future__ import annotations

import base64
import hashlib
import shlex
from pathlib import Path
from typing import Any, ClassVar

from ansible.template import trust_as_template
from ansible_collections.webdis_kit.server.plugins.action import query

OWNER = {
    "dest": {"type": "path", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}
# By a file of its own in the same folder, so that nobody ever reads half of it.
WRITE_FILE = """new=$(mktemp {dest}.XXXXXXXX) || exit
base64 -d >"$new" <<end || exit
{content}
end
{validate}
chown {owner}:{group} "$new" && chmod {mode} "$new" && mv -fT "$new" {dest} || exit"""
WRITE_FOLDER = "mkdir -p {dest} && chown {owner}:{group} {dest} && chmod {mode} {dest} || exit"
# What it was about is the last that it prints where it fails.
START = """umask 022
trap 'status=$?; rm -f "$new"; [ $status = 0 ] || echo "$dest"' EXIT"""
REFUSED = 99


def _right(one: dict[str, Any]) -> str:
    """Return what the question's answer says of a folder or file that is as it should be."""
    attributes = f"0{int(one['mode'], 8):o} {one['owner']} {one['group']}"
    if "content" not in one:
        return f"d {attributes} {one['dest']}"
    digest = hashlib.sha256(one["content"].encode()).hexdigest()
    return f"f {attributes} {digest}  {one['dest']}"


def _step(one: dict[str, Any]) -> str:
    """Return the lines of shell that write a folder or file."""
    words = {name: shlex.quote(one[name]) for name in ("dest", "owner", "group", "mode")}
    about = f"dest={words['dest']}\n"
    if "content" not in one:
        return about + WRITE_FOLDER.format(**words)
    check = one["validate"].replace("%s", '"$new"')
    return about + WRITE_FILE.format(
        content=base64.encodebytes(one["content"].encode()).decode().rstrip(),
        validate=check and f"( {check} ) || exit {REFUSED}",
        **words,
    )


class ActionModule(query.ActionModule):
    """Asks for all of them at once, and writes those that are otherwise."""

    ARGUMENTS: ClassVar = {
        "folders": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": OWNER | {"mode": {"type": "str", "default": "0755"}},
        },
        "files": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "required_one_of": [["content", "template"]],
            "mutually_exclusive": [["content", "template"]],
            "options": OWNER
            | {
                "mode": {"type": "str", "default": "0644"},
                "content": {"type": "str"},
                "template": {"type": "str"},
                "validate": {"type": "str", "default": ""},
                "secret": {"type": "bool", "default": False},
            },
        },
        "absent": {"type": "list", "elements": "str", "default": []},
    }

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return what the task registers."""
        for one in options["files"]:
            if one["content"] is None:
                one["content"] = self._rendered(one["template"])
        there = self._there(options)
        wrong = [one for one in options["folders"] + options["files"] if _right(one) not in there]
        unwanted = [line.removeprefix("a ") for line in there if line.startswith("a ")]
        answer = {
            "changed": bool(wrong or unwanted),
            "written": [one["dest"] for one in wrong],
            "removed": unwanted,
        }
        if self._task.diff:
            answer["diff"] = [self._difference(one) for one in wrong if "content" in one]
        if answer["changed"] and not self._task.check_mode:
            answer |= self._write(wrong, unwanted)
        return answer

    def _rendered(self, name: str) -> str:
        """Return what a template makes; the lookup for it copies all variables each time."""
        template = Path(self._find_needle("templates", name))
        variables = self._templar.available_variables
        places = [Path(place) for place in variables.get("ansible_search_path", [])]
        templar = self._templar.copy_with_new_env(
            available_variables={"ansible_managed": "Ansible managed", **variables},
            searchpath=[str(place / sub) for place in places for sub in ("templates", "")],
        )
        source = trust_as_template(self._loader.get_text_file_contents(str(template)))
        return str(templar.template(source, escape_backslashes=False))

    def _there(self, options: dict[str, Any]) -> list[str]:
        """Return a line for each that is there; what is not there is nobody's mistake."""
        folders, files = (
            " ".join(shlex.quote(one["dest"]) for one in options[what])
            for what in ("folders", "files")
        )
        asked, digest = "{\n", "-exec sha256sum {} \\;"
        if folders:
            asked += f"find -H {folders} -maxdepth 0 -type d -printf 'd %#m %u %g %p\\n'\n"
        if files:
            asked += f"find {files} -maxdepth 0 -type f -printf 'f %#m %u %g ' {digest}\n"
        if options["absent"]:
            asked += f"ls -d {' '.join(options['absent'])} | sed 's/^/a /'\n"
        return self.ask(asked + "} 2>/dev/null || true")["stdout_lines"]

    def _difference(self, one: dict[str, Any]) -> dict[str, str]:
        if one["secret"]:
            return {"before": "", "after": "(a secret)\n", "after_header": one["dest"]}
        before = self.ask(f"cat {shlex.quote(one['dest'])} 2>/dev/null || true")["stdout"]
        return {
            "before": before and before + "\n",
            "after": one["content"],
            "before_header": one["dest"],
            "after_header": one["dest"],
        }

    def _write(self, wrong: list[dict[str, Any]], unwanted: list[str]) -> dict[str, Any]:
        """Write and remove; return what there is to say of it where that failed."""
        removals = [f"dest={name}; rm -f $dest || exit" for name in map(shlex.quote, unwanted)]
        answer = self.ask("\n".join([START, *map(_step, wrong), *removals]))
        if not answer["rc"]:
            return {}
        dest = (answer["stdout_lines"] or ["a file"])[-1]
        secret = any(one["dest"] == dest and one.get("secret") for one in wrong)
        why = "the reason may hold a secret" if secret else answer["stderr"] or "no reason given"
        what = "was refused by its check" if answer["rc"] == REFUSED else "could not be written"
        return {"failed": True, "rc": answer["rc"], "msg": f"{dest} {what} and is as it was: {why}"}
