"""What people read is in plain words and short sentences: documents, pages, messages."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
import yaml

from kit.checkout import ROOT
from tests.docs.test_references import TRACKED, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

# Many readers' first language is another. What says the same in words that everybody knows:
PLAIN_WORDS = {
    "alone": "only",
    "anew": "again",
    "aside": "except",
    "as ever": "as always",
    "at hand": "there",
    "catch up": "get what was missed",
    "e.g.": "for example",
    "for ever": "without end",
    "hence": "so",
    "i.e.": "that is",
    "lest": "so that not",
    "makes do": "is enough",
    "mend": "repair",
    "mends": "repairs",
    "sees to it": "makes sure",
    "shut in": "in a sandbox",
    "thus": "so",
    "whilst": "while",
}
MOST_WORDS = 30  # of a sentence; code counts as one
MOST_CLAUSES = 4  # by the words that begin one
CLAUSES = re.compile(
    r"(?<!so )\b(although|because|how|if|since|that|unless|until|wh(at|en|ere|ich|ile|o|om|ose))\b",
    re.IGNORECASE,
)
# Within a sentence; other elements are paragraphs of their own.
INLINE = "a|b|code|em|span|strong|time"


def of_document(name: str) -> Iterator[str]:
    shown = {"code_inline": "code", "softbreak": " ", "hardbreak": ". "}
    for paragraph in (token for token in tokens(name) if token.type == "inline"):
        yield "".join(shown.get(one.type, one.content) for one in paragraph.children or [])


def of_template(name: str) -> Iterator[str]:
    text = re.sub(r"{#.*?#}|{%.*?%}", " ", (ROOT / name).read_text("utf-8"), flags=re.DOTALL)
    text = re.sub(r"{{.*?}}", "value", text, flags=re.DOTALL)
    yield from re.findall(r'(?:label|title|alt)="(.+?)"', text, re.DOTALL)
    text = re.sub(rf"</?({INLINE})\b[^>]*>", "", text)
    yield from re.split(r"<[^>]*>", text)


def of_python(name: str) -> Iterator[str]:
    """Yield all strings but docstrings; what is put into them counts as one word."""
    tree = ast.parse((ROOT / name).read_text("utf-8"))
    nodes = list(ast.walk(tree))
    left_out = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            left_out |= set(map(id, node.values))
            parts = [getattr(part, "value", "") for part in node.values]
            texts = [part if isinstance(part, str) else "value" for part in parts]
            yield from "".join(texts).splitlines()
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            lines = node.value.splitlines() if id(node) not in left_out else []
            yield from (line for line in lines if "$" not in line)  # a script


def of_tasks(name: str) -> Iterator[str]:
    class Loader(yaml.SafeLoader):
        """Takes a tag of others', such as !vault, for nothing."""

    Loader.add_multi_constructor("", lambda *_: None)
    found = list(yaml.load_all((ROOT / name).read_text("utf-8"), Loader))  # a safe one
    while found:
        value = found.pop()
        if isinstance(value, dict):
            found += value.values()
            messages = [value.get(key) for key in ("msg", "fail_msg", "success_msg")]
            yield from (re.sub(r"{{.*?}}", "value", text) for text in messages if text)
        elif isinstance(value, list):
            found += value


def of_script(name: str) -> Iterator[str]:
    for match in re.finditer(r'(["`])((?:(?!\1)[^\n])*)\1', (ROOT / name).read_text("utf-8")):
        yield re.sub(r"[#$]{.*?}", "value", match[2])


READERS = {
    ".md": of_document,
    ".html": of_template,
    ".py": of_python,
    ".yml": of_tasks,
    ".rb": of_script,
    ".js": of_script,
}
TESTS = ("tests/", "ansible/molecule/")
READ = [
    (name, suffix)
    for name in TRACKED
    for suffix in READERS
    if name.endswith(suffix) and (suffix == ".md" or not name.startswith(TESTS))
]


def texts(name: str, suffix: str) -> list[str]:
    return [" ".join(text.split()) for text in READERS[suffix](name)]


@pytest.mark.parametrize(("name", "suffix"), READ)
def test_words_are_those_that_everybody_knows(name, suffix):
    # Of a document the code, too.
    whole = [" ".join((ROOT / name).read_text("utf-8").split())]
    words = "|".join(re.escape(word) for word in PLAIN_WORDS)
    for text in whole if suffix == ".md" else texts(name, suffix):
        for found in re.finditer(rf"(?<!\w)({words})(?!\w)", text, re.IGNORECASE):
            around = text[max(0, found.start() - 40) : found.end() + 40]
            pytest.fail(f"{name}: {around!r}: say `{PLAIN_WORDS[found[1].lower()]}`")


@pytest.mark.parametrize(("name", "suffix"), READ)
def test_sentences_are_short(name, suffix):
    for text in texts(name, suffix):
        for sentence in re.split(r"(?<=[.!?])[\")]*\s+|\s·\s", text):
            words, clauses = len(sentence.split()), len(CLAUSES.findall(sentence))
            assert words <= MOST_WORDS, f"{name}: {words} words in one sentence: {sentence}"
            assert clauses <= MOST_CLAUSES, f"{name}: {clauses} clauses in one sentence: {sentence}"


def test_pages_show_no_marks_of_a_document():
    """A page shows a message as it is."""
    on_a_terminal = "demo_app/config.py"
    pages = [one for one in READ if one[0].startswith("demo_app/") and one[0] != on_a_terminal]
    marked = [(name, text) for name, suffix in pages for text in texts(name, suffix) if "`" in text]
    assert pages
    assert marked == []


def test_pages_and_messages_are_read():
    """Each kind of text, where it is known to stand."""
    for name, words in {
        "demo_app/templates/post/show.html": "What is published while this page does not listen",
        "demo_app/errors.py": "The message server does not answer.",
        "kit/run_logged.py": "value failed: value is missing. value",
        "ansible/roles/systemd_service/tasks/port.yml": "value does not answer on value:value",
        "vagrant/lib/settings.rb": "must hold lines such as",
        "demo_app/static/start.js": "It did not start: try again",
    }.items():
        (found,) = [suffix for path, suffix in READ if path == name]
        assert any(words in text for text in texts(name, found)), name
