"""``python -m bench.report``: renders ``docs/benchmark.md`` and its plots from the results."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import jinja2

from bench.bars import picture
from bench.documents import fill
from bench.systems import SYSTEMS
from bench.workloads import PARTS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results"
DOCUMENT = ROOT / "docs/benchmark.md"
README = ROOT / "README.md"
BEGIN = "<!-- These figures are written by `make bench`. -->"
END = "<!-- End of the figures. -->"
LIMIT = "raw_redis"
NODES = (1, 2, 3, 9)
OURS = ("kit", "kit_replay", "kit_replay_ten", "kit_tls", "kit_replay_tls")


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


class Figures:
    """The figures of one system, over all repeats.

    Args:
        title: For people.
        repeats: Of all parts of the work.
    """

    def __init__(self, title: str, repeats: list[dict[str, Any]]) -> None:
        self.title, self._repeats = title, repeats
        self.errors = [error for repeat in self._repeats for error in repeat["errors"]]

    def values(self, work: str, *path: str) -> list[float]:
        """Return one figure of one kind of work, from each repeat that has it."""
        found = []
        for repeat in self._repeats:
            value: Any = repeat.get(work) or {}
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                found.append(float(value))
        return found

    def median(self, work: str, *path: str) -> float | None:
        """Return the median of one figure."""
        return _median(self.values(work, *path))

    def total(self, work: str, *path: str) -> int:
        """Return the sum of one figure."""
        return round(sum(self.values(work, *path)))

    def spread(self, work: str, *path: str, scale: float = 1.0, digits: int = 2) -> str:
        """Return a figure's median and, where it was repeated, its smallest and largest value."""
        found = [value * scale for value in self.values(work, *path)]
        if not found:
            return "–"
        middle = f"{statistics.median(found):,.{digits}f}"
        if len(found) == 1:
            return middle
        return f"{middle} ({min(found):,.{digits}f}–{max(found):,.{digits}f})"

    @property
    def cpu_parts(self) -> dict[str, float]:
        """Processor microseconds a message in (a), by program."""
        parts: dict[str, list[float]] = {}
        for repeat in self._repeats:
            if "steady" not in repeat:
                continue
            count = repeat["steady"]["planned"]
            for label, seconds in repeat["steady"]["cpu_seconds"].items():
                parts.setdefault(label, []).append(seconds / count * 1e6)
        return {label: statistics.median(values) for label, values in parts.items()}

    @property
    def highest(self) -> float | None:
        """Messages a second held in (c)."""
        return self.median("highest", "messages_per_second")

    def kib(self, *labels: str) -> float | None:
        """Return KiB a subscriber, of some programs; of all where none is named."""
        return self._each("memory_bytes", labels, 1024)

    @property
    def descriptors(self) -> float | None:
        """File descriptors a subscriber."""
        return self._each("descriptors", (), 1)

    def _each(self, what: str, labels: tuple[str, ...], unit: int) -> float | None:
        """Return what an idle subscriber of (d) costs."""
        found = []
        for repeat in self._repeats:
            idle = repeat.get("idle") or {}
            if idle.get("subscribers"):
                used = sum(idle[what].get(label, 0) for label in labels or idle[what])
                found.append(used / idle["subscribers"] / unit)
        return _median(found)


def _figures(runs: dict[str, dict[str, Any]]) -> dict[str, Figures]:
    """Return the systems' figures, from the parts that were run."""
    found = {}
    for system in SYSTEMS:
        entries = [run["systems"].get(system.name) for run in runs.values()]
        repeats = [repeat for entry in entries if entry for repeat in entry["repeats"]]
        if repeats:
            found[system.name] = Figures(system.title, repeats)
    return found


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _ratio(value: float | None, base: float | None) -> str:
    return "–" if value is None or not base else f"{value / base:.1f}×"


def _goals(systems: dict[str, Figures]) -> list[tuple[str, str, str]]:
    """Return each goal with the figure and whether it is met."""
    raw, kit, replay = (systems.get(name) for name in (LIMIT, "kit", "kit_replay"))
    nchan, nchan_redis = systems.get("nchan"), systems.get("nchan_redis")
    socketio = systems.get("flask_socketio")
    if not (raw and kit and replay and nchan and nchan_redis and socketio):
        return []
    rows = []

    def row(
        text: str, value: float | None, base: float | None, most: float, unit: str = "×"
    ) -> None:
        figure = None if value is None or not base else value / base
        met = "?" if figure is None else "met" if figure <= most else "**missed**"
        rows.append((text, f"{_number(figure, 2)}{unit}", met))

    cpu = ("steady", "cpu_us_per_message")
    p50, p99 = ("steady", "latency_us", "p50"), ("steady", "latency_us", "p99")
    for title, one, most in (("", kit, 1.3), (", with replay", replay, 1.7)):
        row(f"(a) p50 ≤ {most}× raw Redis{title}", one.median(*p50), raw.median(*p50), most)
        row(f"(a) p99 ≤ 2× raw Redis{title}", one.median(*p99), raw.median(*p99), 2.0)
        text = f"(a) CPU a message ≤ that of Nchan on Redis{title}"
        row(text, one.median(*cpu), nchan_redis.median(*cpu), 1.0)
        text = f"(a) CPU a message ≤ 0.5× Flask-SocketIO's{title}"
        row(text, one.median(*cpu), socketio.median(*cpu), 0.5)
    text = "(a) CPU a message ≤ that of Nchan in memory"
    row(text, kit.median(*cpu), nchan.median(*cpu), 1.0)
    # 55 µs where raw Redis takes 24
    row(
        "(a) CPU a message ≤ 2.3× raw Redis, with replay",
        replay.median(*cpu),
        raw.median(*cpu),
        2.3,
    )
    if recovering := systems.get("socketio"):
        text = "(a) CPU a message ≤ that of Socket.IO with recovery, with replay"
        row(text, replay.median(*cpu), recovering.median(*cpu), 1.0)
        text = "(a) p50 ≤ that of Socket.IO with recovery, with replay"
        row(text, replay.median(*p50), recovering.median(*p50), 1.0)
    row("(d) ≤ 5 KiB a subscriber beside Redis's", kit.kib("front"), 1.0, 5.0, " KiB")
    row("(d) ≤ 11 KiB a subscriber, with replay", replay.kib(), 1.0, 11.0, " KiB")
    if edge := systems.get("kit_tls"):
        row("(d) ≤ 30 KiB a subscriber of the edge's", edge.kib("edge"), 1.0, 30.0, " KiB")
    for title, name, least in (
        ("", "kit", 10.0),
        (", with replay", "kit_replay", 2.4),
        (", with replay, ten messages a call", "kit_replay_ten", 4.0),
    ):
        of_ours = systems.get(name)
        factor = (
            of_ours.highest / socketio.highest
            if of_ours and of_ours.highest and socketio.highest
            else None
        )
        met = "?" if factor is None else "met" if factor >= least else "**missed**"
        rows.append((f"(c) ≥ {least:g}× Flask-SocketIO{title}", f"{_number(factor)}×", met))
    lost, doubled = (replay.total("reconnect", what) for what in ("lost", "doubled"))
    met = "met" if lost == doubled == 0 else "**missed**"
    rows.append(("(f) 0 lost, 0 doubled, with replay", f"{lost} lost, {doubled} doubled", met))
    return rows


def _of_nodes(one: Figures, pages: int, cores: int) -> dict[str, Any]:
    """Return what several nodes would hold, computed from what was measured on one.

    Args:
        one: The kit's figures.
        pages: That a node is set up for.
        cores: Of a node.
    """
    parts = one.cpu_parts
    redis = parts["redis"]  # each node's Redis hears every message
    served = sum(parts.values()) - redis  # by the node only that has the page
    kib = one.kib() or 0.0
    rows = []
    for nodes in NODES:
        by_redis, by_cores = 1e6 / redis, cores * 1e6 / (redis + served / nodes)
        rows.append(
            {
                "nodes": nodes,
                "pages": nodes * pages,
                "gib": pages * kib / 1024**2,
                "rate": min(by_redis, by_cores),
                "limit": "Redis" if by_redis < by_cores else "all cores",
            }
        )
    return {"title": one.title, "redis": redis, "served": served, "kib": kib, "rows": rows}


def _pages_of_a_node() -> int:
    """Return for how many open pages the role sets Webdis up."""
    text = (ROOT / "ansible/roles/webdis/defaults/main.yml").read_text(encoding="utf-8")
    return int(re.findall(r"^webdis_max_subscribers: (\d+)$", text, re.MULTILINE)[0])


# -- plots ---------------------------------------------------------------------------


def _plots(systems: dict[str, Figures]) -> dict[str, str]:
    """Write the plots, light and dark; return the HTML that shows each."""
    plots: dict[str, tuple[str, bool, dict[str, float | None]]] = {
        "latency": (
            "Milliseconds from the planned time to the browser, p99, logarithmic",
            True,
            {
                name: (one.median("steady", "latency_us", "p99") or 0) / 1e3
                for name, one in systems.items()
            },
        ),
        "cpu": (
            "Processor microseconds a message, Redis included",
            False,
            {name: one.median("steady", "cpu_us_per_message") for name, one in systems.items()},
        ),
        "memory": (
            "KiB a subscriber, Redis included",
            False,
            {name: one.kib() for name, one in systems.items()},
        ),
        "rate": (
            "Messages a second held, 500 subscribers, logarithmic",
            True,
            {name: one.highest for name, one in systems.items()},
        ),
    }
    shown = {}
    for key, (title, logarithmic, figures) in plots.items():
        rows = [(systems[name].title, name in OURS, value) for name, value in figures.items()]
        shown[key] = picture(f"benchmark-{key}", title, rows, logarithmic=logarithmic)
    return shown


def _summary(systems: dict[str, Figures], first_rate: float) -> str:
    """Return the few figures that help to choose, as a table for the README."""
    lines = [
        (
            "| | milliseconds to the page, median | processor µs a message | KiB an open page "
            "| messages/s held | lost when the front restarts |"
        ),
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in ("kit_replay", "kit_replay_tls", *(key for key in systems if key not in OURS)):
        if name == LIMIT or name not in systems:
            continue
        one = systems[name]
        p50 = one.median("steady", "latency_us", "p50")
        held = f"below {first_rate:,.0f}" if one.highest == 0 else _number(one.highest, 0)
        lost = f"{one.total('reconnect', 'lost')} of {one.total('reconnect', 'planned'):,}"
        if one.total("reconnect", "passed_over"):
            held, lost = "–", "shows only the latest"
        lines.append(
            f"| {one.title} | {_number(p50 and p50 / 1e3, 2)} "
            f"| {_number(one.median('steady', 'cpu_us_per_message'), 0)} "
            f"| {_number(one.kib(), 0)} | {held} | {lost} |"
        )
    return "\n".join(lines)


def _run(run: dict[str, Any]) -> str:
    """Return when a part was run, on what, how often, and what else the machine did."""
    env, repeats = run["environment"], run["size"]["repeats"]
    load = f"load {env['load_before']:.1f} before"
    if "load_during" in env:
        load += f" and {env['load_during']:.1f} meanwhile"
    return (
        f"{env['at'][:16]}, commit {env['commit']}, {run['seconds']} s, "
        f"{repeats} {'repeats, medians' if repeats > 1 else 'repeat'}, {load}"
    )


def in_terminal(runs: dict[str, dict[str, Any]]) -> str:
    """Return what was run as a table of text, and the machine that the figures are of.

    Args:
        runs: The results of each part of the work.
    """
    systems = _figures(runs)
    rows: list[tuple[str, ...]] = [
        ("", "p50", "p99", "CPU", "held", "memory", "all in", "lost:", "lost:"),
        ("", "ms", "ms", "us/message", "messages/s", "KiB/page", "s", "front killed", "cut off"),
    ]
    for one in systems.values():
        p50, p99 = (one.median("steady", "latency_us", name) for name in ("p50", "p99"))
        lost = [
            f"{one.total(work, 'lost')} of {planned:,}" if planned else "–"
            for work in ("reconnect", "cut")
            for planned in [one.total(work, "planned")]
        ]
        rows.append(
            (
                one.title,
                _number(p50 and p50 / 1e3, 2),
                _number(p99 and p99 / 1e3, 2),
                _number(one.median("steady", "cpu_us_per_message"), 0),
                _number(one.highest, 0),
                _number(one.kib()),
                _number(one.median("storm", "seconds"), 2),
                *lost,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in rows
    ]
    latest = next(reversed(runs.values()))
    env, size = latest["environment"], latest["size"]
    for one in systems.values():
        lines += [f"{one.title} failed: {error}" for error in one.errors]
        if (seconds := one.median("late", "seconds")) is not None:
            kib = (one.median("late", "bytes") or 0) / 1024
            lines.append(
                f"{one.title}: a page joins after {size['late_messages']:,} messages of "
                f"{size['late_tasks']} tasks by 1 request, {kib:.0f} KiB, {seconds * 1e3:.0f} ms"
            )
        if planned := one.total("reload", "planned"):
            lines.append(
                f"{one.title}: {size['tabs']} tabs loaded again are there after "
                f"{one.spread('reload', 'whole_seconds')} s, "
                f"{one.total('reload', 'lost')} of {planned:,} missing"
            )
    versions = ", ".join(f"{name} {version}" for name, version in env["versions"].items())
    lines += ["", *(f"Run:      {part}, {_run(run)}" for part, run in runs.items())]
    lines += [
        (
            f"Machine:  {env['processor']}, {env['cores']} cores, {env['memory_gib']} GiB, "
            f"kernel {env['kernel']}"
        ),
        f"Versions: {versions}",
    ]
    return "\n".join(lines)


def document(runs: dict[str, dict[str, Any]]) -> str:
    """Return the text of the document; its plots are drawn.

    Args:
        runs: The results of the last run of each part.
    """
    systems = _figures(runs)
    others = {}
    for name in ("up", "publisher", "nodes"):
        file = RESULTS / f"{name}.json"
        others[name] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # Markdown, from our own numbers
    )
    return environment.get_template("benchmark.md.j2").render(
        runs=runs,
        size=runs["messages"]["size"],
        env=runs["messages"]["environment"],
        run=_run,
        lacking={
            part: [
                one.title
                for one in SYSTEMS
                if part in (one.parts or PARTS) and one.name not in run["systems"]
            ]
            for part, run in runs.items()
        },
        systems=systems,
        raw=systems[LIMIT],
        goals=_goals(systems),
        plots=_plots(systems),
        several=[
            _of_nodes(systems[name], _pages_of_a_node(), runs["messages"]["environment"]["cores"])
            for name in ("kit_replay", "kit_replay_tls")
            if name in systems
        ],
        pages=_pages_of_a_node(),
        number=_number,
        ratio=_ratio,
        **others,
    )


def results() -> dict[str, dict[str, Any]]:
    """Return the results of the last run of each part."""
    return {
        part: json.loads((RESULTS / f"{part}.json").read_text(encoding="utf-8")) for part in PARTS
    }


def render() -> str:
    """Render the document from the results.

    Returns:
        What was written, for people.
    """
    runs = results()
    DOCUMENT.write_text(document(runs), encoding="utf-8")
    fill(README, BEGIN, END, _summary(_figures(runs), runs["rate"]["size"]["first_rate"]))
    return f"Written: {DOCUMENT.relative_to(ROOT)}, docs/images/benchmark-*.svg"


if __name__ == "__main__":
    print(render())
