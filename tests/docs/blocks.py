"""What a document asks its reader to type, and what it says the reader will see.

Fenced blocks of a Markdown file, by the word after the fence:

``console``     lines after ``$ `` are typed on this host, after ``server$ `` on the
                instance, after ``spare$ `` on a machine with nothing on it; ``> ``
                goes on with a command; what follows is its output, where a line ``...``
                stands for any lines and ``…`` for anything within a line
``console background``
                one command that goes on running until the document ends
``browser``     ``open URL``, ``press BUTTON``, ``type TEXT into LABEL``, ``reload``,
                ``see TEXT``, ``end PROGRAM``: Ctrl-C, where that runs
``browser picture=NAME``
                the same, and leaves ``test-results/NAME.png``; ``NAME:HEIGHT`` in pixels
``js console``  typed into the console of the open page
``text console``  lines that the console then shows
``LANGUAGE file=PATH``  a part of that file, word for word
``diff from=PATH to=PATH``  all lines in which the second file differs from the first, with one
                line around them; ``@@`` stands for what is the same
``text``        a drawing or a file name, nothing to run

A comment before a block may except it: ``<!-- not run: REASON -->``, or
``<!-- only with: THING -->`` and ``<!-- only without: THING -->``.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONDITION = re.compile(r"<!--\s*(not run|only with|only without):\s*(.+?)\s*-->", re.DOTALL)
_PROMPT = re.compile(r"^(server|spare)?\$ (.*)")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        place: ``FILE:LINE``, for messages.
        heading: The heading that it stands under.
        kind: The words after the fence.
        content: The text between the fences.
        condition: ``not run``, ``only with`` or ``only without``, and why or what;
            two empty strings where it is always run.
    """

    place: str
    heading: str
    kind: str
    content: str
    condition: tuple[str, str]

    def excepted(self, things: set[str]) -> str:
        """Return why this is not run where ``things`` are at hand; empty where it is run."""
        word, reason = self.condition
        holds = {
            "": True,
            "not run": False,
            "only with": reason in things,
            "only without": reason not in things,
        }
        return "" if holds[word] else f"{word}: {reason}"


@dataclass(frozen=True)
class Command:
    """One command of a console block and the output that the document shows."""

    where: str
    text: str
    expected: str


def blocks(path: Path) -> list[Block]:
    """Return the fenced blocks of a Markdown file in order."""
    found, heading, condition = [], "", ("", "")
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    for position, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = tokens[position + 1].content
        elif token.type == "html_block" and (match := _CONDITION.match(token.content)):
            condition = (match[1], " ".join(match[2].split()))
        elif token.type == "fence":
            line = token.map[0] + 1 if token.map else 0
            place = f"{path.name}:{line}"
            found.append(Block(place, heading, token.info.strip(), token.content, condition))
            condition = ("", "")
    return found


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block.

    Raises:
        ValueError: The block does not start with a prompt.
    """
    where, text, expected = "", "", ""
    for line in block.content.splitlines():
        if match := _PROMPT.match(line):
            if text:
                yield Command(where, text, expected)
            where, text, expected = match[1] or "host", match[2], ""
        elif not text:
            raise ValueError(f"{block.place} starts with {line!r}; a prompt is needed")
        elif line.startswith("> ") and not expected:
            text += "\n" + line.removeprefix("> ")
        else:
            expected += line + "\n"
    yield Command(where, text, expected)


def pattern(expected: str) -> re.Pattern[str]:
    """Return what output must match, whole, to be what the document shows."""
    parts = []
    for line in expected.strip("\n").splitlines():
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(re.escape(line.rstrip()).replace("…", ".*?") + r"[ \t]*\n")
    return re.compile("".join(parts))


def difference(before: str, after: str) -> str:
    """Return what a ``diff`` block shows of two files' texts."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=1, lineterm="")
    shown = ["@@" if line.startswith("@@") else line.rstrip() for line in lines][2:]
    return "".join(f"{line}\n" for line in shown)
