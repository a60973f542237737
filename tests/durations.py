"""``python -m tests.durations FOLDER...``: where the seconds of a run went, as a table.

FOLDER is one that ``tests.run`` has written its logs into, such as ``test-results/quick``.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

PHASES = ("setup", "call", "teardown")
SECONDS_SHOWN = 10  # a file that took less is in the last row
# A line of pytest's --durations.
LINE = re.compile(rf"^([0-9.]+)s ({'|'.join(PHASES)}) +([^:\s]+)::", re.MULTILINE)


def table(logs: list[str]) -> str:
    """Return the seconds of each file of tests, by phase, the longest first."""
    files: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for log in logs:
        for seconds, phase, file in LINE.findall(log):
            files[file][phase] += float(seconds)
    rest: Counter[str] = Counter()
    for file in [file for file, phases in files.items() if phases.total() < SECONDS_SHOWN]:
        rest += files.pop(file)
    ordered = sorted(files.items(), key=lambda item: -item[1].total())
    rows = [*((f"`{file}`", phases) for file, phases in ordered), ("all others", rest)]
    lines = ["| File | Set-up | Call | Tear-down |", "|---|---:|---:|---:|"]
    for name, phases in rows:
        lines.append(f"| {name} | {' | '.join(f'{phases[phase]:.0f}' for phase in PHASES)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    logs = [log for folder in sys.argv[1:] for log in sorted(Path(folder).glob("*.log"))]
    print(table([log.read_text(encoding="utf-8", errors="replace") for log in logs]))
