"""What this host can compile with. For `make doctor`, too: only the standard library of 3.8."""

from __future__ import annotations

import platform
import shutil
import subprocess

# Each program by the names that it may have.
NAMES = {"cc": ("cc", "gcc", "clang"), "c++": ("c++", "g++", "clang++")}
LANGUAGES = {"cc": "c", "c++": "c++"}
TIMEOUT_SECONDS = 30.0


def compiles(program: str, language: str, header: str) -> bool:
    """Tell whether a compiler takes a program that includes ``header``; writes no file.

    Args:
        program: Path of the compiler.
        language: ``c`` or ``c++``, as its option ``-x`` has it.
        header: Name of the header.
    """
    try:
        answer = subprocess.run(
            [program, "-x", language, "-fsyntax-only", "-"],
            input=f"#include <{header}>\nint main(void) {{ return 0; }}\n".encode(),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def _developer_tools() -> bool:
    """Tell whether a Mac has them: without, its ``cc`` opens a window that asks to install them."""
    if platform.system() != "Darwin":
        return True
    if not shutil.which("xcode-select"):
        return False
    answer = subprocess.run(["xcode-select", "-p"], capture_output=True, check=False)
    return answer.returncode == 0


def found() -> dict[str, str]:
    """Return this host's own ``cc`` and ``c++`` by these names, as far as they work."""
    if not _developer_tools():
        return {}
    # With their library's headers: gcc is often there without them.
    probe = {"cc": "stdlib.h", "c++": "cstdlib"}
    tools = {}
    for tool, names in NAMES.items():
        for program in filter(None, map(shutil.which, names)):
            if compiles(program, LANGUAGES[tool], probe[tool]):
                tools[tool] = program
                break
    return tools


def has_libevent(cc: str) -> bool:
    """Tell whether a C compiler finds libevent's headers."""
    return compiles(cc, "c", "event2/event.h")
