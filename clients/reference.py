"""The references in the clients' README files: of docstrings, and of what JSDoc declares."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import griffe

CLIENTS = Path(__file__).parent
MARK = "<!-- Made by `make client-docs` from the sources -->\n"


def _text(docstring: griffe.Docstring | None) -> list[str]:
    """Return a docstring as lines of Markdown."""
    lines: list[str] = []
    for section in docstring.parse("google") if docstring else []:
        match section:
            case griffe.DocstringSectionText():
                lines.append(section.value)
            case griffe.DocstringSectionParameters():
                lines += [f"- `{one.name}`: {_line(one.description)}" for one in section.value]
            case griffe.DocstringSectionAttributes():
                lines += [f"- `.{one.name}`: {_line(one.description)}" for one in section.value]
            case griffe.DocstringSectionReturns():
                words = " ".join(one.description for one in section.value)
                lines.append(f"Returns: {_line(words)}")
            case griffe.DocstringSectionRaises():
                lines += [
                    f"- raises `{str(one.annotation).strip('()')}`: {_line(one.description)}"
                    for one in section.value
                ]
            case _:
                raise TypeError(f"A section {section.kind} of a docstring is not known here.")
        lines.append("")
    return lines


def _line(description: str) -> str:
    return " ".join(description.split())


def _signature(function: griffe.Function, name: str) -> str:
    """Return how a function is called, without the types, which the package carries."""
    words = []
    for parameter in function.parameters:
        if parameter.name == "self":
            continue
        if parameter.kind is griffe.ParameterKind.keyword_only and "*" not in words:
            words.append("*")
        default = "" if parameter.default is None else f"={parameter.default}"
        words.append(f"{parameter.name}{default}")
    managers = {str(one.value).rpartition(".")[2] for one in function.decorators}
    if "asynccontextmanager" in managers:
        before = "async with "
    elif "contextmanager" in managers:
        before = "with "
    elif "Iterator" in str(function.returns):
        before = "async for … in " if "AsyncIterator" in str(function.returns) else "for … in "
    else:
        before = "await " if "async" in function.labels else ""
    return f"{before}{name}({', '.join(words)})"


def _entry(depth: int, one: griffe.Object | griffe.Alias, name: str) -> list[str]:
    """Return a heading that says how something is called, and what its docstring says."""
    function = one if one.is_function else None
    if one.is_class and "Args:" in one.docstring.value:  # else nobody makes it by itself
        function = one.all_members["__init__"]
    called = _signature(function, name) if function else name
    return [f"{'#' * depth} `{called}`", "", *_text(one.docstring)]


def _members(
    one: griffe.Class, without: tuple[str, ...] = ()
) -> list[griffe.Object | griffe.Alias]:
    """Return what a class has that is public and described, its own and inherited."""
    return [
        member
        for name, member in sorted(one.all_members.items())
        if not name.startswith("_") and name not in without and member.has_docstring
    ]


def reference() -> str:
    """Return the reference in Markdown."""
    package = griffe.load("webdis_progress", search_paths=[CLIENTS / "python/src"])
    public = [package[name] for name in sorted(package.exports or [])]
    lines = ["## Reference", "", "The types of all this are in the package.", ""]
    for one in [one for one in public if one.is_function]:
        lines += _entry(3, one, one.name)
    bar = package["_bar.Bar"]
    shared = tuple(member.name for member in _members(bar))
    for one in [one for one in public if one.is_class]:
        lines += _entry(3, one, one.name)
        for member in _members(one, shared if "track" in one.all_members else ()):
            lines += _entry(4, member, f"{one.name}.{member.name}")
    lines += ["### `Progress`, `Task`, `AsyncProgress` and `AsyncTask` have", ""]
    lines += _text(bar.docstring)
    for member in _members(bar):
        lines += _entry(4, member, member.name)
    lines += ["### Limits", ""]
    for one in [one for one in public if one.is_attribute]:
        lines.append(f"- `{one.name}` = {one.value}: {_line(one.docstring.value)}")
    return "\n".join(lines) + "\n"


def declarations() -> str:
    """Return the subscriber's reference: its declarations, which hold what its comments say.

    Raises:
        subprocess.CalledProcessError: TypeScript's compiler refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["node", "node_modules/.bin/tsc", "-p", "clients/javascript", "--outDir", folder],
            cwd=CLIENTS.parent,
            check=True,
        )
        lines = ["## Reference", "", "`webdis-progress/element` is the last of these.", ""]
        for name in ("progress", "run", "element"):
            text = Path(folder, f"{name}.d.ts").read_text(encoding="utf-8")
            # The types come again below it, and those of another file are told there.
            text = re.sub(
                r"/\*\*(?:(?!\*/).)*@typedef(?:(?!\*/).)*\*/\n", "", text, flags=re.DOTALL
            )
            text = re.sub(
                r"^(export type \w+ = import\(|import ).*\n", "", text, flags=re.MULTILINE
            )
            lines += [f"### `{name}.js`", "", "```ts", text.strip(), "```", ""]
    return "\n".join(lines)


REFERENCES = {"python": reference, "javascript": declarations}


def readme(client: str) -> str:
    """Return a client's README with its reference as it is now."""
    written = (CLIENTS / client / "README.md").read_text(encoding="utf-8")
    return written.split(MARK)[0] + MARK + "\n" + REFERENCES[client]()


if __name__ == "__main__":
    for client in REFERENCES:
        (CLIENTS / client / "README.md").write_text(readme(client), encoding="utf-8")
