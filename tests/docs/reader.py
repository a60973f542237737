"""A reader who does what a document says: a shell here, a shell there, a browser."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from playwright.sync_api import Error

from kit.checkout import ROOT, SSH_CONFIG
from tests.docs.blocks import Block, commands, difference, pattern

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from playwright.sync_api import ConsoleMessage, Page

COMMAND_SECONDS = 900
BACKGROUND_SECONDS = 120
PICTURES = ROOT / "test-results"
PICTURE_WIDTH, PICTURE_HEIGHT = 720, 300
SEEN_MILLISECONDS = 60_000
# A page that waits for the answer to a form goes on changing, but cannot be asked any
# more: so it says itself what it shows.
_TELL_WHAT_IS_SHOWN = """
{
  // What an element shows, and what those below it show beside the page's own text.
  const shown = (element) => [
    element.innerText,
    ...[element, ...element.querySelectorAll("*")].flatMap(({ shadowRoot }) =>
      [...(shadowRoot?.children ?? [])].filter((e) => e.checkVisibility()).map(shown)),
  ].join("\\n");
  const observer = new MutationObserver(() => {
    // What the browser shows for data, and for an answer without a page, is its own.
    const own = document.contentType !== "text/html" || location.protocol === "chrome-error:";
    const main = own ? document.body : document.querySelector("main");
    if (main) window.tellWhatIsShown(shown(main));
  });
  const all = { childList: true, subtree: true, characterData: true };
  observer.observe(document, all);
  const attachShadow = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function (options) {
    const root = attachShadow.call(this, options);
    observer.observe(root, all);
    return root;
  };
}
"""
_END = "END-OF-COMMAND"


class Shell:
    """A shell that keeps its folder and variables from one command to the next."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Return the exit status of ``command`` and all that it printed."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n{_END} %d\\n' $?\n")
        self._process.stdin.flush()
        timer = threading.Timer(COMMAND_SECONDS, self._process.kill)
        timer.start()
        try:
            lines = []
            for line in self._process.stdout:
                if line.startswith(_END):
                    return int(line.split()[1]), "".join(lines).strip("\n") + "\n"
                lines.append(line)
        finally:
            timer.cancel()
        return self._process.wait(), "".join(lines)

    def close(self) -> None:
        """End the shell."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


class Reader:
    """Follows one document from its first block to its last.

    Args:
        page: A browser's page.
        folder: Where the output of background commands is kept.
        environment: Variables for every command.
        documented: What the document writes for a thing that is called otherwise
            here, for example an address, by its name here.
        things: What is at hand of that which only some blocks need.
    """

    def __init__(
        self,
        page: Page,
        folder: Path,
        *,
        environment: dict[str, str],
        documented: dict[str, str],
        things: set[str],
    ) -> None:
        self._page, self._folder, self._things = page, folder, things
        # Commands that are a shell on a machine, by its prompt.
        self.machines = {
            "host": ["bash"],
            "server": ["ssh", "-F", str(SSH_CONFIG), "server", "bash"],
        }
        # A `make` that is told of another above it speaks of folders.
        above = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
        self._environment = {
            name: value for name, value in os.environ.items() if name not in above
        } | environment
        self._documented = documented
        self._shells: dict[str, Shell] = {}
        self._background: dict[str, subprocess.Popen[str]] = {}  # by its command
        self._console: list[str] = []
        self._shown: list[str] = []
        page.on("console", self._remember)
        page.expose_function("tellWhatIsShown", self._see)
        page.add_init_script(_TELL_WHAT_IS_SHOWN)
        self._devtools = page.context.new_cdp_session(page)

    def follow(self, block: Block) -> None:
        """Do what ``block`` says and compare what it shows.

        Raises:
            AssertionError: It went otherwise than the document says.
        """
        language, *options = block.kind.split()
        if reason := block.excepted(self._things):
            print(f"{block.place}: {reason}")
        elif language == "console" and "background" in options:
            self._start(block)
        elif language == "console":
            for command in commands(block):
                self._type(block, command.where, self._here(command.text), command.expected)
        elif language == "browser":
            self._browse(block, options)
        elif block.kind == "js console":
            answer = self._devtools.send(
                "Runtime.evaluate",
                {"expression": self._here(block.content), "replMode": True, "awaitPromise": True},
            )
            assert "exceptionDetails" not in answer, f"{block.place}: {answer}"
        elif block.kind == "text console":
            self._wait_for_console(block)
        elif options and "=" in options[0]:
            self._compare_with_files(block, dict(option.split("=") for option in options))
        else:
            assert block.kind == "text", f"{block.place}: {block.kind!r} is no kind of block"

    def close(self) -> None:
        """End what the document left running."""
        for command in list(self._background):
            self._end(command)
        for shell in self._shells.values():
            shell.close()

    def _end(self, command: str) -> None:
        """Press Ctrl-C where ``command`` runs."""
        process = self._background.pop(command)
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)

    def _see(self, text: str) -> None:
        self._shown.append(text)

    def _remember(self, message: ConsoleMessage) -> None:
        if message.type == "log":
            self._console.append(message.text)

    def _here(self, text: str) -> str:
        """Return ``text`` with the names that things have here."""
        for here, documented in self._documented.items():
            text = text.replace(documented, here)
        return text

    def _as_documented(self, text: str) -> str:
        for here, documented in self._documented.items():
            # A port's number may begin like another's.
            text = re.sub(rf"{re.escape(here)}(?!\d)", documented, text)
        return text

    def _shell(self, where: str) -> Shell:
        if where not in self._shells:
            self._shells[where] = Shell(self.machines[where], self._environment)
        return self._shells[where]

    def _type(self, block: Block, where: str, command: str, expected: str) -> None:
        status, output = self._shell(where).run(command)
        shown = self._as_documented(output)
        assert status == 0, f"{block.place}: {command!r} exited with {status}:\n{shown}"
        if expected.strip():
            assert pattern(expected).fullmatch(shown), (
                f"{block.place}: {command!r} printed\n{shown}\nwhere the document shows\n{expected}"
            )

    def _start(self, block: Block) -> None:
        (command,) = commands(block)
        log = self._folder / f"background-{len(list(self._folder.iterdir()))}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                # A run of the tests that was itself put into the background ignores Ctrl-C.
                ["env", "--default-signal=INT", "bash", "-c", self._here(command.text)],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._background[command.text] = process
        deadline = time.monotonic() + BACKGROUND_SECONDS
        while not pattern(command.expected).search(self._as_documented(log.read_text())):
            assert process.poll() is None, f"{block.place}: it ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{block.place} printed\n{log.read_text()}"
            time.sleep(0.1)

    def _browse(self, block: Block, options: list[str]) -> None:
        for line in block.content.splitlines():
            self._act(block, self._here(line))
        for option in options:
            # What was seen may be of the page before.
            last = block.content.splitlines()[-1].removeprefix("see ")
            self._page.get_by_text(last).filter(visible=True).first.wait_for()
            name, _, height = option.removeprefix("picture=").partition(":")
            self._page.set_viewport_size(
                {"width": PICTURE_WIDTH, "height": int(height or PICTURE_HEIGHT)}
            )
            self._page.screenshot(path=PICTURES / f"{name}.png")

    def _act(self, block: Block, line: str) -> None:
        verb, _, rest = line.partition(" ")
        page = self._page
        if verb != "see":
            self._shown.clear()
        if verb == "open":
            self._open(rest)
        elif verb == "press":
            page.get_by_role("button", name=rest, exact=True).click(no_wait_after=True)
        elif verb == "type":
            text, _, label = rest.partition(" into ")
            page.get_by_label(label).fill(text)
        elif verb == "end":
            (command,) = [command for command in self._background if rest in command]
            self._end(command)
        elif verb == "reload":
            # As F5 does, also while the answer to a form is awaited: there `page.reload` fails.
            self._devtools.send("Page.reload")
        elif verb == "see":
            word = re.compile(rf"(?<!\w){re.escape(rest)}(?!\w)")
            deadline = time.monotonic() + SEEN_MILLISECONDS / 1000
            while not any(map(word.search, self._shown)):
                assert time.monotonic() < deadline, f"{block.place}: {line}: {self._shown[-1:]}"
                page.wait_for_timeout(100)  # lets the browser's events in
        else:
            raise AssertionError(f"{block.place}: {verb!r} is nothing that a reader can do")

    def _open(self, address: str) -> None:
        try:
            self._page.goto(address)
        except Error as error:
            if "interrupted by another navigation" in str(error):
                self._page.wait_for_url(address)  # the answer to a form came first, then this
            elif "ERR_HTTP_RESPONSE_CODE_FAILURE" not in str(error):  # an answer without a page
                raise

    def _wait_for_console(self, block: Block) -> None:
        expected = pattern(block.content)
        deadline = time.monotonic() + SEEN_MILLISECONDS / 1000
        while not expected.fullmatch(
            self._as_documented("".join(f"{line}\n" for line in self._console))
        ):
            assert time.monotonic() < deadline, (
                f"{block.place}: the console shows\n{self._console}\nnot\n{block.content}"
            )
            self._page.wait_for_timeout(100)  # lets the browser's events in
        self._console.clear()

    @staticmethod
    def _compare_with_files(block: Block, names: dict[str, str]) -> None:
        if "from" in names:
            real = difference(*((ROOT / names[end]).read_text("utf-8") for end in ("from", "to")))
            assert block.content == real, f"{block.place}: the files differ like this:\n{real}"
            return

        def lines(text: str) -> list[str]:
            return [line.strip() for line in text.splitlines() if line.strip()]

        shown, whole = (
            lines(block.content),
            lines((ROOT / names["file"]).read_text(encoding="utf-8")),
        )
        starts = [at for at in range(len(whole)) if whole[at : at + len(shown)] == shown]
        assert starts, f"{block.place}: these lines do not stand in {names['file']}"
