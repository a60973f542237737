"""What the lessons are called, what each is about, and which lines do it."""

from __future__ import annotations

import functools
import textwrap
from dataclasses import dataclass
from pathlib import Path

from flask import request

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Excerpt:
    """Lines of a file: the page shows them as they are.

    Args:
        about: What they do.
        path: Of the file, from the root of the checkout.
        first: What the first line begins with, apart from spaces.
        last: What the last line begins with, likewise.
    """

    about: str
    path: str
    first: str
    last: str

    def text(self) -> str:
        """Return the lines, without the spaces that all of them begin with.

        Raises:
            LookupError: The file has no such lines.
        """
        return _lines(ROOT / self.path, self.first, self.last)


@functools.cache
def _lines(path: Path, first: str, last: str) -> str:
    found: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if found or line.lstrip().startswith(first):
            found.append(line)
            if line.lstrip().startswith(last):
                return textwrap.dedent("\n".join(found))
    raise LookupError(f"{path} has no lines from {first!r} to {last!r}.")


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Args:
        name: Of its file, its blueprint, its address and its pictures.
        page: Of its blueprint, the page that it begins with.
        title: For people, the same as the tutorial's heading.
        idea: What it is about, in a sentence.
        code: The lines that do it.
    """

    name: str
    page: str
    title: str
    idea: str
    code: tuple[Excerpt, ...]

    @property
    def endpoint(self) -> str:
        """Of the page that it begins with."""
        return f"{self.name}.{self.page}"


_ELEMENT = Excerpt(
    "The page: one element shows it all",
    "demo_app/templates/function/show.html",
    "<run-progress",
    "after=",
)
_RUN_PAGE = Excerpt(
    "The page: one element shows it all", "demo_app/templates/run.html", "<run-progress", "replay="
)

LESSONS = (
    Lesson(
        "post",
        "show",
        "The bare post",
        "Publish and subscribe, in a dozen lines. What nobody hears is lost.",
        (
            Excerpt(
                "The function publishes",
                "demo_app/lessons/post.py",
                "for step in STEPS",
                "time.sleep",
            ),
            Excerpt("The page listens", "demo_app/static/post.js", "const socket", "};"),
        ),
    ),
    Lesson(
        "shared",
        "show",
        "Nothing is lost",
        "The same messages, each with a number. The page asks for those that it missed.",
        (
            Excerpt(
                "The function says where it is",
                "demo_app/lessons/function.py",
                "progress = Progress(",
                "time.sleep",
            ),
            _ELEMENT,
            Excerpt(
                "Flask answers what the page missed",
                "demo_app/replay.py",
                "answer = replay(",
                "return",
            ),
        ),
    ),
    Lesson(
        "own",
        "show",
        "An identifier for each user",
        "An identifier that nobody can guess, so that each user sees their own messages only.",
        (
            Excerpt(
                "The identifier: 128 random bits in the signed session",
                "demo_app/ownership.py",
                'if "token" not in session',
                "session[",
            ),
            Excerpt(
                "Who may ask for the past",
                "demo_app/ownership.py",
                "if channel in (SHARED_CHANNEL",
                "return any(",
            ),
            _ELEMENT,
        ),
    ),
    Lesson(
        "job",
        "new",
        "A job in the background",
        "Work that outlives its request: percent, time left, cancel, and what failure looks like.",
        (
            Excerpt("Start: into the queue", "demo_app/lessons/job.py", "token = queue.", "return"),
            Excerpt("The job counts its steps", "demo_app/jobs/tasks.py", "for step in", "time."),
            Excerpt(
                "Cancel: the next step does not begin",
                "demo_app/jobs/queue.py",
                "progress = Progress(",
                "progress.request_cancel()",
            ),
            _RUN_PAGE,
        ),
    ),
    Lesson(
        "audit",
        "new",
        "Audit the ports",
        "A job with a result: does the message server's firewall do what its rules say?",
        (
            Excerpt(
                "Each port that is known is a step",
                "demo_app/jobs/tasks.py",
                "progress.total = len(targets)",
                "end(",
            ),
            Excerpt(
                "Is an answer as it should be?",
                "demo_app/jobs/ports.py",
                'answers, allowed = answer == "open"',
                "agrees =",
            ),
        ),
    ),
    Lesson(
        "devices",
        "new",
        "Walk through your devices",
        "Check, back up and change real routers, many at a time, a bar for each.",
        (
            Excerpt(
                "Each device ends its own bar",
                "demo_app/devices/report.py",
                "with self._run.batch():",
                "self._run.advance(1)",
            ),
        ),
    ),
)


def context() -> dict[str, object]:
    """Return what all templates know: the lessons, and the one that this page is of."""
    current = next((lesson for lesson in LESSONS if lesson.name == request.blueprint), None)
    return {"lessons": LESSONS, "lesson": current}
